"""A stack that starts on a commit from a registry: on a machine with nothing but the compose file, again, dirty, and killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dm_compose.errors import DivergedError, NotFoundError, UncommittedError, UsageError
from tests.support.capabilities import capabilities
from tests.support.crashing import KILLED, SITECUSTOMIZE
from tests.support.projects import Run, TestProject, project_in
from tests.support.servers import registry

pytestmark = pytest.mark.engine

CACHE = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
IDLE = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
DOCUMENT = {
    "services": {"cache": CACHE, "app": {**IDLE, "volumes": ["uploads:/uploads"]}},
    "volumes": {"uploads": {}},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty registry."""
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"oci://127.0.0.1:{port}/team"


@pytest.fixture(scope="module")
def pushed(run: Run, tmp_path_factory: pytest.TempPathFactory, hub: str) -> Iterator[TestProject]:
    """A stack whose first commit is `master` of admin/shop on the hub."""
    for project in project_in(tmp_path_factory.mktemp("pushed"), run, "origin", DOCUMENT):
        project.dm("up", "-d")
        project.wait_ready()
        project.redis().set("note", "seed")
        project.compose("exec", "-T", "app", "sh", "-c", "echo seed > /uploads/file")
        project.seed = project.json("commit", "-m", "seed")["id"]
        project.dm("push", hub, "--remote-name", "admin/shop")
        yield project


@pytest.fixture
def fresh(run: Run, tmp_path: Path, hub: str, pushed: TestProject) -> Iterator[TestProject]:
    """Another machine: the same compose file under another project name, without store, volumes or containers."""
    for project in project_in(tmp_path, run, "fresh", DOCUMENT):
        yield replace(project, seed=pushed.seed)


def uploaded(project: TestProject) -> str:
    return project.compose("-p", project.name, "exec", "-T", "app", "cat", "/uploads/file").strip()


def is_seed(project: TestProject) -> bool:
    return project.redis().get("note") == "seed" and uploaded(project) == "seed"


def started(project: TestProject) -> list[str]:
    return [project.started_at(service) for service in ("cache", "app")]


def test_up_from_fills_a_new_stack_before_it_starts_and_the_second_time_changes_nothing(fresh: TestProject, hub: str) -> None:
    done = json.loads(fresh.dm("up", "--from", f"{hub}:shop", "--json").stdout)
    assert is_seed(fresh)
    assert (done["commit"]["id"], done["branch"]) == (fresh.seed, "master")
    assert done["filled"] == ["cache", "uploads"]
    assert done["received_bytes"] > 0
    assert not fresh.json("status")["dirty"]
    before = started(fresh)
    again = fresh.dm("up", "-d", "--from", f"{hub}:admin/shop@master", "--json")
    assert started(fresh) == before, again.stderr + fresh.dm("reflog").stdout
    assert json.loads(again.stdout)["filled"] == []
    assert json.loads(again.stdout)["received_bytes"] == 0


def test_what_is_not_committed_is_refused_and_with_hard_kept_for_undo(fresh: TestProject, hub: str) -> None:
    source = f"{hub}:shop"
    fresh.dm("up", "--from", source)
    fresh.redis().set("note", "mine")
    done = fresh.dm("up", "--from", source, check=False)
    assert done.returncode == UncommittedError.exit_code
    assert "cache" in done.stderr
    assert "hint: " in done.stderr
    assert fresh.redis().get("note") == "mine"
    fresh.dm("up", "--from", source, "--hard")
    assert is_seed(fresh)
    fresh.dm("undo")
    assert fresh.redis().get("note") == "mine"


def test_volumes_that_nobody_has_committed_are_not_filled(fresh: TestProject, hub: str) -> None:
    fresh.dm("up", "-d")
    fresh.wait_ready()
    fresh.redis().set("note", "mine")
    done = fresh.dm("up", "--from", f"{hub}:shop", check=False)
    assert done.returncode == UncommittedError.exit_code
    assert fresh.redis().get("note") == "mine"


def test_after_up_from_push_and_pull_know_the_remote_and_commits_of_its_own_are_never_left(
    fresh: TestProject, pushed: TestProject, hub: str
) -> None:
    branch = f"line{fresh.name[-8:]}"
    pushed.dm("checkout", "-b", branch)
    pushed.dm("push", hub, "--remote-name", "admin/shop")
    source = f"{hub}:shop@{branch}"
    fresh.dm("up", "--from", source)
    fresh.redis().set("note", "two")
    two = fresh.json("commit", "-m", "two")["id"]
    refused = fresh.dm("up", "--from", source, check=False)
    assert refused.returncode == DivergedError.exit_code
    fresh.dm("push", hub)
    pushed.dm("pull", hub)
    assert pushed.redis().get("note") == "two"
    pushed.redis().set("note", "three")
    three = pushed.json("commit", "-m", "three")["id"]
    pushed.dm("push", hub)
    assert json.loads(fresh.dm("up", "--from", source, "--json").stdout)["commit"]["id"] == three
    assert fresh.redis().get("note") == "three"
    assert json.loads(fresh.dm("up", "--from", f"{hub}:shop@{two}", "--json").stdout)["branch"] == f"at-{two[:12]}"
    assert fresh.redis().get("note") == "two"
    pushed.dm("checkout", "master")


def test_what_does_not_fit_is_refused_before_anything_starts(fresh: TestProject, hub: str) -> None:
    nothing = fresh.dm("up", "--from", f"{hub}:shop@nobody", check=False)
    assert nothing.returncode == NotFoundError.exit_code
    assert fresh.dm("up", "--from", hub, check=False).returncode == UsageError.exit_code
    more = {**DOCUMENT, "services": {**DOCUMENT["services"], "second": CACHE}}
    fresh.write(more)
    done = fresh.dm("up", "--from", f"{hub}:shop", check=False)
    assert done.returncode == NotFoundError.exit_code
    assert "second" in done.stderr
    assert not fresh.compose("-p", fresh.name, "ps", "-aq")


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0.95])
def test_up_from_killed_anywhere_is_finished_by_the_next_one(
    fresh: TestProject, hub: str, tmp_path: Path, share: float, changes: int
) -> None:
    killing = {**crash_environment(tmp_path), "CRASH_AT": str(int(changes * share))}
    assert fresh.dm("up", "--from", f"{hub}:shop", check=False, **killing).returncode == KILLED
    fresh.dm("up", "--from", f"{hub}:shop")
    assert is_seed(fresh)
    assert not fresh.json("status")["dirty"]


def crash_environment(directory: Path) -> dict[str, str]:
    """What makes dm-compose die at its CRASH_AT-th change."""
    (directory / "site").mkdir()
    (directory / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return {"PYTHONPATH": str(directory / "site"), "CRASH_COUNT": str(directory / "count")}


@pytest.fixture(scope="module")
def changes(run: Run, tmp_path_factory: pytest.TempPathFactory, hub: str, pushed: TestProject) -> int:
    """How many changes an `up --from` makes that nobody kills."""
    directory = tmp_path_factory.mktemp("counting")
    for project in project_in(directory, run, "counting", DOCUMENT):
        project.dm("up", "--from", f"{hub}:shop", **crash_environment(directory), CRASH_AT="0")
    return int((directory / "count").read_text())
