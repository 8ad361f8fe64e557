"""Fetches one branch of a Git remote into a bare local copy.

A commit is accepted only if it descends from the newest accepted commit and is signed as the
settings require. Nothing is checked out, and nothing that the remote sends is executed. The
copy itself is left to `local_copy`, signatures to `signatures`.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from gitvs.adapters.git.fetch_errors import (
    NO_BRANCHES,
    NO_SUCH_BRANCH,
    known_cause,
    require_readable_files,
)
from gitvs.adapters.git.hardened_git import GitFailed, HardenedGit, without_credentials
from gitvs.adapters.git.local_copy import FETCHED_HEAD_REF, GitCopy
from gitvs.adapters.git.manifests import GitManifests
from gitvs.adapters.git.signatures import verify_signature
from gitvs.core.errors import RewrittenBranch, SourceError, SourceUnreachable, UntrustedCommit
from gitvs.core.model.history import Commit
from gitvs.core.remote_url import UnusableUrl, protocol_of
from gitvs.core.settings import RemoteSettings

log = logging.getLogger(__name__)

_COMMIT_ID = re.compile(r"[0-9a-f]{7,40}")

_HARMLESS_FSCK_FINDINGS = (
    # Who wrote a commit, and when. Old tools wrote these lines wrongly, and history cannot be
    # changed. gitvs only shows them, and its parser of commits accepts any text.
    "badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingAuthor",
    "missingCommitter", "missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail", "multipleAuthors", "zeroPaddedDate",
    # A message with a null character: gitvs reads it up to there, as Git shows it.
    "nulInCommit",
    # A folder's mode written 040000: the same number, and Git reads it as such.
    "zeroPaddedFilemode",
    # Very long names, and targets of links: text that is shown or skipped, never opened.
    "largePathname", "symlinkTargetLength", "symlinkTargetBlob",
    # An entry whose id is all zeros: a submodule, which is not followed. A file or folder with
    # that id is still refused, because Git misses the object.
    "nullSha1",
    # Files that direct a checkout. gitvs checks nothing out, follows no submodule, and applies no
    # attribute.
    "gitmodulesBlob", "gitmodulesLarge", "gitmodulesMissing", "gitmodulesName",
    "gitmodulesParse", "gitmodulesPath", "gitmodulesSymlink", "gitmodulesUpdate", "gitmodulesUrl",
    "gitattributesBlob", "gitattributesLarge", "gitattributesLineLength", "gitattributesMissing",
    "gitattributesSymlink", "gitignoreSymlink", "mailmapSymlink",
    # Other modes of the same types, such as 100664, are read by type, as Git itself does.
    "badFilemode",
)  # fmt: skip
"""Findings of Git's check that are no danger to a reader that never checks out: only warnings.

The rule: a finding is harmless unless two readers could read the same commit differently. These
stay errors:

- `badTree`, `badTreeSha1`, `badParentSha1`, `badObjectSha1`, `badType`, `missingTree`,
  `nulInHeader`, `unknownType`, `unterminatedHeader`: it depends on the reader where the broken
  object ends and what it names.
- `duplicateEntries`, `treeNotSorted`: a reader that searches finds another file than one that
  lists.
- `emptyName`, `fullPathname`, `hasDot`, `hasDotdot`, `hasDotgit`: names that no checkout can have,
  so a work tree has other files than the commit. `manifests.refuse_ambiguous_folder` refuses these
  and the two above wherever a commit is read, previews included.
- All findings about tags (such as `missingTag`, `badTagName`): no tag is fetched.

Source: git-fsck(1), FSCK MESSAGES. Git skips names that it does not know.
"""

_CONFIGURATION = (
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    *(f"fetch.fsck.{finding}=warn" for finding in _HARMLESS_FSCK_FINDINGS),
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
)


class GitRemote:
    """One branch of a remote, and its local copy. Implements `FollowedSource`."""

    has_commits = True

    def __init__(self, state_dir: Path, settings: RemoteSettings) -> None:
        """Prepare for fetching; nothing is written or sent yet.

        Raises:
            SourceError: the URL uses a protocol that is not allowed.
        """
        self._settings = settings
        self._name = f"{without_credentials(settings.url)}, branch {settings.branch}"
        self._protocol = self._allowed_protocol()
        self._copy = GitCopy(
            state_dir,
            self._name,
            configuration=(*_CONFIGURATION, *_https_configuration(settings)),
            environment={
                "GIT_ALLOW_PROTOCOL": self._protocol,
                "GIT_SSH_COMMAND": _ssh_command(settings),
                "GIT_SSH_VARIANT": "ssh",
            },
        )

    def _allowed_protocol(self) -> str:
        try:
            protocol = protocol_of(self._settings.url)
        except UnusableUrl as error:
            raise SourceError(f"{self._name}: {error}") from error
        if protocol == "file" and not self._settings.allow_local:
            raise SourceError(f"{self._name}: a remote on this host needs allow_local = true")
        return protocol

    def fetch(self, accepted_head: str | None) -> Commit:
        """Fetch the branch, and return its head.

        A new head is checked against the signature policy. A head that equals `accepted_head`
        is not checked: otherwise, removing a signer would cause an error on every director
        until the next commit. Check such a head with `verify_signature` before it is loaded,
        unless it is in force.

        Raises:
            SourceUnreachable: the remote did not answer in time, or its answer was unusable.
            UntrustedCommit: the head is not signed by a trusted signer.
            RewrittenBranch: the head does not descend from `accepted_head`.
            SourceError: there is no such branch, or it cannot be used.
        """
        with self._copy.locked(self._settings.timeout_seconds):
            require_readable_files(self._settings, self._protocol)
            if not self._copy.is_distrusted:
                try:
                    self._copy.prepare()
                    self._run_fetch(self._copy.git)
                    return self._check_head(accepted_head)
                except SourceError as error:
                    if self._is_explained(error) or not self._copy.is_broken():
                        raise
                    log.warning("local copy is broken, fetching it again reason=%s", error)
            self._copy.replace(self._run_fetch)
            return self._check_head(accepted_head)

    def _is_explained(self, error: SourceError) -> bool:
        """Whether a fetch failed for a reason outside of the local copy."""
        match error:
            case UntrustedCommit():
                return True
            case RewrittenBranch():
                return self._copy.has_commit(error.accepted)
        if isinstance(error.__cause__, GitFailed):
            return known_cause(error.__cause__) is not None
        return isinstance(error, SourceUnreachable)

    def _check_head(self, accepted_head: str | None) -> Commit:
        """Return the head that was fetched, if it may be followed; raises as `fetch` does."""
        head = self._copy.resolve(FETCHED_HEAD_REF)
        if head != accepted_head:
            self.verify_signature(head)
            if accepted_head is not None and not self.is_ancestor(accepted_head, head):
                raise RewrittenBranch(self._name, accepted_head, head)
        log.debug("fetched commit=%s", head)
        return self.read_commit(head)

    def verify_signature(self, commit_id: str) -> str:
        """Return who signed a fetched commit; empty if no signature is required.

        Call it before a commit that is not in force is loaded, even if it was accepted earlier:
        since then, keys may have been revoked or the policy may have been tightened.

        Raises:
            UntrustedCommit: it is not signed by a trusted signer.
            SourceError: it is not in the copy, or cannot be checked.
        """
        return verify_signature(self._copy.git_dir, self._settings.signatures, commit_id)

    def manifests_of(self, commit_id: str | None) -> GitManifests:
        """Return the manifests of a fetched commit; call `verify_signature` before use."""
        assert commit_id is not None, "a remote has commits"
        return GitManifests(self._copy.objects, self._settings.path, commit_id, self._copy.distrust)

    def check_rewritten_commit(self, abbreviated_id: str) -> Commit:
        """Check a commit of the rewritten branch that an operator names by its id, and return it.

        The caller records it as the newest accepted commit.

        Raises:
            UntrustedCommit: it is not signed by a trusted signer.
            SourceError: it is not on the branch as of the last fetch.
        """
        if _COMMIT_ID.fullmatch(abbreviated_id) is None:
            raise SourceError(f"{abbreviated_id} is not a commit id; give at least 7 digits of it")
        head = self.fetched_head()
        if head is None:
            raise SourceError(f"{self._name}: nothing was fetched yet; run `gitvs sync` first")
        commit_id = self.resolve(abbreviated_id)
        if not self.is_ancestor(commit_id, head):
            raise SourceError(
                f"{self._name}: {commit_id[:12]} is not on it; its head was {head[:12]} at the"
                " last fetch"
            )
        self.verify_signature(commit_id)
        return self.read_commit(commit_id)

    @property
    def name(self) -> str:
        """The remote without credentials, and its branch, for messages."""
        return self._name

    def fetched_head(self) -> str | None:
        """Return the branch's head at the last fetch, accepted or not; None before the first."""
        return self._copy.fetched_head()

    def resolve(self, revision: str) -> str:
        """Return the full id of a commit in the copy.

        Raises:
            SourceError: no commit matches, or more than one.
        """
        return self._copy.resolve(revision)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or descends from it; False if `older` is not in the copy."""
        return self._copy.is_ancestor(older, newer)

    def read_commit(self, commit_id: str) -> Commit:
        """Return a commit's id, author, subject and time.

        Raises:
            SourceError: the commit is not in the copy.
        """
        return self._copy.read_commit(commit_id)

    def keep_commits(self, commit_ids: Iterable[str]) -> None:
        """Keep these commits, and no others, through maintenance, even if a force-push drops them.

        A failure is only a warning: the refs are written again before anything is deleted.
        """
        try:
            self._copy.keep_commits(commit_ids)
        except SourceError as error:
            log.warning("commits not pinned reason=%s", error)

    def maintain(self) -> None:
        """Run maintenance of the copy; once a day is enough.

        Raises:
            SourceUnreachable: a fetch is running, or the time was too short; try again later.
            SourceError: the copy cannot be written, or is damaged.
        """
        self._copy.maintain()

    def _run_fetch(self, git: HardenedGit) -> None:
        try:
            git.run(
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
                "--no-write-fetch-head",
                "--no-auto-maintenance",
                "--refmap=",
                "--",
                self._settings.url,
                f"+refs/heads/{self._settings.branch}:{FETCHED_HEAD_REF}",
                timeout_seconds=self._settings.timeout_seconds,
            )
        except GitFailed as error:
            raise self._fetch_error(error) from error
        except SourceUnreachable as error:
            raise SourceUnreachable(f"{self._name}: {error}") from error

    def _fetch_error(self, error: GitFailed) -> SourceError:
        is_page = self._protocol == "https" and NO_SUCH_BRANCH in error.error_text
        if is_page and not self._names_branches():
            return SourceUnreachable(f"{self._name}: {NO_BRANCHES}")
        error_class, words = known_cause(error) or (SourceUnreachable, str(error))
        return error_class(f"{self._name}: {words}")

    def _names_branches(self) -> bool:
        """Whether the remote has any branch; a web page read as a repository has none."""
        try:
            output = self._copy.git.run(
                *("ls-remote", "--heads", "--", self._settings.url),
                timeout_seconds=self._settings.timeout_seconds,
            )
        except SourceError:
            return True  # the first error says more
        return bool(output)


def _https_configuration(settings: RemoteSettings) -> list[str]:
    configuration = []
    if settings.ca_file is not None:
        configuration.append(f"http.sslCAInfo={settings.ca_file}")
    if settings.credentials_file is not None:
        file = shlex.quote(f"--file={settings.credentials_file}")
        # Only `get`: Git also asks the store to erase credentials that a server rejected once.
        helper = f'!f() {{ test "$1" != get || git credential-store {file} get; }}; f'
        configuration.append(f"credential.helper={helper}")
    return configuration


def _ssh_command(settings: RemoteSettings) -> str:
    """Return the ssh command for Git: no prompts, no configuration, no unknown hosts."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=15"]
    options += ["ServerAliveInterval=15", "ControlMaster=no", "ControlPath=none"]
    options += ["ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes"]
    command = ["ssh", "-F", "/dev/null"]
    if settings.ssh_key is not None:
        command += ["-i", str(settings.ssh_key)]
        options += ["IdentitiesOnly=yes", "IdentityAgent=none"]
    if settings.known_hosts is not None:
        options += [f"UserKnownHostsFile={settings.known_hosts}", "GlobalKnownHostsFile=/dev/null"]
    return shlex.join([*command, *(word for option in options for word in ("-o", option))])
