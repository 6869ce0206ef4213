"""Messages on a pipe: what is whole is read, and nothing that is not is taken for a message."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_compose.store.helper.frames import MAX_FRAME_BYTES, read_frame, write_frame

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
MESSAGES = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=3), max_size=4)


class Dribble(io.RawIOBase):
    """A stream that gives one byte at a time, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.source = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.source.read(min(size, 1))


def framed(*messages: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    for message in messages:
        write_frame(stream, message)
    return stream.getvalue()


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=4))
def test_messages_are_read_as_they_were_written_and_then_comes_the_end(messages: list[dict[str, Any]]) -> None:
    for stream in (io.BytesIO(framed(*messages)), Dribble(framed(*messages))):
        for message in messages:
            assert read_frame(stream) == message  # type: ignore[arg-type]
        assert read_frame(stream) is None  # type: ignore[arg-type]
        assert read_frame(stream) is None  # type: ignore[arg-type]


def test_a_message_cut_off_anywhere_is_the_end_and_not_a_message() -> None:
    whole = framed({"call": 1, "result": "text"})
    for length in range(len(whole)):
        assert read_frame(io.BytesIO(whole[:length])) is None


def test_a_second_message_cut_off_anywhere_does_not_hurt_the_first() -> None:
    first, second = framed({"n": 1}), framed({"n": 2})
    for length in range(len(second)):
        stream = io.BytesIO(first + second[:length])
        assert read_frame(stream) == {"n": 1}
        assert read_frame(stream) is None


@pytest.mark.parametrize("data", [b"", b"{", b"not json", b"\xff\xfe", b"[1]", b"5", b'"text"', b"null", b"{} {}", b'{"a":1,}'])
def test_what_is_no_object_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_frame(io.BytesIO(len(data).to_bytes(4, "big") + data))


@pytest.mark.parametrize(
    "size", [MAX_FRAME_BYTES + 1, 0xFFFFFFFF, int.from_bytes(b"dock", "big"), int.from_bytes(b"Trac", "big")]
)
def test_a_huge_length_is_refused_before_anything_is_read(size: int) -> None:
    stream = io.BytesIO(size.to_bytes(4, "big") + b"x" * 1000)
    with pytest.raises(ValueError, match=str(size)):
        read_frame(stream)
    assert stream.tell() == 4


def test_a_long_message_is_read_whole() -> None:
    message = {"text": "x" * 5_000_000}
    assert read_frame(io.BytesIO(framed(message))) == message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_do_worse_than_a_value_error(data: bytes) -> None:
    try:
        message = read_frame(io.BytesIO(data))
    except ValueError:
        return
    assert message is None or isinstance(message, dict)


def test_a_frame_is_a_length_of_four_bytes_and_json() -> None:
    data = framed({"a": "\udcff ä"})
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert json.loads(data[4:].decode("ascii")) == {"a": "\udcff ä"}


BYTES = st.lists(st.binary(max_size=50), min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(MESSAGES, BYTES), max_size=3))
def test_bytes_come_with_their_message_as_they_are(messages: list[tuple[dict[str, Any], list[bytes]]]) -> None:
    sent = [{**message, "attached": attached} for message, attached in messages]
    for stream in (io.BytesIO(framed(*sent)), Dribble(framed(*sent))):
        assert [read_frame(stream) for _ in sent] == sent  # type: ignore[arg-type]
        assert read_frame(stream) is None  # type: ignore[arg-type]


def test_a_message_whose_bytes_are_cut_off_is_not_a_message() -> None:
    whole = framed({"call": 1, "attached": [b"some", b"", b"bytes"]})
    for length in range(len(whole)):
        assert read_frame(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize("lengths", [5, [None], [-1], ["1"], [True], [MAX_FRAME_BYTES, 1], {"a": 1}])
def test_lengths_that_cannot_be_are_a_value_error(lengths: object) -> None:
    data = json.dumps({"attached": lengths}).encode()
    with pytest.raises(ValueError, match=r"."):
        read_frame(io.BytesIO(len(data).to_bytes(4, "big") + data + b"x" * 100))
