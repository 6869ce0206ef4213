"""Messages between a client and the helper: a length of 4 bytes, big-endian, and that much JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

MAX_FRAME_BYTES = 1 << 30


def write_frame(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Send one message. The caller keeps others from writing meanwhile."""
    data = json.dumps(message, separators=(",", ":")).encode()
    stream.write(len(data).to_bytes(4, "big") + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """Return the next message, None at the end of the stream; ValueError for anything that is not a message."""
    head = _exactly(stream, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {size} bytes")
    data = _exactly(stream, size)
    if data is None:
        return None
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("frame is not an object")
    return message


def _exactly(stream: IO[bytes], count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            return None
        data += more
    return data
