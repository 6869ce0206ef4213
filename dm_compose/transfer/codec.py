"""zstd frames: plain ones, and ones that were compressed against what they replace.

Levels and sizes were chosen on data directories of seeded databases, see docs/format.md.
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
    zstd.CompressionParameter.hash_log: 15,  # tables that stay in the processor's cache
    zstd.CompressionParameter.chain_log: 15,
}
DELTA_LEVEL = 3
FRAME_BYTES = 1 << 20
DELTA_FRAME_BYTES = 128 << 10
MAX_FRAME_BYTES = 16 << 20  # of other writers
MAX_WINDOW_LOG = 25  # 32 MiB: a frame and its prefix
_MIN_PREFIX = 8  # zstd takes a shorter one for none


def compress(data: bytes) -> bytes:
    """Return a plain frame."""
    return zstd.compress(data, options=PLAIN)


def compress_against(data: bytes, prefix: bytes) -> bytes:
    """Return a frame that only somebody with the same prefix can read."""
    if len(prefix) < _MIN_PREFIX:
        return zstd.compress(data, DELTA_LEVEL)
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: DELTA_LEVEL,
        zstd.CompressionParameter.window_log: max(10, (len(data) + len(prefix)).bit_length()),
    }
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix)
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes, size: int, *, prefix: bytes | None = None, what: str) -> bytes:
    """Return the `size` bytes of a frame, at most MAX_FRAME_BYTES; UntrustedError when it holds anything else.

    Never makes more than `size` bytes and one, whatever the frame says.
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
    """Return what a frame of unknown size holds; UntrustedError above `limit` bytes."""
    try:
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
        data = decompressor.decompress(frame, limit + 1)
    except (zstd.ZstdError, EOFError) as error:
        raise UntrustedError(f"{what} cannot be read: {error}") from None
    if len(data) > limit or not decompressor.eof or decompressor.unused_data:
        raise UntrustedError(f"{what} holds more than {limit} bytes, or is not one whole frame")
    return data


def compress_document(data: bytes) -> bytes:
    """Return a document as one frame."""
    return zstd.compress(data, 9)
