"""Finds the manifests of a work tree that differ from the commit of a preview."""

from __future__ import annotations

from hashlib import sha1

from gitvs.core.manifests.files import File, GitFile
from gitvs.core.problems import printable
from gitvs.ports import Snapshot
from gitvs.report.text.places import Places

_MAX_NAMES = 3


def uncommitted_remark(committed: Snapshot, work_tree: Snapshot, folder: str) -> str:
    """Return a remark about changes that are not committed; empty if there are none.

    `folder` is where the manifests are in the repository.

    A file that differs only in its line ends counts as unchanged: Git may convert them on checkout.
    """
    tree_files = {file.path: file for file in work_tree.files}
    committed_ids = {file.path: _blob_ids(file) for file in committed.files}
    changed = sorted(
        path
        for path in tree_files.keys() | committed_ids.keys()
        if path not in tree_files
        or _blob_ids(tree_files[path]).isdisjoint(committed_ids.get(path, ()))
    )
    if not changed:
        return ""
    paths = map(Places(folder).path, changed[:_MAX_NAMES])
    names = ", ".join(map(printable, paths))
    more = len(changed) - _MAX_NAMES
    return (
        f"uncommitted changes are not in this plan: {names}{f' and {more} more' * (more > 0)};"
        " commit them to see what they do"
    )


def _blob_ids(file: File) -> frozenset[str]:
    """Return the ids that Git may have for a file's content."""
    if isinstance(file, GitFile):
        return frozenset({file.blob_id})
    contents = {file.data, file.data.replace(b"\r\n", b"\n")}
    return frozenset(
        sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        for data in contents
    )
