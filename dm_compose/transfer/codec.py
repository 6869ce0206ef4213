"""zstd frames: plain ones, and delta frames, which are compressed against the bytes that they replace.

Levels and sizes were chosen by measuring data directories of seeded databases; see docs/format.md.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dm_compose.errors import UntrustedError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

PLAIN: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.hash_log: 15,  # small tables stay in the processor's cache
    zstd.CompressionParameter.chain_log: 15,
}
DELTA_LEVEL = 3
FRAME_BYTES = 1 << 20
DELTA_FRAME_BYTES = 128 << 10
MAX_FRAME_BYTES = 16 << 20  # other writers may make larger frames than ours
MAX_WINDOW_LOG = 25  # 32 MiB: a frame and its prefix
_MIN_PREFIX = 8  # zstd ignores a shorter prefix


def compress(data: bytes) -> bytes:
    """Return data as one plain frame."""
    return zstd.compress(data, options=PLAIN)


def compress_against(data: bytes, prefix: bytes) -> bytes:
    """Return data as one delta frame. It can be decompressed only with the same prefix. A prefix under 8 bytes is not used."""
    if len(prefix) < _MIN_PREFIX:
        return zstd.compress(data, DELTA_LEVEL)
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: DELTA_LEVEL,
        zstd.CompressionParameter.window_log: max(10, (len(data) + len(prefix)).bit_length()),
    }
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix)
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes, size: int, *, prefix: bytes | None = None, what: str) -> bytes:
    """Return the `size` bytes that a frame holds. UntrustedError if it holds more or less, or if `size` is above MAX_FRAME_BYTES.

    Makes at most `size` + 1 bytes, whatever the frame announces. Messages name the frame's owner as `what`.
    """
    if not 0 <= size <= MAX_FRAME_BYTES:
        raise UntrustedError(f"{what} has a frame of {size} bytes; up to {MAX_FRAME_BYTES} are accepted")
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
    dictionary = None
    if prefix is not None and len(prefix) >= _MIN_PREFIX:
        dictionary = zstd.ZstdDict(prefix, is_raw=True).as_prefix
    try:
        decompressor = zstd.ZstdDecompressor(zstd_dict=dictionary, options=options)
        data = decompressor.decompress(frame, size + 1)
        whole = decompressor.eof and not decompressor.unused_data
    except (zstd.ZstdError, EOFError) as error:
        raise UntrustedError(f"{what} has a frame that cannot be read: {error}") from None
    if len(data) != size or not whole:
        raise UntrustedError(f"{what} has a frame that does not hold the {size} bytes it should")
    return data


def decompress_document(frame: bytes, limit: int, *, what: str) -> bytes:
    """Return the document in a frame. UntrustedError if it has more than `limit` bytes, or is not one whole frame."""
    try:
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
        data = decompressor.decompress(frame, limit + 1)
    except (zstd.ZstdError, EOFError) as error:
        raise UntrustedError(f"{what} cannot be read: {error}") from None
    if len(data) > limit or not decompressor.eof or decompressor.unused_data:
        raise UntrustedError(f"{what} holds more than {limit} bytes, or is not one whole frame")
    return data


def compress_document(data: bytes) -> bytes:
    """Return a document as one frame, compressed more than contents of files are."""
    return zstd.compress(data, 9)
