"""How commits on a remote stand to each other, told by their manifests alone."""

from __future__ import annotations

from dm_compose.core.names import CommitId
from dm_compose.errors import UntrustedError
from dm_compose.remotes.base import Repository
from dm_compose.remotes.names import Digest, Tag
from dm_compose.transfer.fetch import MAX_HISTORY
from dm_compose.transfer.reading import read_manifest


def descends_from(repository: Repository, commit_id: CommitId, ancestor: CommitId) -> bool:
    """Whether a commit on a remote has another one among its ancestors. One small request for each commit in between."""
    digest: Digest | None = repository.resolve(Tag.of_commit(commit_id))
    for _ in range(MAX_HISTORY):
        if digest is None:
            return False
        manifest = read_manifest(repository, digest)
        if manifest.parent == ancestor:
            return True
        digest = manifest.parent_manifest
    raise UntrustedError(f"the history of commit {commit_id.short} on the remote does not end")
