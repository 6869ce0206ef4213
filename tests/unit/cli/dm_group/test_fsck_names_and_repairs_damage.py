"""`dm fsck` names damage and repairs it where it can."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

from tests.support.commands import (
    DAMAGED,
)
from tests.support.machines import Machine, overwrite


def _of_size(machine: Machine, size: int) -> Path:
    (found,) = [path for path in machine.objects() if path.stat().st_size == size]
    return found


def test_fsck_finds_a_sound_store_sound(used: Machine) -> None:
    assert re.fullmatch(
        r"no damage: 2 commits, \d+ objects, [\d.]+ kiB of files \(shared blocks each time, and zeros\)\n"
        r"the checksums of [1-9]\d* objects were noted now, and the next fsck compares with them\n",
        used("fsck").out,
    )
    (line,) = used("fsck").lines
    assert line.startswith("no damage: 2 commits, ")
    found = used("fsck", "--json").json()
    assert (found["sound"], found["checkup"]["damage"]) == (True, [])


def test_fsck_says_what_is_damaged_and_whose_it_is(used: Machine) -> None:
    used("fsck")
    overwrite(_of_size(used, 3000))
    head = used("log", "--json").json()[0]["id"]
    for words in (("fsck",), ("fsck", "--no-repair")):
        ended = used(*words, code=DAMAGED)
        assert re.search(rf"damaged: \w+/\w+: has changed since it was written \(commits {head[:12]}\)", ended.out)
        assert ended.err.startswith("error: 1 thing in the store is damaged\n")
    found = used("fsck", "--json", code=DAMAGED).json()
    assert found["sound"] is False
    assert [d["commits"] for d in found["checkup"]["damage"]] == [[head]]
    used("reset", "--hard", "v1")
    assert used.read("a", "file") == "one"


def test_a_shortened_or_missing_object_is_seen_at_the_first_look(used: Machine) -> None:
    path = _of_size(used, 3000)
    path.chmod(0o600)
    path.write_bytes(b"two")
    assert "damaged" in used("fsck", code=DAMAGED).out
    path.unlink()
    assert "missing" in used("fsck", code=DAMAGED).out


def test_fsck_repairs_an_object_from_a_live_file(used: Machine) -> None:
    used("reset", "--hard", "HEAD")
    used("fsck")
    path = _of_size(used, 3000)
    overwrite(path)
    assert "damaged" in used("fsck", "--no-repair", code=DAMAGED).out
    assert path.read_bytes() == b"x" * 3000
    assert "repaired: " in used("fsck").out
    assert path.read_bytes() == b"two" * 1000
    assert used("fsck", "--no-repair").code == 0


def test_fsck_repairs_an_object_from_another_branchs_files(used: Machine) -> None:
    used("reset", "--hard", "HEAD")
    used("fsck")
    used("checkout", "other")
    overwrite(_of_size(used, 3000))
    assert used("fsck", "--json").json()["sound"] is True
    used("checkout", "master")
    assert used.read("a", "file") == "two" * 1000


def test_a_damaged_commit_does_not_keep_the_others_from_being_used(used: Machine) -> None:
    used("fsck")
    overwrite(_of_size(used, 3000))
    used("checkout", "other")
    assert used.read("a", "file") == "one"
    used("commit", "-m", "goes on")
    used("gc", "--yes", "--keep-days", "0")
    assert used("fsck", code=DAMAGED).code == DAMAGED


def test_a_commit_whose_manifest_is_damaged_is_named_and_everything_else_goes_on(used: Machine) -> None:
    used("init", "b")
    head = used("log", "--json").json()[0]["id"]
    overwrite(used.home / "objects" / head / "__default__.manifest")
    ended = used("list", "-H")
    assert [row[0] for row in ended.fields()] == ["a", "b"]
    assert ended.fields()[0][6] == ended.fields()[0][4]
    assert "warning: dot a" in ended.err
    assert used("dot", "show", "a").lines[0] == "Dot admin/a:"
    for verb in ("status", "diff", "reset --hard HEAD"):
        assert head in used("--dot", "a", *verb.split(), code=DAMAGED).err
    assert f"damaged: {head}/__default__.manifest" in used("fsck", code=DAMAGED).out
    ended = used("gc", "--yes")
    assert "0 objects" in ended.out
    assert f"warning: no object can be freed, because manifest {head}/__default__.manifest" in ended.err
    assert used("debug", "Unfinished").json() == {"a": [], "b": []}
    assert used.read("a", "file") == "uncommitted"
    used("--dot", "a", "commit", "-m", "three")
    used("--dot", "a", "reset", "v1")
    used("--dot", "a", "undo")
    assert used.read("a", "file") == "uncommitted"
    assert used("list").err == ""


def test_a_dot_that_cannot_be_looked_at_hides_no_other_from_list(used: Machine) -> None:
    """A commit is gone from the database. `list` shows the other dots, and the reason, and says so by no exit code."""
    used("init", "b")
    head = used("log", "--json").json()[0]["id"]
    with contextlib.closing(sqlite3.connect(used.home / "state.db")) as database, database:
        database.execute("DELETE FROM commits WHERE id = ?", (head,))
    ended = used("list")
    assert ended.lines[0].split() == ["DOT", "BRANCH", "SIZE", "COMMITS", "DIRTY", "CONTAINERS"]
    rows = {line.removeprefix("*").split()[0]: line for line in ended.lines[1:]}
    assert rows["b"].endswith("-")
    assert rows["a"].split()[2:6] == ["master", "?", "?", "?"]
    assert head[:12] in ended.out
    assert "warning: dot a" in ended.err
    numbers = {row[0]: row[4:] for row in used("list", "-H").fields()}
    assert numbers == {"a": ["?", "?", "?"], "b": ["0", "0", "0"]}
    found = {row["dot"]: row for row in used("list", "--json").json()}
    assert (found["a"]["size_bytes"], found["b"]["problem"]) == (None, "")
    assert head[:12] in found["a"]["problem"]
    assert used("dot", "show", "b").lines[0] == "Dot admin/b:"
    assert head[:12] in used("dot", "show", "a", code=None).err
