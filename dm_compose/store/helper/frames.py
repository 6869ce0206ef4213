"""Messages between a client and the helper: the length in 4 bytes, big-endian, then the JSON, then attached bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

MAX_FRAME_BYTES = 1 << 30


def write_frame(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Send one message. It may have `attached`, a list of bytes: these follow the JSON, which holds their lengths.

    The caller keeps others from writing meanwhile.
    """
    attached = message.get("attached", ())
    head = {**message, "attached": [len(item) for item in attached]} if attached else message
    data = json.dumps(head, separators=(",", ":")).encode()
    stream.write(len(data).to_bytes(4, "big") + data)
    for item in attached:
        stream.write(item)
    stream.flush()


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """Return the next message, or None at the end of the stream. ValueError for anything that is no message."""
    head = _exactly(stream, 4)
    if head is None:
        return None
    data = _exactly(stream, _size(int.from_bytes(head, "big")))
    if data is None:
        return None
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("frame is not an object")
    if "attached" in message:
        lengths = message["attached"]
        if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
            raise ValueError("frame has no list of lengths")
        _size(sum(lengths))
        attached = [_exactly(stream, length) for length in lengths]
        if None in attached:
            return None
        message["attached"] = attached
    return message


def _size(size: int) -> int:
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {size} bytes")
    return size


def _exactly(stream: IO[bytes], count: int) -> bytes | None:
    data = stream.read(count) if count else b""
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            return None
        data += more
    return data
