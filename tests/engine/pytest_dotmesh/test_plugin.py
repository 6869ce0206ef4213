"""The pytest plugin on a real stack: every test begins at the commit, and the stack is given back as it was found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine.operations.test_containers import IDLE, MEMCACHED, REDIS
from tests.support.leftovers import engine_view
from tests.support.processes import python_path
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

CLIENTS = """
import psycopg, pytest, redis

def rows(stack):
    host, port = stack.address("db", 5432)
    with psycopg.connect(host=host, port=port, user="postgres", password="webapp", autocommit=True) as connection:
        return sorted(text for (text,) in connection.execute("select text from notes").fetchall())

def sql(stack, statement):
    host, port = stack.address("db", 5432)
    with psycopg.connect(host=host, port=port, user="postgres", password="webapp", autocommit=True) as connection:
        connection.execute(statement)

def cache(stack):
    return redis.Redis(stack.host("cache", 6379), stack.port("cache", 6379), decode_responses=True)

def scribble(stack):
    sql(stack, "insert into notes values ('scribble')")
    cache(stack).set("note", "scribble")

def is_seed(stack):
    return rows(stack) == ["seed"] and cache(stack).get("note") == "seed"
"""


TWO_TESTS = """
def test_it(dm_stack):
    assert is_seed(dm_stack)
    scribble(dm_stack)

def test_next(dm_stack):
    assert is_seed(dm_stack)
"""


class Tests:
    """A directory of tests that use the project's stack."""

    __test__ = False

    def __init__(self, project: TestProject, directory: Path) -> None:
        self.project, self.directory = project, directory
        self.directory.mkdir()
        (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\n")
        (directory / "clients.py").write_text(CLIENTS)

    def write(self, body: str) -> None:
        (self.directory / "test_it.py").write_text(f"from clients import *\n\n{body}")

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:pytester", "-p", "no:randomly", *options]

    @property
    def environment(self) -> dict[str, str]:
        outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return {**outer, **self.project.environment, "PYTHONPATH": python_path(self.directory)}

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            cwd=self.directory,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*options), cwd=self.directory, env=self.environment, stdout=-1, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture
def tests(webapp: TestProject, tmp_path: Path) -> Tests:
    webapp.stack().reset(webapp.seed, hard=True)
    return Tests(webapp, tmp_path / "tests")


def is_seed(project: TestProject) -> bool:
    return [text for (text,) in project.sql("select text from notes")] == ["seed"] and project.redis().get("note") == "seed"


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1]


def test_each_test_sees_the_seed_whatever_the_one_before_did(tests: Tests) -> None:
    tests.write(
        """
        def test_scribbles(dm_stack):
            assert is_seed(dm_stack)
            scribble(dm_stack)

        def test_scribbles_too(dm_stack):
            assert is_seed(dm_stack)
            scribble(dm_stack)
            assert 0, "and fails"

        def test_errors(dm_stack):
            assert is_seed(dm_stack)
            scribble(dm_stack)
            raise OSError

        def test_is_last(dm_stack):
            assert is_seed(dm_stack)
        """.replace("\n        ", "\n")
    )
    done = tests.run("--dm-report")
    assert "2 failed, 2 passed" in outcome(done), done.stdout
    assert f"dm: stack {tests.project.name}, dot {tests.project.name} (cache, db-data), commit HEAD, strategy" in done.stdout
    told = [line for line in done.stdout.splitlines() if "test_scribbles: " in line]
    assert any("db-data" in line and "restarted cache, db" in line for line in told), told
    assert is_seed(tests.project)


def test_what_was_uncommitted_before_the_run_is_there_after_it(tests: Tests) -> None:
    tests.project.sql("insert into notes values ('my work')")
    tests.project.redis().set("note", "my work")
    tests.write("def test_it(dm_stack):\n    assert is_seed(dm_stack)\n    scribble(dm_stack)\n")
    done = tests.run()
    assert "1 passed" in outcome(done), done.stdout
    assert tests.project.dm("reset", check=False).returncode == 7  # before anybody writes again it is uncommitted, as it was
    assert sorted(text for (text,) in tests.project.sql("select text from notes")) == ["my work", "seed"]
    assert tests.project.redis().get("note") == "my work"


def test_of_a_clean_stack_only_what_a_test_touches_goes_down(
    new_project: Callable[[Mapping[str, Any]], TestProject], tmp_path: Path
) -> None:
    """Redis writes to its files only when it is told to, so that a stack of it stays clean."""
    memory = {**IDLE, "command": ["python3", "-c", MEMCACHED], "x-dotmesh": {"engine": "memcached"}}
    project = new_project({"services": {"cache": REDIS, "other": REDIS, "memory": memory}})
    project.dm("up", "-d", "--wait")
    for name in ("cache", "other"):
        project.redis(name).set("note", "seed")
    project.dm("commit", "-m", "seed")
    tests = Tests(project, tmp_path / "tests")
    tests.write(
        """
def test_touches_one(dm_stack):
    assert cache(dm_stack).get("note") == "seed"
    cache(dm_stack).set("note", "scribble")

def test_sees_the_seed(dm_stack):
    assert cache(dm_stack).get("note") == "seed"
"""
    )

    def started() -> dict[str, str]:
        return {name: project.started_at(name) for name in ("cache", "other", "memory")}

    for _ in range(2):  # the first run settles the commit
        before = started()
        done = tests.run()
        assert "2 passed" in outcome(done), done.stdout
        assert project.json("status")["dirty"] is False
        assert {name for name, at in started().items() if at != before[name]} == {"cache", "memory"}
    project.redis().set("note", "my work")  # in memory only
    done = tests.run()
    assert "2 passed" in outcome(done), done.stdout
    assert started()["other"] != before["other"]
    assert project.redis().get("note") == "my work"
    assert project.redis("other").get("note") == "seed"


def test_a_marker_chooses_another_commit_and_autouse_restores_for_every_test(tests: Tests) -> None:
    tests.project.redis().set("note", "other")
    other = tests.project.json("commit", "-m", "other")["id"]
    tests.project.dm("reset", "--hard", tests.project.seed)
    tests.write(
        f"""
@pytest.mark.dm("{other[:10]}")
def test_other(dm_stack):
    assert cache(dm_stack).get("note") == "other"
    scribble(dm_stack)

def test_without_asking(dm_session_stack):
    assert is_seed(dm_session_stack)
    scribble(dm_session_stack)

def test_after():
    pass

def test_seed(dm_stack):
    assert is_seed(dm_stack)
"""
    )
    done = tests.run("--dm-autouse")
    assert "4 passed" in outcome(done), done.stdout


def test_a_test_that_does_not_ask_for_the_stack_cannot_spoil_the_next(tests: Tests) -> None:
    tests.write(
        """
def test_first(dm_stack):
    pass

def test_sneaks_in(dm_session_stack):
    cache(dm_session_stack).set("note", "sneaked into memory")

def test_next(dm_stack):
    assert is_seed(dm_stack)
"""
    )
    done = tests.run()
    assert "3 passed" in outcome(done), done.stdout


def test_the_stack_offers_exec_logs_commit_reset_and_diff(tests: Tests) -> None:
    tests.write(
        """
def test_offers(dm_stack):
    done = dm_stack.exec("cache", "redis-cli", "get", "note")
    assert (done.exit_code, done.output.strip()) == (0, "seed")
    assert dm_stack.exec("db", "false").exit_code == 1
    assert "ready to accept connections" in dm_stack.logs("db")
    assert not any(dm_stack.diff().values()) or dm_stack.diff()["db-data"]
    scribble(dm_stack)
    scribbled = dm_stack.commit("scribbled")
    dm_stack.reset()
    assert is_seed(dm_stack)
    dm_stack.reset(scribbled)
    assert cache(dm_stack).get("note") == "scribble"
    assert dm_stack.diff()["cache"].changed_bytes > 0
    assert dm_stack.start.message == "seed"
"""
    )
    done = tests.run()
    assert "1 passed" in outcome(done), done.stdout
    assert [c["message"] for c in tests.project.json("log")] == ["seed"]


def run_and_kill(tests: Tests) -> None:
    """Run a test that scribbles, and kill the run in the middle of it."""
    tests.write(
        """
def test_hangs(dm_stack):
    scribble(dm_stack)
    print("scribbled", flush=True)
    import time
    time.sleep(600)
"""
    )
    child = tests.start("-s")
    assert child.stdout is not None
    eventually(lambda: child.poll() is not None or "scribbled" in child.stdout.readline(), "the test to scribble", timeout_s=60)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)


def test_a_run_killed_in_the_middle_of_a_test_leaves_the_next_run_and_the_user_what_was_there(tests: Tests) -> None:
    tests.project.redis().set("note", "my work")
    run_and_kill(tests)
    tests.write("def test_it(dm_stack):\n    assert is_seed(dm_stack)\n")
    done = tests.run()
    assert "1 passed" in outcome(done), done.stdout
    assert tests.project.redis().get("note") == "my work"
    assert [text for (text,) in tests.project.sql("select text from notes")] == ["seed"]


@pytest.mark.parametrize("words", [["undo"], ["prune"]], ids=["undo", "prune"])
def test_undo_and_prune_put_back_the_state_from_before_a_killed_run_and_undo_brings_its_mess_back(
    tests: Tests, words: list[str]
) -> None:
    tests.project.redis().set("note", "my work")
    run_and_kill(tests)
    (left,) = tests.project.json("status")["unfinished"]
    assert "was killed; `dm-compose prune`, or the next command that writes, " in left["text"]
    assert left["short"] in tests.project.dm("prune", "--dry-run").stdout
    assert tests.project.redis().get("note") == "scribble"
    said = tests.project.dm(*words).stdout
    assert ("the state from before the tests is back; nothing more was undone" if words == ["undo"] else left["short"]) in said
    assert tests.project.redis().get("note") == "my work"
    assert tests.project.json("status")["unfinished"] == []
    tests.project.dm("undo")
    assert tests.project.redis().get("note") == "scribble"


def test_a_killed_run_that_had_brought_the_stack_up_leaves_it_down_once_somebody_writes(tests: Tests) -> None:
    tests.project.redis().set("note", "my work")
    tests.project.dm("down")
    run_and_kill(tests)
    assert engine_view(tests.project)["containers"]
    before = engine_view(tests.project)["containers"]
    assert "the next command that writes" in tests.project.dm("status").stderr
    assert engine_view(tests.project)["containers"] == before
    tests.project.dm("tag", "t")
    assert engine_view(tests.project)["containers"] == engine_view(tests.project)["networks"] == []
    tests.project.dm("up", "-d")
    tests.project.wait_ready()
    assert tests.project.redis().get("note") == "my work"


def test_after_an_interrupt_the_stack_is_given_back(tests: Tests) -> None:
    tests.write(
        """
def test_is_interrupted(dm_stack):
    scribble(dm_stack)
    raise KeyboardInterrupt
"""
    )
    done = tests.run()
    assert done.returncode == 2, done.stdout
    assert is_seed(tests.project)


INTERRUPTED_TWICE = """
import os, signal, time
from dm_compose.sessions.session import Session

restore, calls = Session.restore, []

def interrupted(self, commit, changed=None):  # at the begin, before the test, and at the end
    calls.append(commit)
    if len(calls) == {call}:
        press()
    time.sleep({wait})  # as long as a restore that people do not want to wait for
    return restore(self, commit, changed)

def press():
    os.kill(os.getpid(), signal.SIGINT)

Session.restore = interrupted

@pytest.fixture
def ends_slowly(dm_stack):
    yield
    if {call} == 0:
        press()

def test_is_interrupted(dm_stack, ends_slowly):
    scribble(dm_stack)
    press()
"""


@pytest.mark.parametrize("given_back", [True, False])
def test_a_second_interrupt_ends_the_run_calmly(tests: Tests, given_back: bool) -> None:
    """It comes in a fixture's end, or while the stack is given back, and then still more come."""
    tests.project.redis().set("note", "my work")
    (tests.directory / "conftest.py").write_text(
        f"import os, signal\ndef pytest_unconfigure():\n    {'pass' if given_back else 'os.kill(os.getpid(), signal.SIGINT)'}\n"
    )
    tests.write(INTERRUPTED_TWICE.replace("{call}", "0" if given_back else "3").replace("{wait}", "0"))
    done = tests.run()
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert len(said.splitlines()) < 30, said
    assert f"dm: stack {tests.project.name} is given back; press ^C again to leave that to the next command" in said
    assert ("the next test run, or the next command that writes, keeps what is live" in said) is not given_back
    if not given_back:
        assert tests.project.json("status")["unfinished"]
        tests.project.dm("prune")
    assert tests.project.redis().get("note") == "my work"


def test_a_long_wait_is_told_when_it_is_long_and_who_has_which_clone(tests: Tests) -> None:
    tests.write(INTERRUPTED_TWICE.replace("{call}", "-1").replace("{wait}", "1.2") + "\n\ndel test_is_interrupted\n" + TWO_TESTS)
    done = tests.run()
    lines = [line.partition(" is ")[0].partition(" comes ")[0] for line in done.stdout.splitlines()]
    assert "2 passed" in outcome(done), done.stdout
    name = tests.project.name
    assert f"dm: stack {name} comes up\n" in done.stdout
    assert f"dm: stack {name} is given back\n" in done.stdout
    assert lines.count(f"dm: stack {name}") == 2, done.stdout
    tests.write(TWO_TESTS)
    done = tests.run("-n", "2")
    assert "2 passed" in outcome(done), done.stdout
    assert done.stdout.count(f"dm: stack {name}, dot {name} (") == 1, "the header"
    for worker in ("gw0", "gw1"):  # to make a clone takes more than a second
        assert done.stdout.count(f"dm: a clone of {name} for {worker} comes up\n") == 1, done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_after_a_request_to_end_the_stack_is_given_back(tests: Tests, number: int) -> None:
    """An editor's stop button and a cancelled CI job send SIGTERM, and a terminal that is closed sends SIGHUP."""
    tests.project.redis().set("note", "my work")
    tests.write(
        """
def test_is_ended(dm_stack):
    scribble(dm_stack)
    print("scribbled", flush=True)
    import time
    time.sleep(600)
"""
    )
    run = tests.start("-s")
    assert run.stdout is not None
    eventually(lambda: run.poll() is not None or "scribbled" in run.stdout.readline(), "the test", timeout_s=60)
    run.send_signal(number)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 2, said
    assert tests.project.redis().get("note") == "my work"
    assert tests.project.json("status")["dirty"] is True


def test_a_second_run_waits_with_a_message_or_fails_when_it_may_not_wait(tests: Tests, tmp_path: Path) -> None:
    flag = tmp_path / "go on"
    tests.write(
        f"""
def test_holds(dm_stack):
    scribble(dm_stack)
    print("holding", flush=True)
    import pathlib, time
    while not pathlib.Path({str(flag)!r}).exists():
        time.sleep(0.05)

def test_next(dm_stack):
    pass
"""
    )
    first = tests.start("-s")
    assert first.stdout is not None
    eventually(lambda: first.poll() is not None or "holding" in first.stdout.readline(), "the first run", timeout_s=60)
    refused = tests.run("--dm-lock-timeout", "0")
    assert "in use by" in refused.stdout
    assert str(first.pid) in refused.stdout
    assert "dm: the stack cannot be had, so no further test is run" in refused.stdout
    assert " 1 error in " in outcome(refused)
    assert "failed" not in outcome(refused)
    tests.write("def test_it(dm_stack):\n    assert is_seed(dm_stack)\n")
    second = tests.start()
    assert second.stdout is not None
    line = eventually(
        lambda: next((text for text in iter(second.stdout.readline, "") if "waiting up to" in text), ""), "the message"
    )
    assert str(first.pid) in line
    flag.write_text("")
    output, _ = second.communicate(timeout=120)
    first.communicate(timeout=120)
    assert "1 passed" in output.strip().splitlines()[-1], output
    assert first.returncode == 0


def test_a_stack_that_is_down_is_brought_up_on_the_commit_and_taken_down(tests: Tests) -> None:
    tests.project.dm("down")
    tests.write(TWO_TESTS)
    done = tests.run()
    assert "2 passed" in outcome(done), done.stdout
    assert tests.project.compose("ps", "-aq").strip() == ""
    tests.project.dm("up", "-d")
    tests.project.wait_ready()
    assert is_seed(tests.project)


def test_of_a_stack_that_was_up_in_part_the_run_takes_its_own_containers_away_and_leaves_the_others(tests: Tests) -> None:
    tests.project.compose("rm", "-sf", "cache")
    before = tests.project.container("db")["Id"]
    tests.write(TWO_TESTS)
    done = tests.run()
    assert "2 passed" in outcome(done), done.stdout
    assert tests.project.compose("ps", "-aq", "--no-trunc").split() == [before]
    assert tests.project.state("db") == "running"


def test_a_stack_that_is_down_and_has_lost_its_volumes_is_seeded_from_the_commit(tests: Tests) -> None:
    tests.project.dm("down", "-v")
    tests.write("def test_it(dm_stack):\n    assert is_seed(dm_stack)\n")
    done = tests.run()
    assert "1 passed" in outcome(done), done.stdout
    tests.project.dm("up", "-d")
    tests.project.wait_ready()
    assert is_seed(tests.project)


def test_problems_are_told_in_a_line_with_a_hint(tests: Tests, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    tests.write("@pytest.mark.parametrize('n', range(3))\ndef test_it(dm_stack, n):\n    pass\n")
    runs = {
        f"dot {tests.project.name} has no branch, tag or commit 'nonsense'": tests.run("--dm-commit", "nonsense", "-n", "2"),
        "nowhere.yaml": tests.run("--dm-file", "nowhere.yaml"),
        "has no commit to test from": tests.run(DM_PROJECT_NAME="never-committed"),
        "there is no remote orign": tests.run("--dm-from", "orign:ci/shop", "-n", "2"),
        "there is no ci/shop at": tests.run("--dm-from", f"{tmp_path}/hub:ci/shop"),
    }
    for told, done in runs.items():
        assert done.returncode == pytest.ExitCode.USAGE_ERROR, told
        assert done.stderr.count(told) == 1
        assert "Traceback" not in done.stdout + done.stderr


def test_tests_without_the_stack_pay_nothing_and_see_no_header(tests: Tests) -> None:
    tests.write("def test_it():\n    pass\n")
    done = tests.run(DOCKER_HOST="unix:///nonexistent.sock")
    assert "1 passed" in outcome(done), done.stdout
    assert "dm:" not in done.stdout


def test_the_same_through_the_helper_container(tests: Tests) -> None:
    tests.write(TWO_TESTS)
    done = tests.run(DM_FILES="helper", DM_HELPER_IMAGE="dm-example/python")
    assert "2 passed" in outcome(done), done.stdout
    assert is_seed(tests.project)


def test_in_a_stack_that_the_run_brings_up_containers_stay_and_only_their_programs_start_anew(tests: Tests) -> None:
    tests.project.dm("down")
    tests.write(
        """
import subprocess

def containers(stack):
    names = ["docker", "ps", "-q", "--no-trunc", "--filter", f"label=com.docker.compose.project={stack.project}"]
    ids = subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()
    started = ["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", *ids]
    return subprocess.run(started, capture_output=True, text=True, check=True).stdout

def test_it(dm_stack):
    global before
    before = containers(dm_stack)
    scribble(dm_stack)

def test_next(dm_stack):
    assert is_seed(dm_stack)
    assert containers(dm_stack) == before
"""
    )
    done = tests.run("-s", "--dm-report")
    assert "2 passed" in outcome(done), done.stdout
    assert "test_it: db-data" in done.stdout
    done = tests.run("--dm-strategy=restart")
    assert "1 failed, 1 passed" in outcome(done), done.stdout  # the last one sees that containers were started anew
    tests.project.dm("up", "-d")
    tests.project.wait_ready()
    assert is_seed(tests.project)


def test_a_strategy_that_there_is_not_ends_the_run_before_it_begins(tests: Tests) -> None:
    tests.write(TWO_TESTS)
    done = tests.run("--dm-strategy=reboot")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no strategy; there are auto, respawn, restart" in done.stderr
