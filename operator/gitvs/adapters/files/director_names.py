"""Finds the names of Director documents in a folder, for Tab completion.

It reads the files that `gitvs validate` reads, with its parser, but only parses documents that
contain the word Director, because parsing 1 MB of services takes a second. Files that cannot be
read are skipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from gitvs.adapters.files.work_tree import read_regular_file
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.syntax.yaml_documents import is_json, is_manifest, parse_file

MAX_FILES = 5_000
MAX_FOLDERS = 5_000
MAX_READ_BYTES = 32 << 20
"""For all files: as much as the manifests of a repository may have."""
MAX_PARSED_BYTES = 128 << 10
"""For all documents: the parser takes 0.1 s for them."""

_DOCUMENT_START = re.compile(rb"^---(?=\s|\Z)", re.MULTILINE)


def director_names(folder: Path) -> Iterator[str]:
    """Yield the name of each Director document below a folder."""
    parse_bytes_left = MAX_PARSED_BYTES
    for file, data in _manifests(folder):
        if b"Director" not in data:
            continue
        name = str(file)
        for text in [data] if is_json(name) else _DOCUMENT_START.split(data):
            if b"Director" in text and len(text) <= parse_bytes_left:
                parse_bytes_left -= len(text)
                for document in parse_file(ManifestFile(name, text)).documents:
                    yield from _director_name(document.data)


def _director_name(document: Any) -> Iterator[str]:
    if isinstance(document, dict) and document.get("kind") == "Director":
        metadata = document.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
            yield metadata["name"]


def _manifests(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield manifest files and their bytes, up to the limits."""
    read_bytes_left = MAX_READ_BYTES
    for file in islice(_files(folder), MAX_FILES):
        with suppress(OSError):
            data = read_regular_file(file, read_bytes_left)
            read_bytes_left -= len(data)
            yield file, data


def _files(folder: Path) -> Iterator[Path]:
    """Yield the manifest files below a folder, as `DirectorySource` finds them."""
    unread_folders = [folder]
    for _ in range(MAX_FOLDERS):
        if not unread_folders:
            return
        parent = unread_folders.pop()
        try:
            with os.scandir(parent) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        if parent != folder and any(entry.name == ".git" for entry in found):
            continue  # a repository of its own
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                unread_folders.append(parent / entry.name)
            elif is_manifest(entry.name) and entry.is_file(follow_symlinks=False):
                yield parent / entry.name
