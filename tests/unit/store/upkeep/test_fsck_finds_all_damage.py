"""`fsck` finds all damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE
from tests.support.keeping import DAMAGES, Kept, Shelf, lose, replace_by_a_directory
from tests.support.stores import DOT
from tests.support.trees import describe, differences


def test_a_sound_store_is_sound_and_the_first_look_records_digests(kept: Kept) -> None:
    first = kept.store.check({}, repair=False)
    assert (first.sound, first.damage, first.commits) == (True, (), 1)
    assert first.objects == first.first_seen == len(kept.needed()) == 4
    assert first.size_bytes == 20_000
    second = kept.store.check({}, repair=True)
    assert second == replace(first, first_seen=0)
    kept.write("one", b"new")
    kept.commit()
    assert kept.store.check({}, repair=False).first_seen == 2


def test_hidden_commits_are_checked_too(kept: Kept) -> None:
    kept.write("one", b"hidden")
    hidden = kept.aside()
    (kept.home / "store/objects" / hidden / "1").write_bytes(b"HIDDEN")
    lose(kept.home / "store/objects" / hidden / "data.manifest")
    found = kept.store.check({}, repair=False)
    assert [d.commits for d in found.damage] == [(hidden,)]


def others(shelf: Shelf, name: str, good: dict[str, bytes]) -> bool:
    """Whether the contents of an object or manifest are anywhere else: in a live file that it is known to be, or a twin."""
    if any(data == good[name] for other, data in good.items() if other != name):
        return True
    local = shelf.kept.bench.local
    return any(
        found.entry.ref == name and Path(directory, path).read_bytes() == good[name]
        for subdot, directory in shelf.kept.bench.directories.items()
        for path, found in local._indexes.load((DOT, MAIN_WORKTREE, subdot)).items()
    )


@pytest.mark.parametrize("harm", DAMAGES)
def test_damage_to_any_one_thing_is_found_named_and_repaired_where_its_contents_are_known(
    shelf: Shelf, harm: Callable[[Path], None]
) -> None:
    kept = shelf.kept
    assert shelf.check().sound
    good = kept.files()
    outcomes = set()
    for name, data in good.items():
        path = shelf.root / name
        harm(path)
        harmed = kept.wrong()
        assert harmed
        before = describe(shelf.root)
        found = shelf.check()
        assert [(d.where, set(d.commits), d.repaired) for d in found.damage] == [(name, harmed, False)], harm
        assert found.damage[0].what
        assert not found.sound
        assert differences(before, describe(shelf.root)) == [], "without `repair` nothing is touched"
        expected = others(shelf, name, good) and not path.is_dir()
        (mended,) = shelf.check(repair=True).damage
        assert (mended.where, set(mended.commits), mended.repaired) == (name, harmed, expected), (name, harm)
        outcomes.add((name.endswith("manifest"), expected))
        now = kept.files()
        assert {k: v for k, v in now.items() if k != name} == {k: v for k, v in good.items() if k != name}
        if expected:
            assert now[name] == data
            assert kept.wrong() == set()
            assert shelf.check(repair=True).damage == ()
        else:
            if path.is_dir():
                path.rmdir()
            path.write_bytes(data)
        assert list((kept.home / "store/incoming").iterdir()) == []
    assert outcomes == (
        {(True, True), (True, False), (False, True), (False, False)}
        if harm is not replace_by_a_directory
        else {(True, False), (False, False)}
    )
