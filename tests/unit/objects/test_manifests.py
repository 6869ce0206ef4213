"""The file of a manifest gives back its text, or is known to be damaged."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_compose.core.tree import FILE, Manifest, TreeEntry
from dm_compose.errors import DamagedError
from dm_compose.objects.manifests import compressed, compressed_entries, is_whole, text_of

ROOT = TreeEntry("", "d", 0o755, 0, 0, 1, 0, "", ())
MANIFEST = Manifest.of([ROOT, *(ROOT._replace(path=f"file-{n}", kind=FILE, size=n, ref=f"{n:032x}/{n:x}") for n in range(200))])
TEXT = MANIFEST.encode()
PACKED = compressed(TEXT)
OF_ENTRIES = [*compressed_entries(MANIFEST.entries.values())]
GZIP_HEADER = 10  # bytes; its time and system say nothing of the text


@given(st.lists(st.tuples(st.text(max_size=9), st.integers(0, 9)), max_size=9))
def test_entries_are_written_as_their_manifest_is_encoded(paths: list[tuple[str, int]]) -> None:
    manifest = Manifest.of([ROOT, *(ROOT._replace(path=path, kind=FILE, size=size) for path, size in paths if path)])
    packed = b"".join(compressed_entries(manifest.entries.values()))
    assert text_of(packed, name="m") == manifest.encode()
    assert Manifest.decode(manifest.encode(), name="m") == manifest


def test_many_entries_are_written_as_their_manifest_is_encoded() -> None:
    many = [ROOT, *(ROOT._replace(path=f"file-{number}", kind=FILE) for number in range(10_000))]
    assert text_of(b"".join(compressed_entries(many)), name="m") == Manifest.of(many).encode()


def test_a_manifest_of_an_older_store_is_its_text() -> None:
    assert text_of(TEXT, name="m") == TEXT
    assert is_whole(io.BytesIO(TEXT))


def test_a_manifest_takes_a_fraction_of_its_text() -> None:
    assert is_whole(io.BytesIO(PACKED))
    assert Manifest.decode(text_of(PACKED, name="m"), name="m") == MANIFEST
    assert len(PACKED) < len(TEXT) / 4


@pytest.mark.parametrize("how", ["text", "packed", "entries"])
def test_a_manifest_that_is_damaged_anywhere_is_refused(how: str) -> None:
    good = {"text": TEXT, "packed": PACKED, "entries": b"".join(OF_ENTRIES)}[how]
    header = {*range(GZIP_HEADER)} if how != "text" else {*range(40)}  # a text may have no checksum
    if how == "entries":
        header |= {len(OF_ENTRIES[0]) + at for at in range(GZIP_HEADER)}
    for at in range(0, len(good), 7):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x5A]) + good[at + 1 :]):
            if at in header and len(bad) == len(good):
                continue
            assert not is_whole(io.BytesIO(bad)), at
            with pytest.raises(DamagedError, match="manifest m cannot be read"):
                Manifest.decode(text_of(bad, name="m"), name="m")
