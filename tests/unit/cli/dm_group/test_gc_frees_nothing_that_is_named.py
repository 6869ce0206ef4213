"""`dm gc` frees nothing that is named."""

from __future__ import annotations

import re

from tests.support.commands import (
    NOT_FOUND,
    USAGE,
)
from tests.support.machines import Machine


def _lose(used: Machine) -> None:
    """Have what the second commit and the uncommitted state hold named by nothing but the reflog."""
    used("reset", "--hard", "HEAD^")


def test_gc_frees_nothing_that_can_be_reached(used: Machine) -> None:
    before = used.objects()
    assert used("gc", "--yes").lines[-1] == "0 commits, 0 objects and 0 leftovers can go: 0 B"
    assert used("gc", "--yes", "--keep-days", "0", "--json").json()["freed"] is None
    assert used.objects() == before
    assert used("fsck").code == 0
    used("reset", "--hard", "HEAD^")
    used("undo")
    assert used.read("a", "file") == "uncommitted"


def test_gc_keeps_what_the_reflog_names_for_the_days_that_were_asked_for(used: Machine) -> None:
    _lose(used)
    for days in ("30", "1", "99999", "9999999999999999999"):
        assert used("gc", "--yes", "--keep-days", days, "--json").json()["found"]["commits"] == []
    used("undo")
    assert used.read("a", "file") == "uncommitted"
    assert "Use 0 or more" in used("gc", "--keep-days", "-1", code=USAGE).err
    assert "soon" in used("gc", "--keep-days", "soon", code=USAGE).err


def test_gc_says_first_what_it_would_free_and_then_frees_it(used: Machine) -> None:
    _lose(used)
    before = used.objects()
    dry = used("gc", "--keep-days", "0", "--dry-run")
    assert re.fullmatch(r"2 commits, \d+ objects and 0 leftovers can go: [\d.]+ kiB", dry.lines[-1])
    for answer in ("n\n", "", "\n"):
        ended = used("gc", "--keep-days", "0", answer=answer)
        assert ended.out == dry.out + "nothing was freed\n"
        assert "Free them?" in ended.err
        assert used("gc", "--keep-days", "0", "--json", answer=answer).json()["freed"] is None
    assert used("gc", "--keep-days", "0", "--dry-run", "--yes", "--json").json()["freed"] is None
    assert used.objects() == before
    ended = used("gc", "--keep-days", "0", answer="y\n")
    assert re.fullmatch(re.escape(dry.out) + r"freed [\d.]+ kiB\n", ended.out)
    assert 0 < len(used.objects()) < len(before)
    assert used("fsck").code == 0
    assert used.read("a", "file") == "one"
    assert "nothing to undo" in used("undo", code=NOT_FOUND).err
    assert used("log", "v1", "--json").json()[0]["message"] == "one"


def test_gc_keeps_what_is_uncommitted_on_every_branch(used: Machine) -> None:
    used("checkout", "other")
    used.write("a", "file", "uncommitted on other")
    used("checkout", "-b", "third", "v1")
    used.write("a", "file", "uncommitted on third")
    used("checkout", "master")
    used("worktree", "remove", "--force", "third")
    used("gc", "--yes", "--keep-days", "0")
    for branch in ("other", "third"):
        used("checkout", branch)
        assert used.read("a", "file") == f"uncommitted on {branch}"
    assert used("fsck").code == 0


def test_gc_removes_what_killed_commands_left(used: Machine) -> None:
    incoming, trees = used.home / "incoming", used.home / "trees"
    (incoming / "tree.a.nope").mkdir()
    (incoming / "repair.x").write_text("a killed fsck")
    (trees / "a" / "unregistered").mkdir()
    (trees / "a" / ".half-made-link").symlink_to("nowhere")
    (trees / "deleted" / "main").mkdir(parents=True)
    (trees / "stray").write_text("")
    assert used("gc", "--dry-run", "--json").json()["found"]["leftovers"] == 6
    used("gc", "--yes")
    assert list(incoming.iterdir()) == []
    assert sorted(path.name for path in trees.iterdir()) == ["a"]
    assert sorted(path.name for path in (trees / "a").iterdir()) == [".current", "main"]
    assert used.read("a", "file") == "uncommitted"
