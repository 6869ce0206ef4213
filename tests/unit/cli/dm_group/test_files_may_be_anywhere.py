"""Programs may replace subdots by anything, and the files of a dot may be outside the store."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE, DotName, SubdotName
from dm_compose.errors import EngineError
from dm_compose.store.local.store import LocalStore
from tests.support.commands import (
    EXISTS,
    NOT_FOUND,
    UNCOMMITTED,
)
from tests.support.machines import Machine

# What programs with the whole tree mounted may do to it


@pytest.mark.parametrize("instead", ["nothing", "file", "link", "dangling link", "fifo"])
def test_a_subdot_that_something_else_took_the_place_of_comes_back(dm: Machine, tmp_path: Path, instead: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("not the dot's")
    dm.write("a", "file", "in sub", "sub")
    one = dm.commit("a", "one")
    sub = dm.tree("a", "sub")
    (sub / "file").unlink()
    sub.rmdir()
    make = {"file": sub.touch, "link": lambda: sub.symlink_to(tmp_path / "outside"), "fifo": lambda: os.mkfifo(sub)}
    make |= {"dangling link": lambda: sub.symlink_to(tmp_path / "nowhere"), "nothing": lambda: None}
    make[instead]()
    assert "sub" in dm("reset", one, code=UNCOMMITTED).err
    dm("reset", "--hard", one)
    assert not sub.is_symlink()
    assert dm.read("a", "file", "sub") == "in sub"
    dm("undo")
    assert not sub.is_dir() or sub.is_symlink()
    two = dm.commit("a", "two")
    assert "sub" not in dm("log", "--json").json()[0]["subdots"]
    for ref in (one, two, one):
        dm("reset", ref)
        assert not dm.is_dirty()
        assert (dm.read("a", "file", "sub") == "in sub") == (ref == one)
    dm("checkout", "-b", "at-two", two)
    dm("checkout", "-b", "at-one", one)
    assert dm.read("a", "file", "sub") == "in sub"
    assert os.listdir(tmp_path / "outside") == ["precious"]
    assert (tmp_path / "outside" / "precious").read_text() == "not the dot's"


@pytest.mark.parametrize("instead", ["file", "link"])
def test_what_is_no_directory_is_not_mounted_as_a_subdot(dm: Machine, tmp_path: Path, instead: str) -> None:
    (tmp_path / "outside").mkdir()
    if instead == "link":
        dm.tree("a", "sub").symlink_to(tmp_path / "outside")
    else:
        dm.tree("a", "sub").touch()
    assert "sub" in dm("mount", "a.sub", str(tmp_path / "here"), code=EXISTS).err
    assert os.listdir(tmp_path) == ["outside"]


# Dots whose files are elsewhere: those of Compose projects. Directories stand for volumes, which only an engine knows.


@pytest.fixture
def elsewhere(machine: Machine, tmp_path: Path) -> Path:
    """The one dot `a`, whose subdots are directories of the host; return the one that they are in."""
    for name in ("data", "logs"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
        (tmp_path / "volumes" / name / "file").write_text(f"{name} one")
    store = LocalStore(machine.home)
    store.create_dot(DotName("a"))
    places = {SubdotName(path.name): str(path) for path in (tmp_path / "volumes").iterdir()}
    store.set_places(DotName("a"), MAIN_WORKTREE, places)
    store.close()
    machine.commit("a", "one")
    return tmp_path / "volumes"


def test_branches_change_the_files_where_they_are(machine: Machine, elsewhere: Path) -> None:
    data = elsewhere / "data" / "file"
    data.write_text("uncommitted on master")
    assert "are kept: checking it out brings them back" in machine("checkout", "-b", "other").out
    assert data.read_text() == "data one"
    assert not machine.is_dirty()
    data.write_text("two")
    machine.commit("a", "two")
    data.write_text("uncommitted on other")
    assert machine("branch").lines == ["  master  (uncommitted changes)", "* other"]
    for branch in ("master", "other", "master"):
        machine("checkout", branch)
        assert data.read_text() == f"uncommitted on {branch}"
        assert machine.is_dirty()
        assert "uncommitted changes in data" in machine("reset", "HEAD", code=UNCOMMITTED).err
    for branch in ("other", "master"):
        machine("undo")
        assert data.read_text() == f"uncommitted on {branch}"
    (held,) = (gone["held"] for gone in machine("branch", "-D", "other", "--json").json())
    machine("reset", "--hard", held)
    assert data.read_text() == "uncommitted on other"
    machine("undo")
    assert data.read_text() == "uncommitted on master"
    assert (elsewhere / "logs" / "file").read_text() == "logs one"


def test_subdots_that_are_elsewhere_are_mounted_and_deleted_with_their_dot_they_are_not(
    machine: Machine, elsewhere: Path, tmp_path: Path
) -> None:
    machine("mount", "a", str(tmp_path / "all"))
    machine("mount", "a.data", str(tmp_path / "data"))
    machine("mount", "--commit", "HEAD", "a", str(tmp_path / "commit"))
    assert (tmp_path / "all" / "logs" / "file").read_text() == "logs one"
    assert (tmp_path / "data" / "file").read_text() == "data one"
    assert (tmp_path / "commit" / "data" / "file").read_text() == "data one"
    assert "Its subdots: data, logs" in machine("mount", "a.nope", str(tmp_path / "x"), code=NOT_FOUND).err
    machine("dot", "delete", "-f", "a")
    assert (elsewhere / "data" / "file").read_text() == "data one"


def test_without_an_engine_a_dot_of_volumes_is_listed_and_what_needs_its_files_says_why_not(
    machine: Machine, elsewhere: Path, tmp_path: Path
) -> None:
    store = LocalStore(machine.home)
    store.set_places(DotName("a"), MAIN_WORKTREE, {SubdotName("data"): "a_volume"})
    store.close()
    assert machine("list", "-H").fields()[0][:2] == ["a", "master"]
    assert re.search(r"^data +- +\(does not exist\)$", machine("status").out, re.MULTILINE)
    assert machine.messages() == ["one"]
    machine("branch", "other")
    for words in (("commit", "-m", "c"), ("reset", "--hard", "HEAD"), ("checkout", "other"), ("mount", "a", str(tmp_path / "x"))):
        assert "volume a_volume, and no Docker Engine answers" in machine(*words, code=EngineError.exit_code).err
    assert not (tmp_path / "x").exists()
    machine("mount", "--commit", "HEAD", "a.data", str(tmp_path / "commit"))
    assert (tmp_path / "commit" / "file").read_text() == "data one"
