"""Branches and worktrees of a running stack: Postgres and Redis."""

from __future__ import annotations

import json

import pytest

from tests.support.projects import TestProject, eventually, remove_leftovers

pytestmark = pytest.mark.engine


def notes(project: TestProject) -> list[str]:
    return sorted(text for (text,) in project.sql("select text from notes"))


def state(project: TestProject) -> tuple[list[str], str]:
    return notes(project), project.redis().get("note")


@pytest.fixture(autouse=True)
def _at_seed(webapp: TestProject) -> None:
    """Every test begins on a clean master at the commit `seed`."""
    if webapp.json("status")["branch"] != "master":
        webapp.dm("reset", "--hard")
        webapp.dm("checkout", "master")
    webapp.stack().reset(webapp.seed, hard=True)
    for branch in webapp.json("branch"):
        if branch["name"] != "master":
            webapp.dm("branch", "-D", branch["name"])
    assert state(webapp) == (["seed"], "seed")


def test_each_branch_keeps_what_is_uncommitted(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('on master')")
    webapp.redis().set("note", "on master")
    webapp.dm("checkout", "-b", "other")
    assert state(webapp) == (["seed"], "seed")
    webapp.sql("insert into notes values ('on other')")
    webapp.redis().set("note", "on other")
    webapp.dm("checkout", "master")
    assert state(webapp) == (["on master", "seed"], "on master")
    webapp.dm("checkout", "other")
    assert state(webapp) == (["on other", "seed"], "on other")
    assert [b["name"] for b in webapp.json("branch") if b["uncommitted"]] == ["master"]


def test_commits_go_to_the_branch_and_the_other_one_does_not_see_them(webapp: TestProject) -> None:
    webapp.dm("checkout", "-b", "feature")
    webapp.redis().set("note", "feature")
    made = webapp.json("commit", "-m", "on feature")["id"]
    webapp.dm("checkout", "master")
    assert [c["message"] for c in webapp.json("log")] == ["seed"]
    assert next(c["id"] for c in webapp.json("log", "feature")) == made
    assert state(webapp) == (["seed"], "seed")


def test_a_new_branch_of_a_clean_stack_takes_nothing_down(webapp: TestProject) -> None:
    for number in range(5):
        webapp.dm("commit", "-m", "as it is")
        before = webapp.started_at("db"), webapp.started_at("cache")
        arrived = webapp.json("checkout", "-b", f"same{number}")
        assert arrived["branch"] == f"same{number}"
        assert arrived["created"] is True
        if not any(branch["uncommitted"] for branch in webapp.json("branch")):
            break
        webapp.dm("checkout", "master")  # Postgres has written something by itself since the commit, so it was not clean
    else:
        raise AssertionError("the stack was never clean")
    assert (webapp.started_at("db"), webapp.started_at("cache")) == before


def test_only_containers_whose_state_differs_go_down(webapp: TestProject) -> None:
    webapp.dm("commit", "-m", "as it is")
    webapp.dm("checkout", "-b", "rows")
    webapp.sql("insert into notes values ('row')")
    webapp.dm("commit", "-m", "a row")
    cache = webapp.started_at("cache")
    arrived = webapp.json("checkout", "master")
    assert notes(webapp) == ["seed"]
    killed = {step["on"] for step in arrived["steps"] if step["action"] == "kill"}
    assert "db" in killed
    if "cache" not in killed:  # its dump differs when Redis wrote one in between
        assert webapp.started_at("cache") == cache


def test_undo_of_a_checkout_goes_back_with_what_was_uncommitted(webapp: TestProject) -> None:
    webapp.redis().set("note", "uncommitted")
    webapp.dm("checkout", "-b", "other")
    webapp.dm("undo")
    assert webapp.json("status")["branch"] == "master"
    assert webapp.redis().get("note") == "uncommitted"
    webapp.dm("undo")
    assert webapp.json("status")["branch"] == "other"
    assert webapp.redis().get("note") == "seed"


def test_dm_works_on_the_stacks_dot_from_anywhere(webapp: TestProject) -> None:
    webapp.redis().set("note", "through dm")
    dot = webapp.json("plan")["dot"]
    made = webapp.command("dm", "--dot", dot, "commit", "-m", "by dm").stdout.strip()
    assert webapp.json("log")[0]["id"] == made
    webapp.redis().set("note", "later")
    webapp.command("dm", "reset", "--hard", "HEAD", "--dot", dot)
    assert webapp.redis().get("note") == "through dm"
    row = next(d for d in json.loads(webapp.command("dm", "list", "--json").stdout) if d["dot"] == dot)
    assert len(row["containers"]) == 2
    assert row["size_bytes"] > 1_000_000


def test_a_worktree_is_a_second_stack_on_the_same_dot(webapp: TestProject) -> None:
    webapp.redis().set("note", "main")
    made = webapp.json("worktree", "add", "copy")
    try:
        second = webapp.in_project(made["project"])
        second.dm("up", "-d")
        second.wait_ready()
        assert state(second) == (["seed"], "seed")
        second.redis().set("note", "copy")
        second.dm("commit", "-m", "from the copy")
        assert webapp.redis().get("note") == "main"
        assert [c["message"] for c in webapp.json("log", "copy")] == ["from the copy", "seed"]
        assert webapp.dm("checkout", "copy", check=False).returncode == 8
        second.redis().set("note", "lost")
        second.dm("reset", "--hard")
        assert eventually(lambda: second.redis().get("note"), "redis") == "copy"
        assert webapp.dm("worktree", "remove", "copy", check=False).returncode == 8
        second.dm("down")
        webapp.dm("worktree", "remove", "copy", "--force")
        assert [w["name"] for w in webapp.json("worktree", "list")] == ["main"]
    finally:
        remove_leftovers(None, [made["project"]])
