"""Making packs of objects: reading, cutting into frames, compressing in threads, uploading while the next ones are made."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from dm_compose.errors import DamagedError
from dm_compose.remotes.names import Digest, digest_of
from dm_compose.store.exchange import Difference, Exchange, Part, Run
from dm_compose.transfer.codec import DELTA_FRAME_BYTES, FRAME_BYTES, compress, compress_against
from dm_compose.transfer.tables import Definition, Frame, Piece, Table

PACK_BYTES = 16 << 20  # a pack is closed when it has this much: large enough for object stores, small enough for memory
COMPRESS_THREADS = 2
PENDING_FRAMES = 8
_ZERO_CHUNK = bytes(1 << 20)

Upload = Callable[[Digest, bytes], None]
"""Take a finished pack; may block while too many are on their way."""


@dataclass
class _Open:
    """A frame that is being filled: its bytes, and which ranges of which objects they are."""

    data: list[bytes] = field(default_factory=list)
    size: int = 0
    places: list[tuple[str, int, int, int]] = field(default_factory=list)  # object, offset, length, start

    def add(self, ref: str, offset: int, data: bytes) -> None:
        last = self.places[-1] if self.places else None
        if last is not None and last[0] == ref and last[1] + last[2] == offset:
            self.places[-1] = ref, last[1], last[2] + len(data), last[3]
        else:
            self.places.append((ref, offset, len(data), self.size))
        self.data.append(data)
        self.size += len(data)


@dataclass(frozen=True)
class _Described:
    """What is known of an object before its frames are."""

    size: int
    sha256: str
    base: str | None
    version: int
    zeros: tuple[Run, ...] = ()


class Packer:
    """Turns objects into packs and a table. The same objects in the same order give the same packs, byte for byte, with the
    same version of zstd: that is how an interrupted push finds what it has uploaded. Memory is bounded. Not thread-safe.
    """

    def __init__(self, source: Exchange, upload: Upload, progress: Callable[[int], None] = lambda _: None) -> None:
        self._source = source
        self._upload = upload
        self._progress = progress
        self._pool = ThreadPoolExecutor(COMPRESS_THREADS, thread_name_prefix="compress")
        self._pending: deque[tuple[Future[bytes], _Open, bool]] = deque()
        self._open = _Open()
        self._objects: dict[str, _Described] = {}
        self._pieces: dict[str, list[Piece]] = {}
        self._pack: list[bytes] = []
        self._pack_size = 0
        self._in_pack: list[tuple[_Open, int, int, bool]] = []  # frame, offset, stored, delta
        self._packs: dict[Digest, int] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def add_whole(self, ref: str) -> str:
        """Pack an object without a base; return its sha256 (hex)."""
        digest = hashlib.sha256()
        position, size = 0, None
        while size is None or position < size:
            part = self._source.part(ref, position)
            if size not in (None, part.size):
                raise DamagedError(f"object {ref} changed its size while it was read")
            self._add_part(ref, digest, position, part)
            position, size = part.end, part.size
        self._objects[ref] = _Described(size, digest.hexdigest(), None, 0)
        return digest.hexdigest()

    def _add_part(self, ref: str, digest: hashlib._Hash, position: int, part: Part) -> None:
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
        frame, self._open = self._open, _Open()
        if frame.size:
            self._submit(frame, lambda: compress(b"".join(frame.data)), delta=False)

    def add_changes(self, ref: str, base: str, difference: Difference, version: int) -> None:
        """Pack what an object has other than its base."""
        zeros = tuple(run for run in difference.runs if run.zero)
        self._objects[ref] = _Described(difference.size, difference.sha256, base, version, zeros)
        frame = _Open()
        for run in difference.runs:
            position, end = run.offset, run.offset + run.length
            while not run.zero and position < end:
                length = min(end - position, DELTA_FRAME_BYTES - frame.size)
                frame.places.append((ref, position, length, frame.size))
                frame.size += length
                position += length
                if frame.size == DELTA_FRAME_BYTES:
                    self._submit_delta(frame, ref, base)
                    frame = _Open()
        if frame.size:
            self._submit_delta(frame, ref, base)

    def _submit_delta(self, frame: _Open, ref: str, base: str) -> None:
        def work() -> bytes:
            ranges = [(offset, length) for _, offset, length, _ in frame.places]
            data = self._source.read(ref, ranges)
            if len(data) != frame.size:
                raise DamagedError(f"object {ref} became shorter while it was read")
            return compress_against(data, self._source.read(base, ranges))

        self._submit(frame, work, delta=True)
        self._progress(frame.size)

    def _submit(self, frame: _Open, work: Callable[[], bytes], *, delta: bool) -> None:
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
            for ref, at, length, start in opened.places:
                self._pieces.setdefault(ref, []).append(Piece(at, length, frame, start))
        self._packs[digest] = len(data)
        self._pack, self._in_pack, self._pack_size = [], [], 0
        self._upload(digest, data)

    def finish(self) -> Table:
        """Upload what is left and return the table of everything that was added."""
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
