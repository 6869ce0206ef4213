"""A store that is lost, full or somebody else's is told."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import (
    DAMAGED,
    DISK_FULL,
    STORE,
)
from tests.support.filesystems import Mount
from tests.support.machines import Machine


def test_two_stores_are_two_machines(tmp_path: Path) -> None:
    one, two = Machine(tmp_path / "one"), Machine(tmp_path / "two")
    for machine, content in ((one, "of one"), (two, "of two")):
        machine("init", "a")
        machine.write("a", "file", content)
        machine.commit("a", content)
    assert (one.read("a", "file"), two.read("a", "file")) == ("of one", "of two")
    one("dot", "delete", "-f", "a")
    assert one("list", "-H").out == ""
    assert two("log", "--json").json()[0]["message"] == "of two"


def test_a_store_in_a_relative_folder_is_found_from_where_one_stands(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    machine("mount", "--create", "a", "here", DM_HOME="./mine")
    monkeypatch.chdir("/")
    (tmp_path / "here" / "file").write_text("x")
    assert (tmp_path / "mine" / "trees" / "a" / "main" / "__default__" / "file").read_text() == "x"


def test_a_store_that_is_no_folder_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "store"):
        ended = Machine(tmp_path, {"DM_HOME": str(home)})("list", code=STORE)
        assert ended.err.startswith("error: opening the store at ")


def test_a_lost_database_is_told_and_nothing_is_begun_anew(used: Machine) -> None:
    for file in used.home.glob("state.db*"):
        file.unlink()
    assert "lost its database" in used("list", code=DAMAGED).err
    assert not list(used.home.glob("state.db*"))


def as_nobody(work: Callable[[], int]) -> int:
    """Return what `work` returns in a process without root's permissions."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os._exit(work())
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("mode", [0o000, 0o555, 0o755])
def test_a_store_that_is_somebody_elses_is_an_error_of_the_store(used: Machine, mode: int) -> None:
    """Imports have happened by now: the interpreter itself may be root's alone."""
    used.root.chmod(0o755)
    used.home.chmod(mode)
    for words in (
        ["list"],
        ["init", "b"],
        ["commit", "-m", "c"],
        ["gc", "--yes"],
        ["checkout", "other"],
        ["dot", "delete", "-f", "a"],
    ):
        assert as_nobody(lambda: used(*words, code=None).code) == STORE, words  # noqa: B023 (used before the next round)
    used.home.chmod(0o700)
    assert used("fsck").code == 0
    assert used.read("a", "file") == "uncommitted"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_everything_works_for_somebody_who_is_not_root(fast_path: Path) -> None:
    fast_path.chmod(0o777)
    machine = Machine(fast_path)

    def work() -> int:
        machine("mount", "--create", "a", str(fast_path / "here"))
        (fast_path / "here" / "file").write_text("one")
        machine("commit", "-m", "one")
        machine("checkout", "-b", "other")
        (fast_path / "here" / "file").write_text("two")
        machine("checkout", "master")
        machine("mount", "--commit", "HEAD", "a", str(fast_path / "commit"))
        try:
            (fast_path / "commit" / "file").write_text("changed")
        except PermissionError:
            return machine("fsck").code
        return 1

    assert as_nobody(work) == 0


def test_a_full_disk_is_told_and_what_was_there_stays(small: Mount) -> None:
    machine = Machine(Path(small.path))
    machine("init", "a")
    machine.write("a", "file", "one")
    machine.commit("a", "one")
    free = os.statvfs(small.path)
    machine.write("a", "large", "x" * (free.f_bavail * free.f_frsize * 2 // 3))
    for words in (("commit", "-m", "two"), ("reset", "--hard", "HEAD"), ("checkout", "-b", "other", "--json")):
        assert machine(*words, code=None).code in (0, DISK_FULL)
    assert "no space left" in machine("--branch", "master", "commit", "-m", "two", code=DISK_FULL).err
    assert machine("fsck").code == 0
    machine("checkout", "master")
    assert machine.read("a", "file") == "one"
    machine.tree("a", "__default__", "large").unlink()
    machine.commit("a", "two")
