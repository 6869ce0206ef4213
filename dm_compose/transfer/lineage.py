"""Ancestors of commits on a remote, known from the manifests alone."""

from __future__ import annotations

from dm_compose.core.names import CommitId
from dm_compose.errors import UntrustedError
from dm_compose.remotes.base import Repository
from dm_compose.remotes.names import Digest, Tag
from dm_compose.transfer.fetch import MAX_HISTORY
from dm_compose.transfer.reading import read_manifest


def descends_from(repository: Repository, commit_id: CommitId, ancestor: CommitId) -> bool:
    """Whether `ancestor` is an ancestor of a commit on the remote. Takes one small request for each commit in between.

    False when the remote does not have the commit. UntrustedError for a history that does not end.
    """
    digest: Digest | None = repository.resolve(Tag.of_commit(commit_id))
    for _ in range(MAX_HISTORY):
        if digest is None:
            return False
        manifest = read_manifest(repository, digest)
        if manifest.parent == ancestor:
            return True
        digest = manifest.parent_manifest
    raise UntrustedError(f"the history of commit {commit_id.short} on the remote does not end")
