"""`--dm-durability off`: engines in a run's own containers do not wait for the disk, the user's do, and no test notices."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial

import pymysql
import pytest

from tests.engine.pytest_dotmesh.test_plugin import Tests, outcome
from tests.support.projects import Run, TestProject, eventually, example, project_in

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

MARIA = {
    "image": "dm-example/mariadb:10.11",
    "pull_policy": "never",
    "environment": {"MYSQL_ROOT_PASSWORD": "fake_password", "MYSQL_DATABASE": "socksdb"},
    "command": "--sync-binlog=1 --innodb-buffer-pool-size=64M",
    "volumes": ["maria-data:/var/lib/mysql"],
}
TESTS = """
import pymysql, psycopg

def maria(stack, statement):
    host, port = stack.address("maria", 3306)
    with pymysql.connect(
        host=host, port=port, user="root", password="fake_password", database="socksdb", autocommit=True
    ) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()

def postgres(stack, name):
    host, port = stack.address("db", 5432)
    with psycopg.connect(host=host, port=port, user="postgres", password="webapp") as connection:
        return connection.execute(f"show {name}").fetchone()[0]

def settings(stack):
    return (
        [postgres(stack, name) for name in ("fsync", "synchronous_commit", "full_page_writes")],
        maria(stack, "select @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@innodb_doublewrite")[0],
        cache(stack).config_get("appendfsync")["appendfsync"],
    )

FULL = (["on", "on", "on"], (1, 1, 1), "everysec")
OFF = (["off", "on", "on"], (2, 0, 1), "no")

def all_are_seed(stack):
    return is_seed(stack) and maria(stack, "select text from notes") == (("seed",),)

def scribble_all(stack):
    scribble(stack)
    maria(stack, "insert into notes values ('scribble')")

def test_scribbles(dm_stack):
    assert settings(dm_stack) == WANTED
    assert all_are_seed(dm_stack)
    scribble_all(dm_stack)

def test_sees_the_seed(dm_stack):
    assert settings(dm_stack) == WANTED
    assert all_are_seed(dm_stack)

def test_a_commit_has_what_was_acknowledged(dm_stack):
    scribble_all(dm_stack)
    scribbled = dm_stack.commit("scribbled")
    dm_stack.reset()
    assert all_are_seed(dm_stack)
    dm_stack.reset(scribbled)
    assert rows(dm_stack) == ["scribble", "seed"]
    assert sorted(maria(dm_stack, "select text from notes")) == [("scribble",), ("seed",)]
    assert cache(dm_stack).get("note") == "scribble"
"""


@pytest.fixture(scope="module")
def three(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestProject]:
    """Postgres, Redis and MariaDB with one row or key each as the commit `seed`; down."""
    document = example("webapp/compose.yaml")
    document["services"]["maria"] = MARIA
    document["volumes"]["maria-data"] = None
    for project in project_in(tmp_path_factory.mktemp("three"), run, "three", document):
        project.dm("up", "-d")
        project.wait_ready()
        project.sql("create table notes (text text)")
        project.sql("insert into notes values ('seed')")
        project.redis().set("note", "seed")
        eventually(partial(maria, project, "select 1"), "mariadb", timeout_s=90)
        maria(project, "create table notes (text varchar(20)) engine=innodb")
        maria(project, "insert into notes values ('seed')")
        project.seed = project.json("commit", "-m", "seed")["id"]
        project.dm("down")
        yield project


def maria(project: TestProject, statement: str) -> object:
    host = project.address("maria")
    connection = pymysql.connect(host=host, user="root", password="fake_password", database="socksdb", autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


OFF = "--dm-durability=off"


@pytest.fixture(scope="module")
def tests(three: TestProject, tmp_path_factory: pytest.TempPathFactory) -> Tests:
    return Tests(three, tmp_path_factory.mktemp("run") / "tests")


def test_engines_in_containers_of_the_run_do_not_wait_for_the_disk_only_if_that_is_asked_for(tests: Tests) -> None:
    tests.write(TESTS.replace("WANTED", "OFF"))
    done = tests.run(OFF)
    assert "3 passed" in outcome(done), done.stdout
    assert "dm: durability: off for cache, db, maria" in done.stdout
    tests.write(TESTS.replace("WANTED", "FULL"))
    done = tests.run("-k", "test_sees")
    assert "1 passed" in outcome(done), done.stdout
    assert "dm: durability" not in done.stdout


def test_no_stack_of_the_users_is_like_that_not_after_a_killed_run_nor_beside_a_clone(tests: Tests, three: TestProject) -> None:
    tests.write("def test_hangs(dm_stack):\n    print('hangs', flush=True)\n    import time\n    time.sleep(600)\n")
    child = tests.start("-s", OFF)
    assert child.stdout is not None
    eventually(lambda: child.poll() is not None or "hangs" in child.stdout.readline(), "the test to begin", timeout_s=90)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    assert three.sql("show fsync") == [("off",)]
    three.dm("up", "-d")  # now it is the user's
    three.wait_ready()
    assert three.sql("show fsync") == [("on",)]

    tests.write(TESTS.replace("WANTED", "FULL"))
    done = tests.run(OFF, "-k", "test_sees")
    assert "1 passed" in outcome(done), done.stdout
    assert "off for none; unchanged for cache, db, maria (its container was there before the run)" in done.stdout

    tests.write(TESTS.replace("WANTED", "OFF"))
    done = tests.run(OFF, "--dm-spares=1", "-k", "test_s")
    assert "2 passed" in outcome(done), done.stdout
    assert done.stdout.count("dm: durability: off for cache, db, maria") == 1
    assert three.sql("show fsync") == [("on",)]
