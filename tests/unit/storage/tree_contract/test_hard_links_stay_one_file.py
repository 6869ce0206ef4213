"""Hard links stay one file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.places import Place, check, files, needs_root, survives
from tests.support.trees import (
    describe,
    inodes,
)

pytestmark = needs_root


def linked(root: Path) -> None:
    """Make a group of three names and a lone file."""
    (root / "a").write_bytes(b"shared" * 1000)
    (root / "d").mkdir()
    os.link(root / "a", root / "b")
    os.link(root / "a", root / "d/c")
    (root / "lone").write_bytes(b"alone" * 1000)


def test_hard_links_stay_one_file(place: Place) -> None:
    survives(place, linked, lambda root: (root / "b").write_bytes(b"changed through any name"))


def test_a_changed_group_of_links_is_patched_in_place(place: Place) -> None:
    tree = place.tree()
    linked(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    before = inodes(tree)
    (tree / "b").write_bytes(b"changed through any name")
    bench.restore(commit)
    assert inodes(tree) == before


@pytest.mark.parametrize("name", ["a", "b", "d/c"])
def test_a_link_broken_apart_is_joined_again(place: Place, name: str) -> None:
    def damage(root: Path) -> None:
        (root / name).unlink()
        (root / name).write_bytes(b"shared" * 1000)

    survives(place, linked, damage)


@pytest.mark.parametrize("name", ["a", "b", "d/c"])
def test_a_name_that_was_removed_comes_back_as_a_link(place: Place, name: str) -> None:
    survives(place, linked, lambda root: (root / name).unlink())


def test_a_name_that_was_added_goes(place: Place) -> None:
    def damage(root: Path) -> None:
        os.link(root / "a", root / "0 first in order")
        os.link(root / "lone", root / "z")

    survives(place, linked, damage)


def test_links_joined_differently_are_sorted_out(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "b").unlink()
        os.link(root / "lone", root / "b")

    survives(place, linked, damage)


def test_two_groups_that_swapped_names_are_sorted_out(place: Place) -> None:
    def build(root: Path) -> None:
        linked(root)
        os.link(root / "lone", root / "lone 2")

    def damage(root: Path) -> None:
        (root / "a").rename(root / "t")
        (root / "lone").rename(root / "a")
        (root / "t").rename(root / "lone")

    survives(place, build, damage)


def test_files_that_were_linked_together_come_apart(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "two").unlink()
        os.link(root / "one", root / "two")

    survives(place, files(one=b"1" * 5000, two=b"2" * 5000), damage)


def test_a_group_moved_below_another_directory_comes_back(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "A").mkdir()
        for name in ("a", "b", "d/c"):
            (root / name).rename(root / "A" / Path(name).name)

    survives(place, linked, damage)


def test_restore_never_writes_through_a_link_to_outside_the_tree(place: Place) -> None:
    tree, outside = place.tree(), place.tree("outside")
    (tree / "file").write_bytes(b"committed" * 1000)
    bench = place.bench(data=tree)
    commit = bench.commit()
    wanted = describe(tree)
    (tree / "file").write_bytes(b"changed" * 1000)
    os.link(tree / "file", outside / "backup")
    bench.restore(commit)
    check(wanted, tree)
    assert (outside / "backup").read_bytes() == b"changed" * 1000


def test_a_file_committed_with_a_link_to_outside_comes_back_without_touching_the_outside(place: Place) -> None:
    tree, outside = place.tree(), place.tree("outside")
    (tree / "file").write_bytes(b"committed" * 1000)
    os.link(tree / "file", outside / "backup")
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").write_bytes(b"changed" * 1000)
    bench.restore(commit)
    assert (tree / "file").read_bytes() == b"committed" * 1000
    assert (outside / "backup").read_bytes() == b"changed" * 1000
    bench.restore(commit)
    assert bench.differing(commit) == []
