"""Getting commits from a remote into a store. All of it is checked before any commit is listed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dm_compose.core.commit import Commit
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName
from dm_compose.core.tree import FILE, Manifest
from dm_compose.errors import DamagedError, DiskFullError, InUseError, NotFoundError, UntrustedError
from dm_compose.remotes.base import Remote, Repository
from dm_compose.remotes.names import Digest, RemoteName, Tag
from dm_compose.store.api import Store
from dm_compose.store.exchange import Exchange, NewDot, Staging
from dm_compose.store.privileges import mark_of, privileged_path
from dm_compose.transfer.downloads import PackDownloads
from dm_compose.transfer.manifests import CommitManifest, Descriptor, decode_config
from dm_compose.transfer.reading import read_blob, read_manifest, read_table
from dm_compose.transfer.reports import Fetched, Relation
from dm_compose.transfer.tables import Definition, Table, closure
from dm_compose.transfer.trust import check_together, read_tree
from dm_compose.transfer.unpacking import Unpacker

MAX_HISTORY = 1_000_000
MAX_NAMED = 20
MAX_LOGICAL_BYTES = 4 << 40
PUBLISH_TRIES = 3


def fetch(
    remote: Remote,
    name: RemoteName,
    what: RefName | CommitId,
    store: Store,
    dot: DotName,
    progress: Listener = ignore,
    *,
    head: CommitId | None = None,
    depth: int | None = None,
) -> Fetched:
    """Get a branch or a commit of a remote into an existing local dot. Moves no ref. See `download` for arguments and errors.

    The caller holds the dot's lock until a ref names the new commits. Otherwise `gc` may remove them.
    """
    with download(remote, name, what, store, dot, progress, head=head, depth=depth) as got:
        got.publish()
        return got.report


def find_tip(remote: Remote, name: RemoteName, what: RefName | CommitId) -> Digest:
    """Return the digest of a branch's head, or of a commit, on a remote. NotFoundError if there is none. Nothing is fetched."""
    repository = remote.repository(name)
    digest = repository.resolve(Tag.of_commit(what) if isinstance(what, CommitId) else Tag.of_branch(what))
    if digest is not None:
        return digest
    tags = repository.tags()
    if not tags:
        raise NotFoundError(f"there is no {name} at {remote.url}", hint="`remote ls` lists what there is.")
    kind = "commit" if isinstance(what, CommitId) else "branch"
    branches = ", ".join(sorted(tag.branch for tag in tags if tag.branch is not None)[:MAX_NAMED]) or "none"
    raise NotFoundError(f"{name} at {remote.url} has no {kind} {what}", hint=f"Its branches: {branches}.")


@contextlib.contextmanager
def download(
    remote: Remote,
    name: RemoteName,
    what: RefName | CommitId,
    store: Store,
    dot: DotName,
    progress: Listener = ignore,
    *,
    head: CommitId | None = None,
    depth: int | None = None,
) -> Iterator[Download]:
    """Get a branch or a commit of a remote, with all ancestors that the store lacks, into a staging place. `publish` lists them.

    `head` is the local commit to compare with, None when there is none. With a `depth` only that many commits come, and the
    oldest of them is marked shallow. The local dot need not exist yet. Needs no lock, and may take long. The next call after a
    killed transfer goes on where it was.

    NotFoundError when there is no such branch or commit. DamagedError names a blob that is missing or does not have its digest.
    UntrustedError names something that cannot be accepted. DiskFullError before anything is written that has no room. After each
    of these the store is as before. InUseError while another process fetches for the same dot.
    """
    exchange = store.exchange()
    staging = exchange.stage(dot)
    try:
        got = Download(remote, remote.repository(name), name, store, exchange, dot, staging, progress)
        got.run(what, head, depth)
        yield got
        if not got.commits:  # an earlier transfer had published, and was killed before it could tidy up
            staging.discard()
    finally:
        staging.close()


@dataclass
class _NewCommit:
    """A commit that the store does not have yet: as its manifest, as data, and its trees by subdot."""

    digest: Digest
    manifest: CommitManifest
    commit: Commit
    trees: dict[SubdotName, Manifest]


@dataclass
class Download:
    """Commits whose contents are here, and that nobody can see until `publish` lists them. `report` says which they are."""

    remote: Remote
    repository: Repository
    name: RemoteName
    store: Store
    exchange: Exchange
    dot: DotName
    staging: Staging
    progress: Listener
    report: Fetched = field(init=False)
    _incoming: list[_NewCommit] = field(default_factory=list)
    _manifests: dict[str, bytes] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _built: set[str] = field(default_factory=set)
    _small_bytes: int = 0
    _tip: Digest = field(init=False)
    _depth: int | None = None

    @property
    def commits(self) -> list[Commit]:
        """The commits that are new here, the oldest first."""
        return [item.commit for item in self._incoming]

    def publish(self, *, new: NewDot | None = None) -> None:
        """List the commits in the store. Makes the dot in the same transaction when `new` is given. See Staging.publish.

        New trees with privileged files are marked first: see store.privileges. Brings again what `gc` has collected meanwhile.
        InUseError, with nothing changed, if that happens again and again.

        The caller holds the dot's lock. The dot exists, unless it is new.
        """
        for _ in range(PUBLISH_TRIES):
            self._mark_privileged()
            if self.staging.publish(self.commits, self._manifests, self._objects(), self._digests, new=new):
                return
            self.progress(Event("again", "objects that were here have been collected by `gc` meanwhile; they are fetched again"))
            self._bring()
        raise InUseError(
            f"fetching {self.name}: `gc` in this store collects what it needs, again and again",
            hint="Fetch again when `gc` has ended; nothing was changed.",
        )

    def _mark_privileged(self) -> None:
        for item in self._incoming:
            for subdot, tree in item.trees.items():
                ref = item.commit.subdots[subdot].manifest
                if ref in self._manifests and (path := privileged_path(tree)) is not None:
                    self.store.set_setting(mark_of(ref), path)

    def run(self, what: RefName | CommitId, head: CommitId | None, depth: int | None) -> None:
        """Bring everything here. `download` calls this once."""
        self.progress(Event("calculate"))
        self._tip, self._depth = find_tip(self.remote, self.name, what), depth
        newest, here, received = self._bring()
        self.report = self._describe(what, newest or here, head, here, received)

    def _bring(self) -> tuple[CommitId | None, CommitId | None, int]:
        """Bring everything that the store lacks by now. Idempotent.

        Return the newest commit that is new, the newest that is here already, and the bytes that came.
        """
        new, here = self._walk(self._tip, self._depth)
        self._manifests.clear()
        self._incoming = [self._read_commit(digest, manifest) for digest, manifest in reversed(new)]
        if self._depth is not None and self._incoming and here is None and self._incoming[0].commit.parent is not None:
            self._incoming[0].commit = replace(self._incoming[0].commit, shallow=True)
        return new[0][1].commit if new else None, here, self._bring_objects()

    def _objects(self) -> set[str]:
        """Return the objects that the new commits need."""
        return {e.ref for a in self._incoming for tree in a.trees.values() for e in tree.entries.values() if e.kind == FILE}

    # History

    def _walk(self, tip: Digest, depth: int | None) -> tuple[list[tuple[Digest, CommitManifest]], CommitId | None]:
        """Return the new manifests, newest first, and the newest commit that is here already, None if there is none."""
        found: list[tuple[Digest, CommitManifest]] = []
        ids: set[CommitId] = set()
        digest: Digest | None = tip
        expected: CommitId | None = None
        while digest is not None and (depth is None or len(found) < depth):
            manifest = read_manifest(self.repository, digest)
            if expected is not None and manifest.commit != expected:
                raise UntrustedError(f"manifest {digest.short} is of another commit than its child says")
            if self._complete(manifest.commit, depth):
                return found, manifest.commit
            if manifest.commit in ids or len(found) >= MAX_HISTORY:
                raise UntrustedError(f"the history of {self.name} does not end")
            ids.add(manifest.commit)
            found.append((digest, manifest))
            digest, expected = manifest.parent_manifest, manifest.parent
        return found, None

    def _complete(self, commit_id: CommitId, depth: int | None) -> bool:
        """Whether a commit is here. Without a `depth` its ancestors have to be here too."""
        if not self.exchange.has_commit(self.dot, commit_id):
            return False
        return depth is not None or not any(commit.shallow for commit in self.store.log(self.dot, commit_id))

    def _read_commit(self, digest: Digest, manifest: CommitManifest) -> _NewCommit:
        what = f"commit {manifest.commit.short}"
        blob = self._read(manifest.config, f"document of {what}")
        commit = replace(decode_config(blob, manifest, self.dot, what=what), shallow=False)
        trees: dict[SubdotName, Manifest] = {}
        for layer in manifest.trees:
            assert layer.subdot is not None
            trees[layer.subdot] = self._read_tree(layer, commit, layer.subdot)
        check_together(trees, what=what)
        return _NewCommit(digest, manifest, commit, trees)

    def _read(self, layer: Descriptor, what: str) -> bytes:
        self._small_bytes += layer.size
        return read_blob(self.repository, layer, what=what)

    def _read_tree(self, layer: Descriptor, commit: Commit, subdot: SubdotName) -> Manifest:
        what = f"tree of {subdot} in commit {commit.id.short}"
        state = commit.subdots[subdot]
        data, manifest = read_tree(self._read(layer, what), what=what)
        if (manifest.files, manifest.size_bytes) != (state.files, state.size_bytes):
            raise UntrustedError(f"{what} does not have as many files, or bytes, as the commit says")
        if self.exchange.present({state.manifest}):
            if self.exchange.manifest(state.manifest) != data:
                raise DamagedError(f"{what} is not the manifest of the same id that is here")
        elif self._manifests.setdefault(state.manifest, data) != data:
            raise UntrustedError(f"{what} and another one have the same id")
        return manifest

    # Objects

    def _bring_objects(self) -> int:
        definitions = self._definitions()
        refs = {ref: definitions[ref] for ref in self._needed(definitions)}
        self._check_space(refs)
        sizes = {pack.digest: pack.size for item in self._incoming for pack in item.manifest.packs}
        unpacker = Unpacker(self.staging, refs, self._built)
        order = unpacker.order()
        if missing := [pack for pack in order if pack not in sizes]:
            raise UntrustedError(f"objects on the remote need pack {missing[0].short}, which no commit names")
        downloads = PackDownloads(
            self.remote, self.repository, self.staging, [Descriptor(p, sizes[p]) for p in order], self.progress
        )
        try:
            unpacker.run(downloads, sizes)
        finally:
            downloads.close()
        return downloads.received + self._small_bytes

    def _definitions(self) -> dict[str, Definition]:
        """Return definitions of all objects of the new commits, and of their bases. Checks that trees and tables agree."""
        tables: dict[Digest, Table] = {}
        everything: dict[str, Definition] = {}
        for item in self._incoming:
            what = f"commit {item.commit.id.short}"
            mine: dict[str, Definition] = {}
            for layer in item.manifest.tables:
                if layer.digest not in tables:
                    tables[layer.digest] = read_table(self.repository, layer)
                    self._small_bytes += layer.size
                mine.update(tables[layer.digest].definitions)
            entries = [e for tree in item.trees.values() for e in tree.entries.values() if e.kind == FILE]
            for ref, definition in closure(mine, (e.ref for e in entries), what=what).items():
                old = everything.setdefault(ref, definition)
                if (old.size, old.sha256) != (definition.size, definition.sha256):
                    raise UntrustedError(f"the remote describes object {ref} in two ways that differ")
            if wrong := [e for e in entries if everything[e.ref].size != e.size]:
                raise UntrustedError(f"{what} has a file of another size than its object: {wrong[0].path!r}")
        self._digests = {ref: d.sha256 for ref, d in everything.items()}
        return everything

    def _needed(self, definitions: Mapping[str, Definition]) -> set[str]:
        """Return the objects to build: those of the new trees that the store lacks, and the bases that it lacks."""
        here = self.exchange.present(definitions.keys())
        self._check_present({ref: definitions[ref] for ref in here})
        wanted = self._objects()
        self._built = set()
        finished = self.staging.finished(self._digests)
        needed: set[str] = set()
        for ref in wanted - here:
            current: str | None = ref
            self._built.add(ref)
            steps = 0
            while current is not None and current not in here and current not in finished and current not in needed:
                needed.add(current)
                current = definitions[current].base
                steps += 1
        closure(definitions, needed, what="the remote")  # raises for a cycle that goes through several tables
        return needed

    def _check_present(self, definitions: Mapping[str, Definition]) -> None:
        """Raise DamagedError if an object that is here does not have the digest that the remote says."""
        known = self.exchange.digests(definitions.keys())
        intact = self.exchange.intact({ref: d.sha256 for ref, d in definitions.items() if ref not in known})
        for ref, definition in definitions.items():
            if known.get(ref) != definition.sha256 and ref not in intact:
                raise DamagedError(f"object {ref} here is not the one that the remote has", hint="`fsck` looks for damage here.")

    def _check_space(self, definitions: Mapping[str, Definition]) -> None:
        stored = sum(d.stored_bytes for d in definitions.values())
        logical = sum(d.size for d in definitions.values())
        if logical > MAX_LOGICAL_BYTES:
            raise UntrustedError(f"{self.name} has files of {logical} bytes in all; up to {MAX_LOGICAL_BYTES} are accepted")
        if stored > (free := self.staging.free_bytes()):
            raise DiskFullError(
                f"fetching {self.name}: its files take {stored} bytes, and {free} are free",
                hint="Free space; nothing was changed.",
            )

    def _describe(
        self, what: RefName | CommitId, tip: CommitId | None, head: CommitId | None, here: CommitId | None, received: int
    ) -> Fetched:
        assert tip is not None
        new = [item.commit.id for item in self._incoming]
        theirs = [*reversed(new), *(c.id for c in (self.store.log(self.dot, here) if here is not None else ()))]
        ours = [c.id for c in self.store.log(self.dot, head)] if head is not None else []
        needed = {blob.digest: blob.size for a in self._incoming for blob in a.manifest.blobs}
        return Fetched(
            name=self.name,
            branch=None if isinstance(what, CommitId) else what,
            head=tip,
            relation=_relation(tip, theirs, head, ours),
            commits=tuple(new),
            common=next((commit_id for commit_id in theirs if commit_id in set(ours)), None),
            received_bytes=received,
            reused_bytes=max(0, sum(needed.values()) - received),
        )


def _relation(tip: CommitId, theirs: Sequence[CommitId], head: CommitId | None, ours: Sequence[CommitId]) -> Relation:
    if head is None:
        return Relation.NEW
    if head == tip:
        return Relation.SAME
    if tip in ours:
        return Relation.AHEAD
    return Relation.BEHIND if head in theirs else Relation.DIVERGED
