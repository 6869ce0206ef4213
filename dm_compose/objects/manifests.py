"""A manifest as it lies in the store: its text, compressed as a gzip file (RFC 1952). An older one is the text itself."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from dm_compose.core.tree import Manifest, TreeEntry, encoded_entries, encoded_head
from dm_compose.errors import DamagedError

_LEVEL = 1  # makes 11 kB of the 98 kB of a new PostgreSQL's files; level 6 makes 9 kB in twice the time
_MAGIC = b"\x1f\x8b"


def compressed(text: bytes) -> bytes:
    """Return the file of a manifest with this text."""
    return gzip.compress(text, _LEVEL, mtime=0)


def compressed_entries(entries: Iterable[TreeEntry]) -> Iterator[bytes]:
    """Yield the file of a manifest with these entries, which are in walk order, in parts. The same entries give the same file.

    The head has a checksum of all that follows, so it is a gzip member of its own. The memory holds the compressed text only.
    """
    packer = zlib.compressobj(_LEVEL, wbits=zlib.MAX_WBITS | 16)  # 16: as gzip; zlib writes no time into it
    body, crc = [], 0
    for part in encoded_entries(entries):
        body.append(packer.compress(part))
        crc = zlib.crc32(part, crc)
    yield compressed(encoded_head(crc))
    yield from body
    yield packer.compress(b"}") + packer.flush()


def text_of(data: bytes, *, name: str) -> bytes:
    """Return the text of a manifest, from the contents of its file. DamagedError, which names the manifest, for torn ones."""
    if not data.startswith(_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedError(f"manifest {name} cannot be read: {error}") from None


def is_whole(file: IO[bytes]) -> bool:
    """Return whether an open file is a manifest whose checksum is right. False also for one without a checksum."""
    begin = file.read(len(_MAGIC))
    file.seek(0)
    if begin != _MAGIC:
        return Manifest.is_whole(file)
    try:
        with gzip.open(file) as text:
            return Manifest.is_whole(text)
    except (OSError, EOFError, zlib.error):
        return False
