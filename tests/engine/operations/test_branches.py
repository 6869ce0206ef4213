"""Branches and worktrees of a running stack: Postgres and Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import docker
import pytest

from tests.support.projects import TestProject, eventually, remove_leftovers

pytestmark = pytest.mark.engine


NewProject = Callable[[Mapping[str, Any]], TestProject]


def engine_volumes() -> list[dict[str, Any]]:
    client = docker.from_env()
    try:
        return [v.attrs for v in client.volumes.list()]
    finally:
        client.close()


def remove_volumes(project: TestProject) -> None:
    """Remove the volumes of a project that is down, as its user would with Docker."""
    client = docker.from_env()
    try:
        for volume in client.volumes.list(filters={"label": f"com.docker.compose.project={project.name}"}):
            volume.remove()
    finally:
        client.close()


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
    webapp.dm("checkout", "-b", "other", "--leave")
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


def started(project: TestProject) -> tuple[str, str]:
    return project.started_at("db"), project.started_at("cache")


def test_a_new_branch_at_the_head_takes_uncommitted_changes_along_and_nothing_down(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('work')")
    webapp.redis().set("note", "work")
    webapp.dm("status")
    before = started(webapp)
    arrived = webapp.json("checkout", "-b", "other")
    assert (arrived["branch"], arrived["created"], arrived["steps"], arrived["saved"]) == ("other", True, [], None)
    assert set(arrived["carried"]) <= {"db-data", "cache"}
    assert "db-data" in arrived["carried"]
    assert started(webapp) == before
    assert state(webapp) == (["seed", "work"], "work")
    assert [b["name"] for b in webapp.json("branch") if b["uncommitted"]] == []
    made = webapp.json("commit", "-m", "on other")["id"]
    webapp.dm("checkout", "-")
    assert (webapp.json("status")["branch"], state(webapp)) == ("master", (["seed"], "seed"))
    webapp.dm("checkout", "-")
    assert webapp.json("log")[0]["id"] == made
    assert state(webapp) == (["seed", "work"], "work")


def test_carried_changes_go_where_their_subdots_are_the_same_and_nowhere_else(webapp: TestProject) -> None:
    webapp.dm("checkout", "-b", "other", "--leave")
    webapp.redis().set("note", "other")
    webapp.dm("commit", "-m", "another cache")
    webapp.dm("checkout", "master")
    webapp.stack().reset(webapp.seed, hard=True)
    webapp.redis().set("note", "work")
    refused = webapp.dm("checkout", "--carry", "other", check=False)
    assert refused.returncode == 7
    assert "uncommitted changes in" in refused.stderr
    assert "cache" in refused.stderr
    assert state(webapp) == (["seed"], "work")
    webapp.stack().reset(webapp.seed, hard=True)
    other = webapp.json("log", "other")[0]
    same = other["subdots"]["db-data"]["manifest"] == webapp.json("log")[0]["subdots"]["db-data"]["manifest"]
    webapp.sql("insert into notes values ('work')")
    carried = webapp.dm("checkout", "--carry", "other", check=False)
    if not same:  # Postgres has written something by itself before the other commit
        assert carried.returncode == 7
        return
    assert (carried.returncode, state(webapp)) == (0, (["seed", "work"], "other"))
    kept = next(e["saved"] for e in webapp.json("reflog") if e["action"] == "before checkout --carry")
    assert kept is not None  # all that was live, also what was written after the look at what is uncommitted
    assert [s["name"] for s in webapp.json("status")["subdots"] if s["dirty"]] == ["db-data"]
    webapp.dm("undo")
    assert (webapp.json("status")["branch"], state(webapp)) == ("master", (["seed", "work"], "seed"))


def test_a_stash_goes_to_another_branch_and_an_undo_takes_it_back(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('work')")
    assert webapp.json("stash", "-m", "half done")["stash"] == "stash/1"
    assert state(webapp) == (["seed"], "seed")
    webapp.dm("checkout", "-b", "other")
    webapp.dm("stash", "pop")
    assert state(webapp) == (["seed", "work"], "seed")
    webapp.dm("undo")
    assert state(webapp) == (["seed"], "seed")


def test_an_undo_of_a_commit_stops_nothing_and_leaves_its_state(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('work')")
    webapp.dm("commit", "-m", "too early")
    before = started(webapp)
    webapp.dm("undo", "--commit")
    assert started(webapp) == before
    assert [c["message"] for c in webapp.json("log")] == ["seed"]
    assert (notes(webapp), webapp.json("status")["dirty"]) == (["seed", "work"], True)


def test_an_undo_to_a_state_that_nobody_had_written_to_is_no_reason_to_refuse(webapp: TestProject) -> None:
    assert webapp.json("status")["dirty"] is False
    webapp.dm("reset", "--hard")
    webapp.dm("undo")
    found = webapp.json("status")
    assert found["dirty"] is False
    assert {s["state"] for s in found["subdots"]} <= {"clean", "housekeeping only"}
    webapp.dm("reset")


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
    webapp.dm("checkout", "-b", "other", "--leave")
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


def worktree_volumes(project: TestProject, name: str) -> list[str]:
    return [v["Name"] for v in engine_volumes() if v["Name"].startswith(f"{project.name}-{name}_")]


def test_a_worktree_that_cannot_be_added_leaves_nothing_and_the_hint_leads_on(webapp: TestProject) -> None:
    refused = webapp.dm("worktree", "add", "second", "master", check=False)
    assert refused.returncode == 8
    assert f"hint: For a new branch at the same commit: worktree add NAME {webapp.json('log')[0]['id'][:12]}" in refused.stderr
    taken = webapp.dm("worktree", "add", "master", check=False)
    assert (taken.returncode, "hint: Choose another name." in taken.stderr) == (15, True)
    assert worktree_volumes(webapp, "second") + worktree_volumes(webapp, "master") == []
    assert [w["name"] for w in webapp.json("worktree", "list")] == ["main"]


def test_the_main_worktree_stays_and_no_hint_says_how_to_remove_it(webapp: TestProject) -> None:
    refused = webapp.dm("worktree", "remove", "main", check=False)
    assert refused.returncode == 8
    assert "is the main one, which cannot be removed" in refused.stderr
    assert "None" not in refused.stderr


def test_fixed_ports_are_told_when_a_worktree_is_added(new_project: NewProject) -> None:
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never", "ports": ["127.0.0.1:16379:6379"]}
    project = new_project({"services": {"cache": cache}})
    project.dm("up", "-d", "--wait")
    project.dm("commit", "-m", "seed")
    added = project.dm("worktree", "add", "second")
    assert "fixes ports of the host (cache 16379)" in added.stderr
    assert "ports: !override" in added.stderr
    files = r"-f (\S*)compose\.yaml -f \1compose\.second\.yaml"
    assert re.search(rf"`dm-compose {files} -p {project.name}-second up -d`", added.stderr)
    project.dm("worktree", "remove", "second")
    assert worktree_volumes(project, "second") == []


def test_prune_removes_the_generated_file_of_a_stack_of_which_nothing_is_left(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": {"image": "dm-example/redis:7.0", "pull_policy": "never"}}})
    project.dm("up", "-d")
    state = project.directory.parent / "state" / "dm-compose"
    assert list(state.glob(f"{project.name}-*/compose.yaml"))
    assert project.name not in project.json("prune")["projects"]
    project.compose("down")
    remove_volumes(project)
    assert project.json("prune", "--dry-run")["projects"] == [project.name]
    assert f"removed the generated project file of {project.name}" in project.dm("prune").stdout
    assert list(state.glob(f"{project.name}-*")) == []


def test_a_renamed_service_is_told_and_keeps_its_state_with_one_line(new_project: NewProject) -> None:
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
    project = new_project({"services": {"cache": cache}})
    project.dm("up", "-d", "--wait")
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.dm("down")
    project.write({"services": {"store": cache}})
    line = "services.store.x-dotmesh.subdot: cache"
    assert line in project.dm("up", "-d", "--wait").stderr
    assert line in project.dm("reset", "--hard").stderr
    assert line in project.dm("status").stdout
    assert line in project.json("status")["lacks"][0]
    assert line in project.dm("commit", "-m", "without it").stderr
    assert project.json("status")["lacks"] == []
    project.dm("undo", "--commit")
    project.dm("down")
    project.write({"services": {"store": {**cache, "x-dotmesh": {"subdot": "cache"}}}})
    assert line not in project.dm("up", "-d", "--wait").stderr
    assert project.redis("store").get("note") == "seed"
    project.redis("store").set("note", "later")
    project.dm("reset", "--hard")
    assert project.redis("store").get("note") == "seed"
