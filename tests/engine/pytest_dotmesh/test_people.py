"""The pytest plugin offers more than a restored stack: reports, states of failed tests, wider scopes, more stacks, company."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine.pytest_dotmesh.test_plugin import Tests, is_seed, outcome
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine


@pytest.fixture
def tests(webapp: TestProject, tmp_path: Path) -> Tests:
    """Tests in a directory of their own, in the order in which they are written."""
    webapp.stack().reset(webapp.seed, hard=True)
    return Tests(webapp, tmp_path / "tests")


def failed_branches(project: TestProject) -> list[str]:
    return [b["name"] for b in project.json("branch") if b["name"].startswith("failed/")]


# Reports and assertions


def test_each_test_is_charged_with_what_it_touched_in_text_json_and_junit(tests: Tests) -> None:
    (tests.directory / "conftest.py").write_text(
        """
def pytest_dm_before_restore(config, stack, commit):
    assert commit.id == stack.start.id
    print(f"before {commit.message}")

def pytest_dm_after_restore(config, stack, report):
    print(f"after {sorted(report.touched)}")
"""
    )
    tests.write(
        """
def test_writes_to_one_and_reads_the_other(dm_stack):
    assert dm_stack.touched() == {} and dm_stack.changed() == set()
    rows(dm_stack)
    assert set(dm_stack.touched()) == {"db"} and dm_stack.changed() == set()
    cache(dm_stack).set("note", "scribble")
    assert set(dm_stack.touched()) == {"db", "cache"}
    assert dm_stack.changed() == {"cache"}

def test_writes_to_the_other(dm_stack):
    sql(dm_stack, "insert into notes values ('scribble')")
    assert dm_stack.changed() == {"db-data"}

def test_touches_nothing(dm_stack):
    pass
"""
    )
    done = tests.run("-s", "-p", "no:randomly", "--dm-report", "--dm-report-json=out/dm.json", "--junitxml=junit.xml")
    assert "3 passed" in outcome(done), done.stdout
    first = done.stdout.index("test_writes_to_one_and_reads_the_other: ")
    assert "restarted cache, db" in done.stdout[first:].splitlines()[0]
    assert "          db: " in done.stdout[first:]
    assert "slowest: test_it.py::" in done.stdout
    assert "restores around 3 tests" in done.stdout
    times = {spent["what"]: spent["s"] for spent in json.loads((tests.directory / "out" / "dm.json").read_text())["run"]}
    assert {"settling the commit", "bringing the stack up", "giving the stack back"} == times.keys()
    assert all(f"  {what}" in done.stdout for what in times)
    assert "after ['cache', 'db']" in done.stdout
    report = json.loads((tests.directory / "out" / "dm.json").read_text())
    one, other, nothing = report["tests"]
    assert one["touched"].keys() == one["restarted"].keys() == {"cache", "db"}
    assert "cache" in one["dirtied"]
    assert "db-data" in other["dirtied"]
    assert nothing["dirtied"] == nothing["restarted"] == {}
    assert report["restore_s"] >= one["restore_s"] > nothing["restore_s"]
    cases = ET.parse(tests.directory / "junit.xml").getroot().iter("testcase")
    properties = {case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")} for case in cases}
    assert properties["test_writes_to_the_other"]["dm_restarted"]
    assert int(properties["test_writes_to_the_other"]["dm_dirtied_bytes"] or 0) == sum(other["dirtied"].values())


RESTLESS = """
import socket, time
address = socket.gethostbyname("cache")
while True:
    try:
        with socket.create_connection((address, 6379), timeout=1) as connection:
            while True:
                connection.sendall(b"SET job done\\r\\n")
                connection.recv(100)
                time.sleep(0.01)
    except OSError:
        time.sleep(0.005)
"""


def test_a_service_that_never_rests_is_named_and_told_of_once(
    new_project: Callable[[Mapping[str, Any]], TestProject], tmp_path: Path
) -> None:
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
    worker = {"image": "dm-example/python", "pull_policy": "never", "init": True, "command": ["python3", "-c", RESTLESS]}
    worker["depends_on"] = ["cache"]
    project = new_project({"services": {"cache": cache, "worker": worker}})
    project.dm("up", "-d")
    project.wait_ready()
    project.dm("commit", "-m", "seed")
    project.dm("down")  # so that the container and its address stay in a restore, and the worker is there again at once
    tests = Tests(project, tmp_path / "tests")
    tests.write(
        """
import time

@pytest.mark.parametrize("n", range(8))
def test_touches_nothing(dm_stack, n):
    end = time.monotonic() + 10
    while not dm_stack.touched() and time.monotonic() < end:  # by the worker, if there is one
        time.sleep(0.05)
"""
    )
    done = tests.run("--dm-report", "--no-dm-settle")
    assert "8 passed" in outcome(done), done.stdout
    assert "          cache: worker connected to it while dm-compose was at work on it" in done.stdout, done.stdout
    assert done.stdout.count("tests paid for one more restore") == 1, done.stdout
    project.dm("up", "-d")
    project.compose("stop", "worker")
    tests.write("def test_touches_nothing(dm_stack):\n    assert not dm_stack.touched()\n")
    done = tests.run("--dm-report", "--no-dm-settle")
    assert "1 passed" in outcome(done), done.stdout
    assert project.state("worker") == "exited"


# States of failed tests


def test_what_a_failed_test_left_is_kept_whichever_part_of_it_failed_and_opens_with_one_command(tests: Tests) -> None:
    tests.write(
        """
@pytest.fixture
def breaks_first(dm_stack):
    scribble(dm_stack)
    assert 0

@pytest.fixture
def breaks_last(dm_stack):
    yield
    scribble(dm_stack)
    pytest.fail("late")

def test_setup(breaks_first):
    pass

@pytest.mark.parametrize("word", ["a b/../c:ä" + 150 * "x"])
def test_call(dm_stack, word):
    scribble(dm_stack)
    assert 0

def test_teardown(breaks_last):
    assert is_seed(breaks_last)if breaks_last else True

@pytest.mark.xfail
def test_may_fail(dm_stack):
    assert 0

def test_is_one_too_many(dm_stack):
    assert 0

def test_sees_the_seed(dm_stack):
    assert is_seed(dm_stack)

def test_has_no_stack():
    assert 0
"""
    )
    options = ("-p", "no:randomly", "--dm-keep-failed-max=3", "--junitxml=junit.xml")
    done = tests.run("--dm-isolate", "-n", "1", "--dm-keep-failed", *options)
    assert "3 failed, 2 passed, 1 xfailed, 2 errors" in outcome(done), done.stdout
    lines = [line for line in done.stdout.splitlines() if "dm-compose" in line and "checkout" in line]
    assert len(lines) == 3
    assert "test_is_one_too_many: not kept: this run has kept 3 states already" in done.stdout
    assert sorted(failed_branches(tests.project)) == sorted(line.split()[-1] for line in lines)
    assert "dm_kept" in (tests.directory / "junit.xml").read_text()
    for line in lines:
        assert " failed/" in line
        assert len(line.split()[-1].replace("/", "..")) <= 110
    assert is_seed(tests.project)
    command = lines[1].partition("dm-compose ")[2].split()
    tests.project.command("dm-compose", *command)
    tests.project.wait_ready()
    assert tests.project.redis().get("note") == "scribble"
    assert ("scribble",) in tests.project.sql("select text from notes")
    tests.project.dm("checkout", "master")
    assert len(failed_branches(tests.project)) == 3


@pytest.mark.slow
def test_what_a_failed_test_left_is_pushed_and_what_cannot_be_kept_hides_no_failure(tests: Tests, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    tests.write("def test_it(dm_stack):\n    scribble(dm_stack)\n    assert 0, 'why it fails'\n")
    done = tests.run(f"--dm-keep-failed-to={tmp_path}/remote:ci/shop")
    assert "1 failed" in outcome(done), done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "up --from" in line]
    assert f"--from {tmp_path}/remote:ci/shop@failed/" in line
    assert line.split("@")[1] in tests.project.dm("remote", "ls", f"{tmp_path}/remote").stdout
    nowhere = tests.run("--dm-keep-failed-to=nowhere")
    assert "1 failed" in outcome(nowhere)
    assert "why it fails" in nowhere.stdout
    assert "not pushed: there is no remote nowhere" in nowhere.stdout
    assert "dm-compose" in nowhere.stdout
    small = tests.run("--dm-keep-failed", "--dm-keep-failed-mib=0")
    assert "1 failed" in outcome(small)
    assert "not kept: its" in small.stdout


def test_keeping_a_failed_state_reaches_no_datastore_and_a_test_that_could_not_begin_is_not_kept(tests: Tests) -> None:
    tests.write(
        """
def test_fails_and_touches_one(dm_stack):
    sql(dm_stack, "insert into notes values ('scribble')")
    assert 0

@pytest.mark.dm("nosuch")
def test_cannot_begin(dm_stack):
    pass

def test_asks_for_what_is_not_there(dm_stack):
    dm_stack.address("bd", 5432)

def test_asks_for_a_port_that_is_not_there(dm_stack):
    dm_stack.address("db", 5433)
"""
    )
    done = tests.run("--dm-keep-failed", "--dm-report", "--dm-report-json=dm.json")
    assert "3 failed, 1 error" in outcome(done), done.stdout
    report = json.loads((tests.directory / "dm.json").read_text())
    cost = report["tests"][0]
    assert cost["touched"].keys() == cost["restarted"].keys() == {"db"}, cost
    assert "docker" not in cost["touched"]["db"]
    assert [kept["test"].partition("::")[2] for kept in report["kept"]] == [
        "test_fails_and_touches_one",
        "test_asks_for_what_is_not_there",
        "test_asks_for_a_port_that_is_not_there",
    ]
    told = [line for line in done.stdout.splitlines() if line.endswith("has no branch, tag or commit 'nosuch'")]
    assert told[:1] == [f"dm: dot {tests.project.name} has no branch, tag or commit 'nosuch'"], done.stdout
    assert all(line.startswith("ERROR ") for line in told[1:])  # in pytest's summary
    assert "During handling" not in done.stdout
    assert "dm_compose/" not in done.stdout
    assert "E       hint: The services are:" in done.stdout
    assert "db has no port 5433" in done.stdout
    assert "Its ports are: 5432." in done.stdout


@pytest.mark.slow
def test_while_the_debugger_is_open_the_state_stays_as_it_is(tests: Tests) -> None:
    tests.write(
        "def test_it(dm_stack):\n    scribble(dm_stack)\n    assert 0\n\ndef test_next(dm_stack):\n    assert is_seed(dm_stack)\n"
    )
    script = "p rows(dm_stack), cache(dm_stack).get('note')\nc\n"
    done = subprocess.run(
        tests.command("--pdb", "-p", "no:randomly"),
        input=script,
        cwd=tests.directory,
        env=tests.environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert "(['scribble', 'seed'], 'scribble')" in done.stdout, done.stdout
    assert "1 failed, 1 passed" in outcome(done)


# Wider scopes, more stacks, and other plugins


def test_a_scope_that_has_ended_takes_no_start_along_but_its_own(tests: Tests) -> None:
    """Scopes that begin at the same commit have a start each."""
    tests.write(
        """
class TestTogether:
    def test_it(self, dm_class_stack):
        assert is_seed(dm_class_stack)

def test_scribbles(dm_session_stack):
    cache(dm_session_stack).set("note", "of the session")
    dm_session_stack.start_here()

def test_starts_there(dm_stack):
    assert cache(dm_stack).get("note") == "of the session"
"""
    )
    (tests.directory / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture(scope='session', autouse=True)\ndef _first(dm_session_stack):\n    pass\n"
    )
    done = tests.run()
    assert "3 passed" in outcome(done), done.stdout


@pytest.mark.slow
def test_scopes_start_where_a_wider_one_has_put_them_and_another_stack_is_a_fixture_too(
    tests: Tests, cache_only: TestProject
) -> None:
    (tests.directory / "conftest.py").write_text(
        f"from pytest_dotmesh import stack_fixture\n"
        f"other = stack_fixture(file={str(cache_only.file)!r}, scope='module')\n"
        f"fresh_other = stack_fixture(file={str(cache_only.file)!r})\n"
    )
    tests.write(
        """
def other_note(stack):
    return redis.Redis(*stack.address("cache", 6379), decode_responses=True).get("note")

class TestTogether:
    def test_first(self, dm_class_stack):
        assert is_seed(dm_class_stack)
        cache(dm_class_stack).set("note", "of the class")

    def test_second(self, dm_class_stack):
        assert cache(dm_class_stack).get("note") == "of the class"
        dm_class_stack.start_here()

    def test_third(self, dm_stack):
        assert cache(dm_stack).get("note") == "of the class"
        cache(dm_stack).set("note", "of the test")

    def test_fourth(self, dm_stack):
        assert cache(dm_stack).get("note") == "of the class"

def test_after_the_class(dm_module_stack):
    assert is_seed(dm_module_stack)

def test_both(dm_stack, other):
    assert is_seed(dm_stack)
    assert other_note(other) == "seed" and other.project != dm_stack.project
    redis.Redis(*other.address("cache", 6379)).set("note", "of the module")
    scribble(dm_stack)

def test_both_again(dm_stack, other):
    assert is_seed(dm_stack)
    assert other_note(other) == "of the module"

def test_restored(fresh_other):
    assert other_note(fresh_other) == "seed"
"""
    )
    tests.project.command("dm-compose", "-f", str(cache_only.file), "-p", cache_only.name, "commit", "-m", "in the same store")
    done = tests.run("-p", "no:randomly", "--dm-report")
    assert "8 passed" in outcome(done), done.stdout
    assert f"({cache_only.name})" in done.stdout
    assert is_seed(tests.project)
    assert cache_only.redis().get("note") == "seed"


@pytest.mark.slow
def test_it_works_beside_asyncio_django_randomly_and_rerunfailures(tests: Tests) -> None:
    """And `-x` ends a run, and `--lf` begins one, at the seed."""
    (tests.directory / "settings.py").write_text(
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': 'postgres', 'USER': 'postgres',"
        " 'PASSWORD': 'webapp'}}\nUSE_TZ = True\nSECRET_KEY = 'x'\n"
    )
    (tests.directory / "conftest.py").write_text(
        """
import pytest
from django.db import connection, connections

@pytest.fixture
def django_on_stack(dm_stack, django_db_blocker):
    host, port = dm_stack.address("db", 5432)
    connections["default"].settings_dict.update(HOST=host, PORT=port)
    with django_db_blocker.unblock():
        yield connection
        connections.close_all()
"""
    )
    tests.write(
        """
import psycopg, redis.asyncio

tries = []

async def scribble_later(stack):
    assert is_seed(stack)
    client = redis.asyncio.Redis(host=stack.host("cache", 6379), port=stack.port("cache", 6379))
    await client.set("note", "scribble")
    await client.aclose()

@pytest.mark.asyncio
async def test_asyncio(dm_stack):
    await scribble_later(dm_stack)

@pytest.mark.parametrize("n", range(2))
def test_django(dm_stack, django_on_stack, n):
    with django_on_stack.cursor() as cursor:
        cursor.execute("select text from notes")
        assert cursor.fetchall() == [("seed",)]
        cursor.execute("insert into notes values ('scribble')")

@pytest.mark.flaky(reruns=2)
def test_flaky(dm_stack):
    assert is_seed(dm_stack)
    scribble(dm_stack)
    tries.append(1)
    assert len(tries) > 2
"""
    )
    done = tests.run("--ds=settings", "-p", "randomly", "-p", "cacheprovider", "--dm-keep-failed")
    assert "4 passed" in outcome(done), done.stdout
    assert "2 rerun" in outcome(done), done.stdout
    assert done.stdout.count("dm-compose") >= 2
    tests.write(
        "def test_fails(dm_stack):\n    scribble(dm_stack)\n    assert 0\n\n"
        "def test_next(dm_stack):\n    assert is_seed(dm_stack)\n"
    )
    assert "1 failed" in outcome(tests.run("-x", "-p", "no:randomly", "-p", "cacheprovider"))
    assert is_seed(tests.project)


@pytest.mark.slow
def test_it_works_beside_anyio_on_every_event_loop(tests: Tests) -> None:
    (tests.directory / "conftest.py").write_text(
        """
import anyio, pytest

@pytest.fixture
async def line(dm_stack):  # an async fixture over the stack, torn down before it is rolled back
    async with await anyio.connect_tcp(*dm_stack.address("cache", 6379)) as stream:
        yield stream
        await stream.send(b"SET note teardown\\r\\n")
        assert await stream.receive() == b"+OK\\r\\n"

@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
"""
    )
    tests.write(
        """
import anyio

async def scribble_later(stack):
    assert is_seed(stack)
    async with await anyio.connect_tcp(*stack.address("cache", 6379)) as stream:
        await stream.send(b"SET note scribble\\r\\n")
        assert await stream.receive() == b"+OK\\r\\n"

@pytest.mark.anyio
@pytest.mark.parametrize("n", range(2))
async def test_anyio(dm_stack, n, anyio_backend_name):
    await scribble_later(dm_stack)

@pytest.mark.anyio
@pytest.mark.dm
async def test_its_marker_and_an_async_fixture(line, dm_stack):
    await line.send(b"GET note\\r\\n")
    assert await line.receive() == b"$4\\r\\nseed\\r\\n"
    async with anyio.create_task_group() as tasks:
        for n in range(3):
            tasks.start_soon(scribble_by_thread, dm_stack, n)

async def scribble_by_thread(stack, n):
    await anyio.to_thread.run_sync(sql, stack, f"insert into notes values ('{n}')")

def test_without(dm_stack):
    assert is_seed(dm_stack)
"""
    )
    done = tests.run("-p", "no:asyncio", "-v")
    assert "7 passed" in outcome(done), done.stdout
    assert done.stdout.count("[trio") == 3, done.stdout
    assert is_seed(tests.project)
