"""Making packs of objects: read, cut into frames, compress in threads, upload while the next packs are made."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from dm_compose.errors import DamagedError
from dm_compose.remotes.names import Digest, digest_of
from dm_compose.store.exchange import ByteRange, Difference, Exchange, ObjectPart
from dm_compose.transfer.codec import DELTA_FRAME_BYTES, FRAME_BYTES, compress, compress_against
from dm_compose.transfer.tables import Definition, Frame, Piece, Table

PACK_BYTES = 16 << 20  # a pack is closed at this size: large enough for object stores, small enough for memory
COMPRESS_THREADS = 2
PENDING_FRAMES = 8
_ZERO_CHUNK = bytes(1 << 20)

Upload = Callable[[Digest, bytes], None]
"""A function that takes a finished pack. It may block while too many are on their way."""


class _Range(NamedTuple):
    """A range of an object in a frame: `length` bytes at `offset` of the object are those from `start` in the frame."""

    ref: str
    offset: int
    length: int
    start: int


@dataclass
class _OpenFrame:
    """A frame that is being filled: its bytes, and the ranges of objects that they are."""

    data: list[bytes] = field(default_factory=list)
    size: int = 0
    ranges: list[_Range] = field(default_factory=list)

    def add(self, ref: str, offset: int, data: bytes) -> None:
        last = self.ranges[-1] if self.ranges else None
        if last is not None and last.ref == ref and last.offset + last.length == offset:
            self.ranges[-1] = last._replace(length=last.length + len(data))
        else:
            self.ranges.append(_Range(ref, offset, len(data), self.size))
        self.data.append(data)
        self.size += len(data)


@dataclass(frozen=True)
class _ObjectFacts:
    """The facts of an object that are known before its frames are. `zeros` are ranges that became zeros since the base."""

    size: int
    sha256: str
    base: str | None
    version: int
    zeros: tuple[ByteRange, ...] = ()


class Packer:
    """Turns objects into packs and a table. Memory is bounded. Not thread-safe.

    The same objects in the same order give the same packs, byte for byte, with the same version of zstd. So a push that was
    interrupted finds the packs that it has uploaded.
    """

    def __init__(self, source: Exchange, upload: Upload, progress: Callable[[int], None] = lambda _: None) -> None:
        self._source = source
        self._upload = upload
        self._progress = progress
        self._pool = ThreadPoolExecutor(COMPRESS_THREADS, thread_name_prefix="compress")
        self._pending: deque[tuple[Future[bytes], _OpenFrame, bool]] = deque()
        self._open = _OpenFrame()
        self._objects: dict[str, _ObjectFacts] = {}
        self._pieces: dict[str, list[Piece]] = {}
        self._pack: list[bytes] = []
        self._pack_size = 0
        self._in_pack: list[tuple[_OpenFrame, int, int, bool]] = []  # frame, offset, stored, delta
        self._packs: dict[Digest, int] = {}

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._pool.shutdown(cancel_futures=True)

    def add_whole(self, ref: str) -> str:
        """Pack an object without a base. Return its sha256 (hex). DamagedError when it changes its size meanwhile."""
        digest = hashlib.sha256()
        position, size = 0, None
        while size is None or position < size:
            part = self._source.part(ref, position)
            if size not in (None, part.size):
                raise DamagedError(f"object {ref} changed its size while it was read")
            self._add_part(ref, digest, position, part)
            position, size = part.end, part.size
        self._objects[ref] = _ObjectFacts(size, digest.hexdigest(), None, 0)
        return digest.hexdigest()

    def _add_part(self, ref: str, digest: hashlib._Hash, position: int, part: ObjectPart) -> None:
        for offset, data in part.runs:
            _hash_zeros(digest, offset - position)
            digest.update(data)
            position = offset + len(data)
            self._add_data(ref, offset, data)
            self._progress(len(data))
        _hash_zeros(digest, part.end - position)

    def _add_data(self, ref: str, offset: int, data: bytes) -> None:
        first = 0
        while first < len(data):
            piece = data[first : first + FRAME_BYTES - self._open.size]
            self._open.add(ref, offset + first, piece)
            first += len(piece)
            if self._open.size == FRAME_BYTES:
                self._close_frame()

    def _close_frame(self) -> None:
        frame, self._open = self._open, _OpenFrame()
        if frame.size:
            self._submit(frame, lambda: compress(b"".join(frame.data)), delta=False)

    def add_changes(self, ref: str, base: str, difference: Difference, version: int) -> None:
        """Pack the ranges in which an object differs from its base. `difference` is the result of comparing the two."""
        zeros = tuple(run for run in difference.runs if run.zero)
        self._objects[ref] = _ObjectFacts(difference.size, difference.sha256, base, version, zeros)
        frame = _OpenFrame()
        for run in difference.runs:
            position, end = run.offset, run.offset + run.length
            while not run.zero and position < end:
                length = min(end - position, DELTA_FRAME_BYTES - frame.size)
                frame.ranges.append(_Range(ref, position, length, frame.size))
                frame.size += length
                position += length
                if frame.size == DELTA_FRAME_BYTES:
                    self._submit_delta(frame, ref, base)
                    frame = _OpenFrame()
        if frame.size:
            self._submit_delta(frame, ref, base)

    def _submit_delta(self, frame: _OpenFrame, ref: str, base: str) -> None:
        def work() -> bytes:
            ranges = [(part.offset, part.length) for part in frame.ranges]
            data = self._source.read(ref, ranges)
            if len(data) != frame.size:
                raise DamagedError(f"object {ref} became shorter while it was read")
            return compress_against(data, self._source.read(base, ranges))

        self._submit(frame, work, delta=True)
        self._progress(frame.size)

    def _submit(self, frame: _OpenFrame, work: Callable[[], bytes], *, delta: bool) -> None:
        self._pending.append((self._pool.submit(work), frame, delta))
        while len(self._pending) > PENDING_FRAMES:
            self._take_frame()

    def _take_frame(self) -> None:
        future, frame, delta = self._pending.popleft()
        stored = future.result()
        frame.data.clear()
        self._in_pack.append((frame, self._pack_size, len(stored), delta))
        self._pack.append(stored)
        self._pack_size += len(stored)
        if self._pack_size >= PACK_BYTES:
            self._close_pack()

    def _close_pack(self) -> None:
        if not self._pack:
            return
        data = b"".join(self._pack)
        digest = digest_of(data)
        for opened, offset, stored, delta in self._in_pack:
            frame = Frame(digest, offset, stored, opened.size, delta)
            for part in opened.ranges:
                self._pieces.setdefault(part.ref, []).append(Piece(part.offset, part.length, frame, part.start))
        self._packs[digest] = len(data)
        self._pack, self._in_pack, self._pack_size = [], [], 0
        self._upload(digest, data)

    def finish(self) -> Table:
        """Upload the last pack. Return the table that defines every object that was added."""
        self._close_frame()
        while self._pending:
            self._take_frame()
        self._close_pack()
        definitions = {}
        for ref, described in self._objects.items():
            pieces = self._pieces.get(ref, []) + [Piece(run.offset, run.length, None, 0) for run in described.zeros]
            definitions[ref] = Definition(
                ref, described.size, described.sha256, described.base, described.version, tuple(sorted(pieces, key=_offset))
            )
        return Table(definitions, dict(self._packs))


def _offset(piece: Piece) -> int:
    return piece.offset


def _hash_zeros(digest: hashlib._Hash, count: int) -> None:
    while count > 0:
        digest.update(_ZERO_CHUNK[:count])
        count -= len(_ZERO_CHUNK)
