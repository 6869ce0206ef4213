"""Tables of definitions. Each definition says how to make one object.

An object is made of pieces of zstd frames, which are parts of packs. A range that no piece covers is a hole. In an object with a
base such a range has the bytes of the base.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dm_compose.errors import UntrustedError
from dm_compose.remotes.base import MAX_BLOB_BYTES
from dm_compose.remotes.names import Digest
from dm_compose.transfer.codec import MAX_FRAME_BYTES, compress_document, decompress_document

FORMAT = 1
MAX_TABLE_BYTES = 128 << 20
MAX_OBJECT_BYTES = 1 << 40
MAX_CHAIN = 64
OBJECT_ID = re.compile(r"[0-9a-f]{32}/[0-9a-f]{1,16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Frame(NamedTuple):
    """One zstd frame: `stored` bytes from `offset` in a pack. It holds `size` bytes.

    A `delta` frame holds pieces of one object only. It is compressed against the bytes that the object's base has in the same
    ranges.
    """

    pack: Digest
    offset: int
    stored: int
    size: int
    delta: bool


class Piece(NamedTuple):
    """A range of an object. Its bytes are those from `start` in a frame, or zeros where `frame` is None."""

    offset: int
    length: int
    frame: Frame | None
    start: int


@dataclass(frozen=True)
class Definition:
    """How to make an object. `version` counts the versions of the file since the last one that had no base, which has 0."""

    ref: str
    size: int
    sha256: str
    base: str | None
    version: int
    pieces: tuple[Piece, ...]

    @property
    def stored_bytes(self) -> int:
        """The sum of the lengths of its pieces that are in frames, before compression."""
        return sum(piece.length for piece in self.pieces if piece.frame is not None)


@dataclass
class Table:
    """Definitions by object, and the sizes of the packs that they need."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    packs: dict[Digest, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the table as a blob. Equal tables give equal bytes."""
        frames = {p.frame for d in self.definitions.values() for p in d.pieces if p.frame is not None}
        packs = {pack: number for number, pack in enumerate(sorted({frame.pack for frame in frames}))}
        ordered = sorted(frames, key=lambda frame: (frame.pack, frame.offset))
        numbers = {frame: number for number, frame in enumerate(ordered)}
        document = {
            "format": FORMAT,
            "packs": [[pack, self.packs[pack]] for pack in packs],
            "frames": [[packs[f.pack], f.offset, f.stored, f.size, int(f.delta)] for f in ordered],
            "objects": [
                [d.ref, d.size, d.sha256, d.base, d.version, [_row(piece, numbers) for piece in d.pieces]]
                for d in self.definitions.values()
            ],
        }
        return compress_document(json.dumps(document, separators=(",", ":")).encode())

    @classmethod
    def decode(cls, blob: bytes, *, what: str) -> Table:
        """Read a table from a remote. UntrustedError for anything that `encode` would not write."""
        try:
            document = json.loads(decompress_document(blob, MAX_TABLE_BYTES, what=what))
            if document["format"] != FORMAT:
                raise UntrustedError(f"{what} is of format {document['format']!r}", hint="A newer dm-compose may know it.")
            packs = [(Digest.parse(digest), _number(size, MAX_BLOB_BYTES)) for digest, size in document["packs"]]
            frames = [_frame(row, packs) for row in document["frames"]]
            definitions = [_definition(row, frames) for row in document["objects"]]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise UntrustedError(f"{what} cannot be read: {error}") from None
        return cls({d.ref: d for d in definitions}, dict(packs))


def _row(piece: Piece, numbers: Mapping[Frame, int]) -> list[int]:
    return [piece.offset, piece.length, -1 if piece.frame is None else numbers[piece.frame], piece.start]


def _number(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{value!r} is not a number from 0 to {limit}")
    return value


def _frame(row: list[Any], packs: list[tuple[Digest, int]]) -> Frame:
    number, offset, stored, size, delta = row
    pack, pack_size = packs[_number(number, len(packs) - 1)]
    frame = Frame(pack, _number(offset, pack_size), _number(stored, pack_size), _number(size, MAX_FRAME_BYTES), bool(delta))
    _number(frame.offset + frame.stored, pack_size)
    return frame


def _definition(row: list[Any], frames: list[Frame]) -> Definition:
    ref, size, sha256, base, version, rows = row
    for text in (ref, base if base is not None else ref):
        if not isinstance(text, str) or not OBJECT_ID.fullmatch(text):
            raise ValueError(f"{str(text)[:100]!r} is not an object id")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"{str(sha256)[:100]!r} is not a sha256")
    _number(size, MAX_OBJECT_BYTES)
    pieces = []
    end = 0
    for offset, length, number, start in rows:
        if not end <= _number(offset, size) or _number(length, size - offset) == 0:
            raise ValueError(f"the pieces of {ref} overlap, or are not in it")
        end = offset + length
        frame = None if number == -1 else frames[_number(number, len(frames) - 1)]
        if frame is not None:
            _number(_number(start, frame.size) + length, frame.size)
            if frame.delta and base is None:
                raise ValueError(f"{ref} has no base, but a frame that needs one")
        pieces.append(Piece(offset, length, frame, start))
    return Definition(ref, size, sha256, base, _number(version, 1 << 32), tuple(pieces))


def closure(definitions: Mapping[str, Definition], refs: Iterable[str], *, what: str) -> dict[str, Definition]:
    """Return the definitions of objects and of all their bases. UntrustedError if one is missing or a chain exceeds MAX_CHAIN."""
    needed: dict[str, Definition] = {}
    for ref in refs:
        current: str | None = ref
        seen: list[str] = []
        while current is not None:
            if current not in definitions:
                raise UntrustedError(f"{what} does not say where object {current} is")
            seen.append(current)
            if len(seen) > MAX_CHAIN:
                raise UntrustedError(f"{what} defines object {ref} by a chain of more than {MAX_CHAIN} bases")
            needed[current] = definitions[current]
            current = definitions[current].base
    return needed


def chain(definitions: Mapping[str, Definition], ref: str) -> list[Definition]:
    """Return the definition of an object, then that of its base, and so on to the one without a base. All must be known."""
    found = [definitions[ref]]
    while (base := found[-1].base) is not None:
        found.append(definitions[base])
    return found
