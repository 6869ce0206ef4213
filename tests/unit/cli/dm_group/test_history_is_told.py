"""`dm log`, `show` and `reflog` tell the history with the names of commits, and of each commit what it has changed."""

from __future__ import annotations

import os
import re
from datetime import datetime

import pytest

from tests.support.commands import NOT_FOUND
from tests.support.machines import Machine


@pytest.fixture
def forked(dm: Machine) -> dict[str, str]:
    """Two commits on master, two on a branch at the first, a tag there, and one on a branch of that branch; ids by message."""
    one, two = dm.chain("one", "two")
    dm("tag", "v1", one)
    dm("checkout", "-b", "exp", one)
    three, four = dm.chain("three", "four")
    dm("checkout", "-b", "deep", three)
    (five,) = dm.chain("five")
    dm("checkout", "master")
    return {"one": one, "two": two, "three": three, "four": four, "five": five}


def test_a_log_has_the_branches_and_tags_of_each_commit(dm: Machine, forked: dict[str, str]) -> None:
    lines = dm("log").lines
    assert f"commit {forked['two']} (HEAD -> master)" in lines
    assert f"commit {forked['one']} (tag: v1)" in lines
    newest, oldest = dm("log", "--json").json()
    assert (newest["branches"], newest["tags"]) == (["master"], [])
    assert (oldest["branches"], oldest["tags"]) == ([], ["v1"])
    dm("branch", "also", "master")
    assert f"commit {forked['two']} (HEAD -> master, also)" in dm("log").lines


def test_a_log_has_dates_in_local_time_with_their_zone(dm: Machine) -> None:
    dm.commit("a", "one")
    (date,) = (line for line in dm("log").lines if line.startswith("date: "))
    told = datetime.strptime(date, "date: %Y-%m-%d %H:%M:%S %z")
    made = datetime.fromisoformat(dm("log", "--json").json()[0]["created"])
    assert abs((told - made).total_seconds()) < 1
    assert told.utcoffset() == made.astimezone().utcoffset()


def test_a_log_of_some_commits_in_one_line_each(dm: Machine, forked: dict[str, str]) -> None:
    two, one = (f"{forked['two'][:12]} (HEAD -> master) two", f"{forked['one'][:12]} (tag: v1) one")
    assert dm("log", "--oneline").lines == [one, two], "the oldest first, as the ancestor"
    assert dm("log", "--oneline", "-n", "1").lines == [two]
    assert dm("log", "-n", "0").out == ""
    assert [commit["message"] for commit in dm("log", "-n", "1", "--json").json()] == ["two"]
    assert dm("log", "--oneline", "exp^").lines == [one, f"{forked['three'][:12]} three"]


def test_the_graph_has_the_commits_of_all_branches(dm: Machine, forked: dict[str, str]) -> None:
    short = {message: commit[:12] for message, commit in forked.items()}
    assert dm("log", "--graph").lines == [
        f"* {short['two']} (HEAD -> master) two",
        f"| * {short['five']} (deep) five",
        f"| | * {short['four']} (exp) four",
        "| |/",
        f"| * {short['three']} three",
        "|/",
        f"* {short['one']} (tag: v1) one",
    ]
    assert {commit["message"] for commit in dm("log", "--graph", "--json").json()} == forked.keys()
    dm("checkout", "exp")
    assert dm("log", "--graph").lines[0] == f"* {short['four']} (HEAD -> exp) four", "the current branch stands leftmost"
    assert dm("log", "--graph", "-n", "2").out.count("*") == 2
    assert dm("log", "--graph", "v1").lines == [f"* {short['one']} (tag: v1) one"]


def test_the_graph_of_a_long_history_is_no_deep_recursion(dm: Machine) -> None:
    from dm_compose.cli.graph import graph
    from dm_compose.core.commit import Commit
    from dm_compose.core.names import CommitId, DotName

    at = datetime.now().astimezone()
    ids = [CommitId(f"{n:032x}") for n in range(5000)]
    chain = [Commit(ids[n], DotName("a"), ids[n - 1] if n else None, "m", "me", at, {}) for n in range(len(ids))]
    assert [commit.id for _, commit in graph(chain[::-1], ids[-1]) if commit] == ids[::-1]


def test_a_commit_is_shown_with_what_it_changed(dm: Machine) -> None:
    dm.write("a", "file", "one", subdot="other")
    dm.commit("a", "first")
    dm.write("a", "more", "x" * 2048)
    dm.write("a", "file", "changed")
    made = dm.commit("a", "second\n\nwith words")
    lines = dm("show").lines
    assert lines[0] == f"commit {made} (HEAD -> master)"
    assert "    with words" in lines
    rows = {line.split()[0]: line for line in lines[lines.index("    with words") + 3 :]}
    assert re.search(r" 2 +2\.0 kiB in 2 files$", rows["__default__"])
    assert re.search(r" 3 B +1 +-$", rows["other"])
    found = dm("show", "--json").json()
    assert {change["path"] for change in found["changes"]["__default__"]["changes"]} == {"file", "more"}
    assert (found["id"], found["branches"]) == (made, ["master"])


def test_the_first_commit_and_others_are_shown_by_name(dm: Machine) -> None:
    one, _ = dm.chain("one", "two")
    dm("tag", "v1", one)
    assert "(no commit before)" in dm("show", "v1").out
    assert dm("show", "HEAD^", "--json").json()["changes"] is None
    dm("show", "nowhere", code=NOT_FOUND)


def test_a_subdot_that_is_gone_is_shown(dm: Machine) -> None:
    dm.write("a", "file", "one", subdot="other")
    one = dm.commit("a", "first")
    dm("reset", one)
    (dm.tree("a", "other", "file")).unlink()
    os.rmdir(dm.tree("a", "other"))
    dm.commit("a", "without")
    assert re.search(r"^other +- +gone +- +3 B in 2 files$", dm("show").out, re.MULTILINE)


def test_the_reflog_names_branches(dm: Machine, forked: dict[str, str]) -> None:
    shown = dm("reflog").lines
    assert shown[1].endswith("  checkout deep -> master")
    assert shown[2].endswith("  commit on master")
    assert re.match(r"# +WHEN \([+-]\d{4}\) +AT +HOLDS +OPERATION$", shown[0])
    dm.write("a", "file", "uncommitted")
    dm("reset", "--hard", "HEAD")
    saved = dm("reflog", "--json").json()[0]["saved"]
    assert f"reset on master, uncommitted changes kept as {saved[:12]}" in " ".join(dm("reflog").out.split())


def test_a_count_of_entries_may_be_written_as_in_git(used: Machine) -> None:
    used("reset", "--hard", "HEAD^")
    used("undo")
    every = used("reflog", "--json").json()
    assert len(every) > 2
    assert used("reflog", "-n", "2", "--json").json() == used("reflog", "-2", "--json").json() == every[:2]
    assert len(used("reflog", "-1").lines) == 2
    assert len(used("log", "-1", "--oneline").lines) == 1
