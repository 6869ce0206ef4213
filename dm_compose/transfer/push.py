"""Sending a branch to a remote. Commits go the oldest first, and each is there as a whole before a tag names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from dm_compose.core.commit import Commit
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName
from dm_compose.core.tree import FILE, Manifest
from dm_compose.errors import DamagedError, DivergedError, NotFoundError, UsageError
from dm_compose.remotes.base import Remote, Repository
from dm_compose.remotes.names import Digest, RemoteName, Tag, digest_of
from dm_compose.store.api import Store
from dm_compose.store.exchange import Difference, Exchange
from dm_compose.transfer.codec import compress_document
from dm_compose.transfer.manifests import CommitManifest, Descriptor, encode_config, unique
from dm_compose.transfer.packing import Packer
from dm_compose.transfer.push_plan import (
    ObjectToSend,
    RemoteParent,
    arrange_tables,
    choose_base,
    crowded,
    needed_packs,
    objects_to_send,
    pays,
)
from dm_compose.transfer.reading import read_manifest, read_table
from dm_compose.transfer.reports import Pushed
from dm_compose.transfer.tables import Table, closure
from dm_compose.transfer.trust import MAX_TREE_BYTES
from dm_compose.transfer.uploads import Uploads

COMPARE_THREADS = 2
MAX_EARLIER = 16
KEPT_TREES = 32  # decoding 6,000 entries takes 20 ms


def push(
    store: Store,
    dot: DotName,
    branch: RefName,
    remote: Remote,
    name: RemoteName,
    progress: Listener = ignore,
    *,
    stash: bool = False,
) -> Pushed:
    """Send a branch with all its ancestors to the dot `name` on a remote, and move the branch there.

    A branch on the remote names a whole commit at any time. The next call after a killed push sends only the missing blobs. Needs
    no lock: a `gc` meanwhile may make the push fail, but never send anything broken.

    NotFoundError when the branch has no commit. DivergedError when the remote's branch has commits that the local one does not
    have, or when somebody else moves it meanwhile. With `stash` the commits of a diverged branch go to the new branch
    `BRANCH-DIVERGED-<time>` of the remote instead.
    """
    repository = remote.repository(name)
    head = store.branches(dot).get(branch)
    if head is None:
        raise NotFoundError(f"branch {branch} of dot {dot} has no commit to push", hint="`commit` makes one.")
    log = store.log(dot, head)
    there = repository.resolve(Tag.of_branch(branch))
    before = read_manifest(repository, there).commit if there is not None else None
    target = branch
    if before is not None and all(commit.id != before for commit in log):
        if not stash:
            raise _diverged(branch, remote, repository, name, before, log, is_here=store.exchange().has_commit(dot, before))
        target, there = RefName.parse(f"{branch}-DIVERGED-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"), None
    uploads = Uploads(repository, remote.connections, progress)
    try:
        sender = _Sender(store.exchange(), repository, uploads, progress)
        sent = sender.send(log)
        tip = sent[-1] if sent else sender.on_remote(head)
        if there != tip.digest:
            _move(repository, target, tip, there, name)
    finally:
        uploads.close()
    needed = {blob.digest: blob.size for commit in sent for blob in commit.manifest.blobs}
    exposed = remote.exposed()
    return Pushed(
        name=name,
        branch=target,
        head=head,
        before=before,
        commits=tuple(commit.manifest.commit for commit in sent),
        sent_blobs=len(uploads.sent),
        sent_bytes=sum(uploads.sent.values()),
        reused_bytes=sum(size for digest, size in needed.items() if digest not in uploads.sent),
        stashed=target != branch,
        warnings=() if exposed is None else (exposed,),
    )


def _diverged(
    branch: RefName,
    remote: Remote,
    repository: Repository,
    name: RemoteName,
    there: CommitId,
    log: Sequence[Commit],
    *,
    is_here: bool,
) -> DivergedError:
    if not is_here and {tag.commit_id for tag in repository.tags()}.isdisjoint(commit.id for commit in log):
        return DivergedError(
            f"{name} at {remote.url} has nothing in common with branch {branch} here: it may be another dot of that name",
            hint="Push it as another one: --remote-name NS/NAME.",
        )
    here = ", a commit that is here but not in this branch" if is_here else ""
    return DivergedError(
        f"branch {branch} of {name} at {remote.url} has commits that the local one does not have: it is at {there.short}{here}",
        hint="Pull first, or push with --stash-on-divergence: then yours becomes a branch of its own there.",
    )


def _move(repository: Repository, branch: RefName, tip: _RemoteCommit, expected: Digest | None, name: RemoteName) -> None:
    """Name a commit by its id and by a branch. Then read the branch again, because not every kind of remote can compare and swap.

    DivergedError when somebody else has moved the branch. It stays as it is then, and the commit is named by its id all the same.
    """
    tag, own = Tag.of_branch(branch), {Tag.of_commit(tip.manifest.commit): tip.digest}
    try:
        repository.update({**own, tag: tip.digest}, {tag: expected})
    except DivergedError:
        repository.update(own, {})
        raise
    if repository.resolve(tag) != tip.digest:
        raise DivergedError(
            f"somebody else moved branch {branch} of {name} at the same time",
            hint="Pull what they pushed, then push again; your commits are there, under their ids.",
        )


@dataclass(frozen=True)
class _RemoteCommit:
    """A commit on the remote: its manifest, and the digest of that."""

    digest: Digest
    manifest: CommitManifest


@dataclass
class _Sender:
    """Sends commits to one repository. `done` and `total` count bytes of files, to tell progress."""

    exchange: Exchange
    repository: Repository
    uploads: Uploads
    progress: Listener
    tables: dict[Digest, Table] = field(default_factory=dict)
    tagged: set[CommitId] = field(default_factory=set)
    done: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        self._tree = lru_cache(KEPT_TREES)(lambda ref: Manifest.decode(self.exchange.manifest(ref), name=ref))

    def send(self, log: Sequence[Commit]) -> list[_RemoteCommit]:
        """Send the commits of a log (newest first) that the remote lacks. Return them, oldest first. The last has no tag yet."""
        self.progress(Event("calculate"))
        self.tagged = {tag.commit_id for tag in self.repository.tags() if tag.commit_id is not None}
        count = next((number for number, commit in enumerate(log) if commit.id in self.tagged), len(log))
        parent = self.on_remote(log[count].id) if count < len(log) else None
        trees = self._trees(log[count]) if count < len(log) else {}
        if count == len(log) and log[-1].shallow:
            raise NotFoundError(
                f"commit {log[-1].id.short} came without its ancestors, and the remote has neither it nor them",
                hint="Fetch the whole history from where it came, then push.",
            )
        self.total = self._logical_bytes(log, count)
        sent: list[_RemoteCommit] = []
        for commit in reversed(log[:count]):
            if sent:
                self.repository.update({Tag.of_commit(sent[-1].manifest.commit): sent[-1].digest}, {})
            parent, trees = self._send(commit, parent, trees)
            sent.append(parent)
        return sent

    def on_remote(self, commit_id: CommitId) -> _RemoteCommit:
        """Return a commit that has a tag on the remote. NotFoundError when the tag has gone meanwhile."""
        digest = self.repository.resolve(Tag.of_commit(commit_id))
        if digest is None:
            raise NotFoundError(f"commit {commit_id.short} was removed from the remote meanwhile", hint="Push again.")
        manifest = read_manifest(self.repository, digest)
        if manifest.commit != commit_id:
            raise DamagedError(f"the remote's tag of commit {commit_id.short} names another commit, {manifest.commit.short}")
        return _RemoteCommit(digest, manifest)

    def _trees(self, commit: Commit) -> dict[SubdotName, Manifest]:
        return {subdot: self._tree(state.manifest) for subdot, state in commit.subdots.items()}

    def _logical_bytes(self, log: Sequence[Commit], count: int) -> int:
        """Return the size of all objects that the first `count` commits have and their parents do not have, to tell progress."""
        total = 0
        for number, commit in enumerate(log[:count]):
            parents = self._trees(log[number + 1]) if number + 1 < len(log) else {}
            known = {ref for tree in parents.values() for ref in tree.objects()}
            for tree in self._trees(commit).values():
                total += sum(e.size for e in tree.entries.values() if e.kind == FILE and e.ref not in known)
        return total

    def _send(
        self, commit: Commit, parent: _RemoteCommit | None, parent_trees: dict[SubdotName, Manifest]
    ) -> tuple[_RemoteCommit, dict[SubdotName, Manifest]]:
        trees = self._trees(commit)
        what = f"commit {commit.id.short}"
        refs = {ref for tree in trees.values() for ref in tree.objects()}
        known = self._known(refs, parent, parent_trees)
        new = self._pack(commit, trees, refs, known)
        table, kept = arrange_tables(refs, new, known, what=what)
        tables = kept
        if table.definitions:
            blob = table.encode()
            layer = Descriptor(digest_of(blob), len(blob))
            self.tables[layer.digest] = table
            self.uploads.put(layer.digest, blob)
            tables = (*kept, layer)
        definitions = {**known.definitions, **new.definitions}
        manifest = CommitManifest(
            commit=commit.id,
            parent=commit.parent if parent is not None else None,
            parent_manifest=parent.digest if parent is not None else None,
            created=commit.created.astimezone(UTC).isoformat(timespec="seconds"),
            config=self._upload(encode_config(commit)),
            trees=tuple(self._upload_tree(subdot, state.manifest) for subdot, state in sorted(commit.subdots.items())),
            tables=tables,
            packs=needed_packs(closure(definitions, refs, what=what).values(), {**known.packs, **new.packs}),
        )
        self.uploads.wait()
        return _RemoteCommit(self.repository.put_manifest(manifest.encode()), manifest), trees

    def _known(self, refs: set[str], parent: _RemoteCommit | None, trees: dict[SubdotName, Manifest]) -> RemoteParent:
        """Return the parent with its tables, and with tables of earlier commits on the remote whose objects are needed again.

        They are needed after a reset, for example, when the state is one of an earlier commit.
        """
        layers = list(parent.manifest.tables) if parent is not None else []
        lacking = refs - {ref for layer in layers for ref in self._table(layer).definitions}
        makers = Counter(ref.partition("/")[0] for ref in lacking)
        for maker, _ in makers.most_common(MAX_EARLIER):
            if maker in self.tagged:
                layers = [*self.on_remote(CommitId(maker)).manifest.tables, *layers]  # the last table counts: the parent's
        return RemoteParent(tuple((layer, self._table(layer)) for layer in unique(layers)), trees)

    def _table(self, layer: Descriptor) -> Table:
        if layer.digest not in self.tables:
            self.tables[layer.digest] = read_table(self.repository, layer)
        return self.tables[layer.digest]

    def _upload(self, blob: bytes, subdot: SubdotName | None = None) -> Descriptor:
        layer = Descriptor(digest_of(blob), len(blob), subdot)
        self.uploads.put(layer.digest, blob)
        return layer

    def _upload_tree(self, subdot: SubdotName, manifest: str) -> Descriptor:
        data = self.exchange.manifest(manifest)
        if len(data) > MAX_TREE_BYTES:
            raise UsageError(f"the list of files of {subdot} has {len(data)} bytes; a remote takes up to {MAX_TREE_BYTES}")
        return self._upload(compress_document(data), subdot)

    # Objects

    def _pack(self, commit: Commit, trees: dict[SubdotName, Manifest], refs: set[str], known: RemoteParent) -> Table:
        """Upload packs with the objects that the parent does not have. Return the table that defines them."""
        definitions = known.definitions
        wanted = objects_to_send(trees, definitions, known.trees)
        old = refs & definitions.keys()
        again = crowded(closure(definitions, old, what="the parent on the remote"), old)
        sizes = {e.ref: e.size for tree in trees.values() for e in tree.entries.values() if e.kind == FILE}
        if again:  # no object may have its base in the same pack
            wanted = [ObjectToSend(item.ref, item.size, None) for item in wanted]
        wanted += [ObjectToSend(ref, sizes[ref], None) for ref in sorted(again)]
        if not wanted:
            return Table()
        digests: dict[str, str] = {}
        packer = Packer(self.exchange, self.uploads.put, lambda count: self._tell(commit, count))
        try:
            with self._compared(wanted, known) as compared:
                for item, base, version, future in compared:
                    difference = future.result() if future is not None else None
                    if difference is not None and base is not None and pays(definitions, base, _changed(difference), item.size):
                        packer.add_changes(item.ref, base, difference, version)
                        digests[item.ref] = difference.sha256
                        self._tell(commit, max(0, item.size - _changed(difference)))
                    else:
                        digests[item.ref] = packer.add_whole(item.ref)
            table = packer.finish()
        finally:
            packer.close()
        self._remember(digests)
        return table

    @contextmanager
    def _compared(
        self, wanted: Sequence[ObjectToSend], known: RemoteParent
    ) -> Iterator[list[tuple[ObjectToSend, str | None, int, Future[Difference] | None]]]:
        """Compare objects with their bases, in threads. A base that the store does not have (any more) is left out."""
        definitions = known.definitions
        chosen = {item.ref: choose_base(definitions, item.before) for item in wanted if item.before is not None}
        here = self.exchange.present({base for base, _ in chosen.values()})
        with ThreadPoolExecutor(COMPARE_THREADS, thread_name_prefix="compare") as pool:
            jobs: list[tuple[ObjectToSend, str | None, int, Future[Difference] | None]] = []
            for item in wanted:
                base, version = chosen.get(item.ref, (None, 0))
                if base in here and base is not None:
                    jobs.append((item, base, version, pool.submit(self.exchange.compare, item.ref, base)))
                else:
                    jobs.append((item, None, 0, None))
            try:
                yield jobs
            finally:
                pool.shutdown(cancel_futures=True)

    def _tell(self, commit: Commit, count: int) -> None:
        self.done += count
        self.progress(Event("push", commit.id.short, done=min(self.done, self.total), total=self.total, unit="bytes"))

    def _remember(self, digests: dict[str, str]) -> None:
        """Have the store keep digests. DamagedError if it knows another one: the object has been damaged since."""
        known = self.exchange.digests(digests.keys())
        for ref, digest in known.items():
            if digests[ref] != digest:
                raise DamagedError(f"object {ref} has changed since it was written", hint="`fsck` looks for further damage.")
        self.exchange.add_digests({ref: digest for ref, digest in digests.items() if ref not in known})


def _changed(difference: Difference) -> int:
    return sum(run.length for run in difference.runs if not run.zero)
