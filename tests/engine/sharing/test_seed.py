"""A stack that starts on a commit from a registry: on a machine with nothing but the compose file, again, dirty, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dm_compose.errors import CommandError, DivergedError, ExistsError, NotFoundError, UncommittedError, UsageError
from tests.support.capabilities import capabilities
from tests.support.crashing import KILLED, killing
from tests.support.projects import Run, TestProject, project_in
from tests.support.servers import registry

pytestmark = pytest.mark.engine

CACHE = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
DOCUMENT = {"services": {"cache": {**CACHE, "volumes": ["uploads:/uploads"]}}, "volumes": {"uploads": {}}}


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
        project.compose("exec", "-T", "cache", "sh", "-c", "echo seed > /uploads/file")
        project.seed = project.json("commit", "-m", "seed")["id"]
        project.dm("push", hub, "--remote-name", "admin/shop")
        yield project


@pytest.fixture
def fresh(run: Run, tmp_path: Path, hub: str, pushed: TestProject) -> Iterator[TestProject]:
    """Another machine: the same compose file under another project name, without store, volumes or containers."""
    for project in project_in(tmp_path, run, "fresh", DOCUMENT):
        yield replace(project, seed=pushed.seed)


def uploaded(project: TestProject) -> str:
    return project.compose("-p", project.name, "exec", "-T", "cache", "cat", "/uploads/file").strip()


def is_seed(project: TestProject) -> bool:
    return project.redis().get("note") == "seed" and uploaded(project) == "seed"


def test_up_from_fills_a_new_stack_before_it_starts_and_the_second_time_changes_nothing(fresh: TestProject, hub: str) -> None:
    done = json.loads(fresh.dm("up", "--from", f"{hub}:shop", "--json").stdout)
    assert is_seed(fresh)
    assert (done["commit"]["id"], done["branch"]) == (fresh.seed, "master")
    assert done["filled"] == ["cache", "uploads"]
    assert done["received_bytes"] > 0
    assert not fresh.json("status")["dirty"]
    before = fresh.started_at("cache")
    again = fresh.dm("up", "-d", "--from", f"{hub}:admin/shop@master", "--json")
    assert fresh.started_at("cache") == before, again.stderr + fresh.dm("reflog").stdout
    assert json.loads(again.stdout)["filled"] == []
    assert json.loads(again.stdout)["received_bytes"] == 0


def test_a_pull_into_a_stack_without_a_commit_names_the_verb_that_fills_it(fresh: TestProject, hub: str) -> None:
    refused = fresh.dm("pull", hub, check=False)
    assert refused.returncode == NotFoundError.exit_code
    assert f"`dm-compose up --from {hub}:admin/" in refused.stderr
    assert "commit -m" not in refused.stderr
    fresh.dm("remote", "add", "team", hub)
    assert "`dm-compose up --from team:admin/" in fresh.dm("pull", "team", check=False).stderr


def test_an_address_is_remembered_as_origin_so_that_pull_and_push_know_it(fresh: TestProject, hub: str) -> None:
    done = fresh.dm("up", "--from", f"{hub}:shop")
    assert f"{hub} is the remote origin, for `push` and `pull`" in done.stdout
    (remote,) = fresh.json("remote")
    assert (remote["name"], remote["current"]) == ("origin", True)
    assert "has all that admin/shop has" in fresh.dm("pull", "origin").stdout
    assert "has all that admin/shop has" in fresh.dm("pull", hub).stdout
    assert fresh.json("up", "--from", "origin:shop")["remote"] == "origin"
    assert len(fresh.json("remote")) == 1


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


def test_up_from_goes_on_with_the_branch_and_never_leaves_commits_of_ones_own(
    fresh: TestProject, pushed: TestProject, hub: str
) -> None:
    branch = f"line{fresh.name[-8:]}"
    source = f"{hub}:shop@{branch}"
    pushed.dm("checkout", "-b", branch)
    pushed.dm("push", hub)
    fresh.dm("up", "--from", source)
    pushed.redis().set("note", "two")
    two = pushed.json("commit", "-m", "two")["id"]
    pushed.dm("push", hub)
    assert json.loads(fresh.dm("up", "--from", source, "--json").stdout)["commit"]["id"] == two
    assert fresh.redis().get("note") == "two"
    fresh.redis().set("note", "mine")
    fresh.dm("commit", "-m", "mine")
    refused = fresh.dm("up", "--from", source, check=False)
    assert refused.returncode == DivergedError.exit_code
    assert fresh.redis().get("note") == "mine"
    assert fresh.json("push", hub)["branch"] == branch
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


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.slow
def test_up_from_killed_anywhere_is_finished_by_the_next_one(
    fresh: TestProject, hub: str, tmp_path: Path, share: float, changes: int
) -> None:
    environment = {**killing(tmp_path), "CRASH_AT": str(int(changes * share))}
    assert fresh.dm("up", "--from", f"{hub}:shop", check=False, **environment).returncode == KILLED
    fresh.dm("up", "--from", f"{hub}:shop")
    assert is_seed(fresh)
    assert not fresh.json("status")["dirty"]


@pytest.fixture(scope="module")
def changes(run: Run, tmp_path_factory: pytest.TempPathFactory, hub: str, pushed: TestProject) -> int:
    """How many changes an `up --from` makes that nobody kills."""
    directory = tmp_path_factory.mktemp("counting")
    for project in project_in(directory, run, "counting", DOCUMENT):
        project.dm("up", "--from", f"{hub}:shop", **killing(directory), CRASH_AT="0")
    return int((directory / "count").read_text())


@pytest.fixture
def twins(run: Run, tmp_path: Path) -> Iterator[tuple[TestProject, TestProject]]:
    """Two machines with the same compose file and the same files beside it."""
    with contextlib.ExitStack() as made:
        pair = [
            made.enter_context(contextlib.contextmanager(project_in)(tmp_path / name, run, name, {"services": {"cache": CACHE}}))
            for name in ("one", "two")
        ]
        for project in pair:
            (project.directory / "migrations").mkdir()
            (project.directory / "migrations" / "1.sql").write_text("one")
        yield pair[0], pair[1]


def seeding(project: TestProject, where: str, script: str, *options: str, check: bool = True) -> Any:
    """Seed as a job does; the script finds the stack's cache at $CACHE."""
    words = ("seed", where, "--key-from", "migrations/**", "--json", *options, "--", "sh", "-c", script)
    return json.loads(project.dm(*words, check=check).stdout)


def set_note(project: TestProject, value: str) -> str:
    return f"dm-compose -f {project.file} -p {project.name} exec -T cache redis-cli set note {value}"


def test_a_seed_is_made_once_and_then_found_by_its_key_until_a_file_changes(
    twins: tuple[TestProject, TestProject], hub: str
) -> None:
    one, two = twins
    where = f"{hub}:team/{one.name}"
    failed = seeding(one, where, "exit 3", check=False)
    assert failed["error"]["code"] == CommandError.exit_code
    assert "exit code 3" in failed["error"]["message"]
    assert one.json("log") == []
    one.dm("down", "-v")
    script = one.directory / "seed.sh"
    script.write_text("true\n")
    script.chmod(0o755)
    done = one.dm("seed", where, "--key-from", "migrations/**", "--", str(script), check=False)
    assert done.returncode == CommandError.exit_code
    assert f"{script} cannot be run: Exec format error\nhint: A script begins with a line such as `#!/bin/sh`" in done.stderr
    assert "`dm-compose down -v` before the next try" in done.stderr
    assert one.json("log") == []
    one.dm("down", "-v")
    made = seeding(one, where, f"test -n $DM_SEED_KEY && {set_note(one, 'seeded')}")
    assert (made["outcome"], made["pushed"]) == ("made", True)
    found = seeding(two, where, "false")
    assert (found["outcome"], found["key"], found["commit"]["id"]) == ("pulled", made["key"], made["commit"]["id"])
    assert two.redis().get("note") == "seeded"
    assert seeding(two, where, "false")["outcome"] == "here"
    (two.directory / "migrations" / "2.sql").write_text("two")
    refused = seeding(two, where, "false", check=False)
    assert refused["error"]["code"] == ExistsError.exit_code
    assert two.redis().get("note") == "seeded"


@pytest.mark.slow
def test_of_two_that_make_the_same_seed_one_pushes_and_the_other_takes_it(
    twins: tuple[TestProject, TestProject], hub: str
) -> None:
    one, two = twins
    where = f"{hub}:team/{one.name}"
    other = f"dm-compose -f {two.file} -p {two.name} seed {where} --key-from 'migrations/**' -- sh -c '{set_note(two, 'theirs')}'"
    inner = " ".join(f"{name}={value}" for name, value in two.environment.items())
    done = seeding(one, where, f"{set_note(one, 'mine')} && env {inner} {other} >&2")
    assert (done["outcome"], done["pushed"]) == ("pulled", False)
    assert one.redis().get("note") == "theirs"
    assert not one.json("status")["dirty"]


@pytest.mark.slow
def test_who_may_only_read_makes_a_seed_and_goes_on(twins: tuple[TestProject, TestProject], tmp_path: Path) -> None:
    """A registry whose password nobody has stands for one that refuses to be written to."""
    one, _ = twins
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path / "closed", htpasswd="somebody:$2y$05$" + "x" * 53 + "\n") as port:
        done = seeding(one, f"oci://127.0.0.1:{port}/team:shop", set_note(one, "seeded"))
    assert (done["outcome"], done["pushed"]) == ("made", False)
    assert any("does not let us push" in why for why in done["why"])
    assert one.json("log")[0]["metadata"] == {"seed_key": done["key"]}


def test_tests_start_from_a_commit_on_a_remote_and_leave_branches_and_containers_as_they_were(
    fresh: TestProject, hub: str, tmp_path: Path
) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "pytest.ini").write_text(f"[pytest]\ndm_file = {fresh.file}\ndm_project_name = {fresh.name}\n")
    (tests / "test_it.py").write_text(
        "import pytest, redis\n"
        "@pytest.mark.parametrize('number', [1, 2])\n"
        "def test_note(dm_stack, number):\n"
        "    cache = redis.Redis(*dm_stack.address('cache', 6379), decode_responses=True)\n"
        "    assert cache.get('note') == 'seed'\n"
        "    cache.set('note', 'scribble')\n"
    )
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        str(tests),
        "-c",
        str(tests / "pytest.ini"),
    ]
    outer = {name: "" for name in os.environ if name.startswith("PYTEST_")}
    done = fresh.command(*words, "--dm-from", f"{hub}:shop", **outer)
    assert "2 passed" in done.stdout
    assert fresh.json("log") == []
    assert not fresh.compose("-p", fresh.name, "ps", "-aq")
