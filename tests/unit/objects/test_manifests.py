"""The file of a manifest gives back its text, or is known to be damaged."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_compose.core.tree import FILE, Manifest, TreeEntry
from dm_compose.errors import DamagedError
from dm_compose.objects.manifests import compressed, is_whole, text_of

ROOT = TreeEntry("", "d", 0o755, 0, 0, 1, 0, "", ())
MANIFEST = Manifest.of([ROOT, *(ROOT._replace(path=f"file-{n}", kind=FILE, size=n, ref=f"{n:032x}/{n:x}") for n in range(200))])
TEXT = MANIFEST.encode()
PACKED = b"".join(compressed([TEXT]))


@given(st.lists(st.binary(max_size=200)))
def test_a_text_comes_back_however_it_was_cut(parts: list[bytes]) -> None:
    packed = b"".join(compressed(parts))
    assert text_of(packed, name="m") == b"".join(parts)
    assert packed == b"".join(compressed([b"".join(parts)]))


def test_a_manifest_of_an_older_store_is_its_text() -> None:
    assert text_of(TEXT, name="m") == TEXT
    assert is_whole(io.BytesIO(TEXT))


def test_a_manifest_takes_a_fraction_of_its_text() -> None:
    assert is_whole(io.BytesIO(PACKED))
    assert Manifest.decode(text_of(PACKED, name="m"), name="m") == MANIFEST
    assert len(PACKED) < len(TEXT) / 4


@pytest.mark.parametrize("packed", [False, True], ids=["text", "packed"])
def test_a_manifest_that_is_damaged_anywhere_is_refused(packed: bool) -> None:
    good = PACKED if packed else TEXT
    header = range(10) if packed else range(40)  # gzip's time and system say nothing of the text; a text may have no checksum
    for at in range(0, len(good), 7):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x5A]) + good[at + 1 :]):
            if at in header and len(bad) == len(good):
                continue
            assert not is_whole(io.BytesIO(bad)), at
            with pytest.raises(DamagedError, match="manifest m cannot be read"):
                Manifest.decode(text_of(bad, name="m"), name="m")
