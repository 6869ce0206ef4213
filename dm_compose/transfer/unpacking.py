"""Making objects of packs, in threads. Bases are made before the objects that are built on them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from graphlib import CycleError, TopologicalSorter

from dm_compose.errors import DamagedError, UntrustedError
from dm_compose.remotes.names import Digest
from dm_compose.store.exchange import ByteRange, Staging, Whole
from dm_compose.transfer.codec import decompress
from dm_compose.transfer.downloads import PackDownloads
from dm_compose.transfer.manifests import Descriptor
from dm_compose.transfer.tables import Definition, Frame, Piece

THREADS = 3
PACKS_AT_ONCE = 2
PiecesByFrame = dict[Frame, list[tuple[str, Piece]]]


class Unpacker:
    """Builds the objects of `definitions` in a staging place.

    Each base is among the definitions, in the store, or finished in the staging place before. An object that is not `wanted` is
    only a step on the way. If exactly one object is built on it, it is *intermediate*: its file becomes that object, without a
    copy. Nobody checks its digest, because the digest of the object that comes of it covers it.
    """

    def __init__(self, staging: Staging, definitions: Mapping[str, Definition], wanted: Container[str]) -> None:
        self._staging = staging
        self._definitions = definitions
        self._frames: dict[Digest, PiecesByFrame] = defaultdict(dict)
        self._left: dict[str, int] = {}  # the number of packs that an object still waits for; -1 when it is finished
        self._waiting: dict[str, list[str]] = defaultdict(list)  # objects by the base that they wait for
        self._packs_of: dict[str, set[Digest]] = {}
        self._users: dict[Digest, set[str]] = defaultdict(set)
        self._pool: ThreadPoolExecutor
        self._started: set[str] = set()
        self._under_way: deque[tuple[Digest, list[Future[None]]]] = deque()
        self._finishing: list[tuple[str, Future[None]]] = []
        self._releasable: set[Digest] = set()  # packs of which some object is finished
        for definition in definitions.values():
            self._register(definition)
        self._intermediate = {ref for ref in definitions if ref not in wanted and len(self._waiting[ref]) == 1}
        self._simple = {d.ref for d in definitions.values() if _is_one_piece(d)} - self._intermediate

    def _register(self, definition: Definition) -> None:
        packs = set()
        for piece in definition.pieces:
            if piece.frame is not None:
                packs.add(piece.frame.pack)
                self._frames[piece.frame.pack].setdefault(piece.frame, []).append((definition.ref, piece))
        self._packs_of[definition.ref] = packs
        self._left[definition.ref] = len(packs)
        for pack in packs:
            self._users[pack].add(definition.ref)
        if (base := self._built_base(definition.ref)) is not None:
            self._waiting[base].append(definition.ref)

    def _built_base(self, ref: str) -> str | None:
        """Return the base of an object if it is built here too, else None."""
        base = self._definitions[ref].base
        return base if base in self._definitions else None

    def order(self) -> list[Digest]:
        """Return the packs that are needed, in an order in which packs of bases come first. UntrustedError if there is none."""
        ordered: TopologicalSorter[Digest] = TopologicalSorter({pack: set() for pack in sorted(self._frames)})
        for definition in self._definitions.values():
            below = self._built_base(definition.ref)
            while below is not None and not self._packs_of[below]:
                below = self._built_base(below)
            if below is not None:
                for pack in self._packs_of[definition.ref]:
                    ordered.add(pack, *self._packs_of[below])
        try:
            return list(ordered.static_order())
        except CycleError:
            raise UntrustedError("the remote describes objects by packs that need each other") from None

    def run(self, downloads: PackDownloads, sizes: Mapping[Digest, int]) -> None:
        """Build all objects. `sizes` has the sizes of the packs.

        DamagedError when an object does not have its digest. Objects that are finished stay in the staging place.
        """
        with ThreadPoolExecutor(THREADS, thread_name_prefix="unpack") as pool:
            self._pool = pool
            try:
                self._finish([ref for ref, left in self._left.items() if not left and self._built_base(ref) is None])
                for digest in self.order():
                    self._make_room(digest)
                    self._begin(digest, downloads.take(Descriptor(digest, sizes[digest])))
                    self._forget(downloads)
                while self._under_way:
                    self._end()
                self._wait_for_finished()
                self._forget(downloads)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if missing := [ref for ref, left in self._left.items() if left >= 0]:
            raise UntrustedError(f"the remote does not say how to make object {missing[0]}")

    def _make_room(self, digest: Digest) -> None:
        """Wait until a pack may begin: the bases of its objects are finished, and not too many packs are in memory."""
        while len(self._under_way) >= PACKS_AT_ONCE:
            self._end()
        bases = {base for ref in self._users[digest] if (base := self._built_base(ref)) is not None}
        while self._under_way and any(self._needs_packs(base) for base in bases):
            self._end()
        if any(self._left[base] >= 0 for base in bases):
            self._wait_for_finished()

    def _needs_packs(self, ref: str) -> bool:
        """Whether an object waits for packs: for its own, or, because it has none, for those of a base below it."""
        current: str | None = ref
        while current is not None and not self._left[current]:
            current = self._built_base(current)
        return current is not None and self._left[current] > 0

    def _begin(self, digest: Digest, data: bytes) -> None:
        """Start the objects that begin with this pack, and have its frames written in the background."""
        new = sorted(ref for ref in self._users[digest] if ref not in self._started and ref not in self._simple)
        self._started.update(new)
        _all(self._pool.submit(self._start, ref) for ref in new)
        frames = self._frames[digest]
        self._under_way.append((digest, [self._pool.submit(self._write, f, frames[f], data) for f in sorted(frames)]))

    def _end(self) -> None:
        """Wait for the oldest pack under way. Then finish the objects that are complete with it."""
        digest, futures = self._under_way.popleft()
        _all(iter(futures))
        for ref in self._users[digest]:
            self._left[ref] -= 1
        complete = sorted(ref for ref in self._users[digest] if not self._left[ref])
        self._note_finished([ref for ref in complete if ref in self._simple])
        self._finish([ref for ref in complete if ref not in self._simple])

    def _finish(self, refs: list[str]) -> None:
        """Finish objects in the background."""
        self._finishing.extend((ref, self._pool.submit(self._finish_one, ref)) for ref in refs)

    def _wait_for_finished(self) -> None:
        """Wait for the objects that are being finished. Then finish those that waited for them and need no pack."""
        while self._finishing:
            done, self._finishing = self._finishing, []
            _all(future for _, future in done)
            self._note_finished([ref for ref, _ in done])

    def _note_finished(self, refs: list[str]) -> None:
        for ref in refs:
            self._left[ref] = -1
            self._releasable |= self._packs_of[ref]
        self._finish([above for ref in refs for above in self._waiting[ref] if not self._packs_of[above]])

    def _forget(self, downloads: PackDownloads) -> None:
        """Forget the packs of which every object is finished."""
        done = [item for item in self._finishing if item[1].done()]
        self._finishing = [item for item in self._finishing if item not in done]
        _all(future for _, future in done)
        self._note_finished([ref for ref, _ in done])
        for pack in [pack for pack in self._releasable if all(self._left[ref] < 0 for ref in self._users[pack])]:
            self._releasable.remove(pack)
            downloads.forget(pack)

    def _start(self, ref: str) -> None:
        definition = self._definitions[ref]
        base = self._built_base(ref)
        if base is not None and self._left[base] >= 0:
            raise UntrustedError(f"the remote describes object {ref} by a base that comes after it")
        zeros = [ByteRange(piece.offset, piece.length, True) for piece in definition.pieces if piece.frame is None]
        self._staging.start(ref, definition.size, definition.base, zeros, take=definition.base in self._intermediate)

    def _write(self, frame: Frame, places: list[tuple[str, Piece]], data: bytes) -> None:
        what = f"pack {frame.pack.short}"
        prefix = None
        if frame.delta:
            prefix = self._prefix(frame, places, what)
        content = decompress(data[frame.offset : frame.offset + frame.stored], frame.size, prefix=prefix, what=what)
        pieces: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        whole: list[Whole] = []
        for ref, piece in places:
            part = content[piece.start : piece.start + piece.length]
            if ref in self._simple:
                whole.append(Whole(ref, self._definitions[ref].sha256, part))
            else:
                pieces[ref].append((piece.offset, part))
        if whole and (wrong := self._staging.add(whole)):
            raise self._not_as_sent(wrong[0])
        for ref, found in pieces.items():
            self._staging.write(ref, found)

    def _prefix(self, frame: Frame, places: list[tuple[str, Piece]], what: str) -> bytes:
        """Return the bytes of the base in the ranges of a delta frame's pieces, in the order of the frame."""
        ordered = sorted((piece for _, piece in places), key=lambda piece: piece.start)
        base = self._definitions[places[0][0]].base
        covered = sum(piece.length for piece in ordered)
        if base is None or len({ref for ref, _ in places}) != 1 or covered != frame.size:
            raise UntrustedError(f"{what} has a frame of changes that is not of exactly one object")
        if base not in self._intermediate:
            return self._staging.read(base, [(piece.offset, piece.length) for piece in ordered])
        size, ref = self._definitions[base].size, places[0][0]  # the file of the base is this object's already, and has its size
        ranges = [(piece.offset, max(0, min(piece.length, size - piece.offset))) for piece in ordered]
        return self._staging.read(ref, ranges, unfinished=True)

    def _finish_one(self, ref: str) -> None:
        definition = self._definitions[ref]
        if not self._packs_of[ref]:
            self._start(ref)
        if ref in self._intermediate:
            return
        if not self._staging.finish(ref, definition.sha256):
            raise self._not_as_sent(ref)

    def _not_as_sent(self, ref: str) -> DamagedError:
        base = self._definitions[ref].base
        return DamagedError(
            f"object {ref} does not come out as it was sent" + (f", or its base {base} is damaged here" if base else ""),
            hint="`fsck` looks for damage here, `remote verify` there.",
        )


def _is_one_piece(definition: Definition) -> bool:
    """Whether an object is one range of one frame. Most files are; they are made in one step."""
    if definition.base is not None or len(definition.pieces) != 1:
        return False
    (piece,) = definition.pieces
    return piece.frame is not None and piece.length == definition.size


def _all(futures: Iterator[Future[None]]) -> None:
    """Wait for all, then raise the first error."""
    done = list(futures)
    for future in done:
        future.exception()
    for future in done:
        future.result()
