"""`gc` frees nothing while a manifest cannot be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from dm_compose.errors import DamagedError
from tests.support.keeping import DAMAGES, Kept, soon
from tests.support.stores import DATA, DOT


@pytest.mark.parametrize("harm", DAMAGES)
def test_while_a_manifest_cannot_be_read_nothing_is_freed(own: Kept, harm: Callable[[Path], None]) -> None:
    own.write("one", b"hidden")
    hidden = own.aside()
    own.write("one", b"head")
    head = own.store.commit(DOT, own.commit())
    manifest = own.home / "store/objects" / head.subdots[DATA].manifest
    good = manifest.read_bytes()
    harm(manifest)
    before = own.files()
    for found in (own.store.garbage(soon()), own.store.collect(soon())):
        assert (found.objects, found.size_bytes) == (0, 0)
    assert own.files() == before
    if manifest.is_dir():
        manifest.rmdir()
    manifest.write_bytes(good)
    assert own.collect().objects > 0
    assert hidden not in own.commits()
    assert set(own.files()) == own.needed()


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_damaged_manifest_of_garbage_stops_nothing(own: Kept, harm: Callable[[Path], None]) -> None:
    own.write("one", b"hidden")
    hidden = own.store.commit(DOT, own.aside())
    harm(own.home / "store/objects" / hidden.subdots[DATA].manifest)
    own.store.collect(soon())
    left = set(own.files())
    assert left == own.needed()


def test_no_single_changed_byte_of_a_manifest_is_believed(own: Kept) -> None:
    """It would restore something else, or let gc free what is needed."""
    manifest = own.home / "store/objects" / own.store.commit(DOT, own.bench.head).subdots[DATA].manifest
    good = manifest.read_bytes()
    objects = own.bench.local._objects
    ref = f"{manifest.parent.name}/{manifest.name}"
    wanted = objects.read_manifest(ref)
    for position, mask in itertools.product(range(len(good)), (1, 2, 4, 8, 16, 64)):
        data = bytearray(good)
        data[position] ^= mask
        manifest.write_bytes(data)
        try:
            assert objects.read_manifest(ref) == wanted, (position, bytes(data))
        except DamagedError:
            continue
