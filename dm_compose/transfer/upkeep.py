"""Looking after a remote: listing its dots, checking them, and removing garbage."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import CommitId, DotName
from dm_compose.core.tree import FILE
from dm_compose.core.upkeep import Damage
from dm_compose.errors import DamagedError, DmError, NotFoundError, UntrustedError
from dm_compose.remotes.base import GRACE_S, Remote, Repository
from dm_compose.remotes.names import Digest, RemoteName, Tag
from dm_compose.transfer.manifests import CommitManifest, Descriptor, decode_config
from dm_compose.transfer.reading import read_blob, read_manifest, read_table
from dm_compose.transfer.reports import RemoteBranch, RemoteCheckup, RemoteDot, RemoteGarbage
from dm_compose.transfer.tables import Definition, closure
from dm_compose.transfer.trust import check_together, read_tree

_ANY_DOT = DotName("any")


def list_remote(remote: Remote) -> list[RemoteDot]:
    """Return all dots of a remote with their branches, sorted by name."""
    return [describe_remote(remote, name) for name in remote.repositories()]


def describe_remote(remote: Remote, name: RemoteName) -> RemoteDot:
    """Return one dot of a remote. NotFoundError when there is none of that name."""
    repository = _existing(remote, name)
    tags = repository.tags()
    branches = tuple(_branch(repository, tag) for tag in tags if tag.branch is not None)
    blobs = repository.blobs()
    size = sum(blob.size for blob in blobs) if blobs is not None else None
    commits = sum(1 for tag in tags if tag.commit_id is not None)
    return RemoteDot(name, tuple(branch for branch in branches if branch is not None), commits, size)


def _existing(remote: Remote, name: RemoteName) -> Repository:
    repository = remote.repository(name)
    if not repository.tags():
        raise NotFoundError(f"there is no {name} at {remote.url}", hint="`remote ls` lists what there is.")
    return repository


def _branch(repository: Repository, tag: Tag) -> RemoteBranch | None:
    digest = repository.resolve(tag)
    if digest is None or tag.branch is None:
        return None
    manifest = read_manifest(repository, digest)
    return RemoteBranch(tag.branch, manifest.commit, digest, _instant(manifest), manifest.size_bytes)


def _instant(manifest: CommitManifest) -> datetime:
    try:
        instant = datetime.fromisoformat(manifest.created)
    except ValueError:
        raise UntrustedError(f"commit {manifest.commit.short} has no date that can be read") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def remove_remote(remote: Remote, name: RemoteName) -> None:
    """Remove a dot with all its commits from a remote. NotFoundError if there is none; RemoteError if the remote refuses."""
    _existing(remote, name).remove()


# Verify


def verify_remote(remote: Remote, name: RemoteName, progress: Listener = ignore) -> RemoteCheckup:
    """Read every blob that a tag of a dot needs, compare it with its digest, and check that each commit is complete.

    Damage is in the result, and raises nothing. NotFoundError when there is no such dot.
    """
    check = _Verification(_existing(remote, name), progress)
    check.tags()
    with ThreadPoolExecutor(remote.connections, thread_name_prefix="verify") as pool:
        list(pool.map(check.blob, list(check.blobs.values())))
    for manifest in check.manifests.values():
        check.commit(manifest)
    sizes = sum(blob.size for blob in check.blobs.values())
    return RemoteCheckup(len(check.manifests), len(check.blobs), sizes, tuple(check.damage))


@dataclass
class _Verification:
    """A repository that is being read: its manifests, blobs and their users, and the damage that was found."""

    repository: Repository
    progress: Listener
    manifests: dict[Digest, CommitManifest] = field(default_factory=dict)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    users: dict[Digest, list[CommitId]] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    bad: set[Digest] = field(default_factory=set)
    done: int = 0

    def tags(self) -> None:
        """Read the manifests of all tags and of all their ancestors."""
        for tag in self.repository.tags():
            digest = self.repository.resolve(tag)
            while digest is not None and digest not in self.manifests:
                try:
                    manifest = read_manifest(self.repository, digest)
                except (DamagedError, UntrustedError) as error:
                    self.damage.append(Damage(f"manifest {digest}", error.message))
                    break
                self.manifests[digest] = manifest
                for blob in manifest.blobs:
                    self.blobs[blob.digest] = blob
                    self.users.setdefault(blob.digest, []).append(manifest.commit)
                digest = manifest.parent_manifest

    def blob(self, layer: Descriptor) -> None:
        """Read one blob. Several may be read at once."""
        try:
            read_blob(self.repository, layer, what="blob")
        except (DamagedError, UntrustedError) as error:
            self.bad.add(layer.digest)
            self.damage.append(Damage(f"blob {layer.digest}", error.message, tuple(sorted(set(self.users[layer.digest])))))
        self.done += layer.size
        self.progress(Event("verify", done=self.done, total=sum(known.size for known in self.blobs.values()), unit="bytes"))

    def commit(self, manifest: CommitManifest) -> None:
        """Check a commit whose blobs are good: it can be read, and its tables define each of its objects."""
        if self.bad & {blob.digest for blob in manifest.blobs}:
            return
        what = f"commit {manifest.commit.short}"
        try:
            commit = decode_config(read_blob(self.repository, manifest.config, what=what), manifest, _ANY_DOT, what=what)
            trees = {
                layer.subdot: read_tree(read_blob(self.repository, layer, what=what), what=what)[1]
                for layer in manifest.trees
                if layer.subdot is not None
            }
            check_together(trees, what=what)
            definitions: dict[str, Definition] = {}
            for layer in manifest.tables:
                definitions.update(read_table(self.repository, layer).definitions)
            files = [e for tree in trees.values() for e in tree.entries.values() if e.kind == FILE]
            needed = closure(definitions, (e.ref for e in files), what=what)
            packs = {p.frame.pack for d in needed.values() for p in d.pieces if p.frame is not None}
            if missing := packs - {layer.digest for layer in manifest.packs}:
                raise UntrustedError(f"{what} does not name pack {next(iter(missing)).short}, which it needs")
        except DmError as error:
            self.damage.append(Damage(what, error.message, (manifest.commit,)))
            return
        self.progress(Event("verify", commit.id.short))


# Garbage


def remote_garbage(remote: Remote, name: RemoteName) -> RemoteGarbage:
    """Return the garbage that `collect_remote` would remove: commits that are in no branch, and blobs that no other commit needs.

    Commits and blobs of the last day stay. They may belong to a push that is under way.
    """
    return _Collector(remote.repository(name)).find()


def collect_remote(remote: Remote, name: RemoteName) -> RemoteGarbage:
    """Remove the garbage and return it. A crash leaves garbage, never a branch without its commits.

    RemoteError where the kind of remote cannot remove blobs.

    A registry frees the blobs itself, by its own garbage collection. It cannot tell which commits came lately, so nobody should
    push meanwhile.
    """
    garbage = _Collector(remote.repository(name))
    found = garbage.find()
    garbage.remove()
    return found


@dataclass
class _Collector:
    repository: Repository
    tags: dict[Tag, Digest] = field(default_factory=dict)
    blobs: list[Digest] = field(default_factory=list)

    def find(self) -> RemoteGarbage:
        limit = datetime.now(UTC) - timedelta(seconds=GRACE_S)
        listed = self.repository.blobs()
        held = {blob.digest: blob for blob in listed} if listed is not None else None
        known = {tag: digest for tag in self.repository.tags() if (digest := self.repository.resolve(tag)) is not None}
        live = set(self._ancestors([digest for tag, digest in known.items() if tag.commit_id is None]))
        commits: dict[CommitId, str] = {}
        for tag, digest in known.items():
            if tag.commit_id is None or digest in live:
                continue
            modified = held[digest].modified if held is not None and digest in held else None
            if modified is not None and modified > limit:
                live.update(self._ancestors([digest]))
            else:
                self.tags[tag] = digest
                commits[tag.commit_id] = "no branch has it"
        for tag in [tag for tag, digest in self.tags.items() if digest in live]:
            del commits[tag.commit_id]  # type: ignore[arg-type]
            del self.tags[tag]
        if held is None:
            self.blobs = sorted(set(self.tags.values()))
            return RemoteGarbage(commits, len(self.blobs), sum(self._size(digest) for digest in self.blobs))
        needed = {blob.digest for digest in live for blob in read_manifest(self.repository, digest).blobs} | live
        old = [b for b in held.values() if b.digest not in needed and (b.modified is None or b.modified <= limit)]
        self.blobs = [blob.digest for blob in old]
        return RemoteGarbage(commits, len(old), sum(blob.size for blob in old))

    def _size(self, digest: Digest) -> int:
        return len(self.repository.get_manifest(digest))

    def _ancestors(self, tips: list[Digest]) -> Iterator[Digest]:
        seen: set[Digest] = set()
        for tip in tips:
            digest: Digest | None = tip
            while digest is not None and digest not in seen:
                seen.add(digest)
                yield digest
                digest = read_manifest(self.repository, digest).parent_manifest

    def remove(self) -> None:
        """Remove tags first, so that nobody finds a commit whose blobs are going."""
        if self.tags and self.repository.blobs() is not None:
            self.repository.update(dict.fromkeys(self.tags), self.tags)
        for digest in self.blobs:
            self.repository.delete(digest)
