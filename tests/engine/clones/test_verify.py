"""`commit --verify` tells whether a stack can start from a commit, and what the datastores' own checkers say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.projects import TestProject

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

NewProject = Callable[[Mapping[str, Any]], TestProject]
NOT_READY = 10
MARIADB = {
    "image": "dm-example/mariadb:10.11",
    "pull_policy": "never",
    "environment": {"MARIADB_ROOT_PASSWORD": "webapp", "MARIADB_DATABASE": "shop"},
}
REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}


def inside(project: TestProject, service: str, script: str) -> None:
    project.compose("exec", "-T", service, "sh", "-ec", script)


def verified(project: TestProject, *words: str) -> Any:
    return project.json("log", *words)[0]["verified"]


def refused(project: TestProject) -> str:
    """Make a commit that is not sound, see that it is there and noted, and return what the command said."""
    done = project.dm("commit", "-m", "not sound", "--verify", check=False)
    assert done.returncode == NOT_READY
    assert verified(project)["sound"] is False
    assert "NOT SOUND" in project.dm("log").stdout
    return done.stderr


def test_a_sound_commit_is_noted_as_sound_and_its_stack_is_left_alone(webapp: TestProject) -> None:
    before = webapp.started_at("db"), webapp.started_at("cache")
    webapp.redis().set("note", "verified")
    made = webapp.json("commit", "-m", "sound", "--verify")
    assert made["verified"]["sound"] is True
    assert made["verified"]["findings"] == {
        "cache": "answers; redis-check-rdb and redis-check-aof finds nothing wrong",
        "db": "answers; pg_amcheck finds nothing wrong",
    }
    assert verified(webapp) == made["verified"]
    assert "verified: " in webapp.dm("log").stdout
    assert "NOT SOUND" not in webapp.dm("log").stdout
    webapp.dm("commit", "-m", "not verified")
    assert verified(webapp) is None
    assert (webapp.started_at("db"), webapp.started_at("cache")) == before


def test_a_damaged_table_of_postgres_is_found(webapp: TestProject) -> None:
    webapp.sql("create table damaged as select generate_series(1, 5000) n")
    ((path,),) = webapp.sql("select pg_relation_filepath('damaged')")
    webapp.sql("checkpoint")
    inside(webapp, "db", f'head -c 64 /dev/urandom | dd of="$PGDATA/{path}" bs=1 seek=40 conv=notrunc')
    assert "db: pg_amcheck" in refused(webapp)
    webapp.dm("reset", "--hard", webapp.seed)
    done = webapp.dm("reset", "--hard", webapp.json("reflog")[0]["old"], check=False)
    assert "was verified, and db is not sound" in done.stderr
    webapp.dm("reset", "--hard", webapp.seed)


def test_a_commit_from_which_a_datastore_does_not_start_is_found(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d", "--wait")
    project.redis().set("note", "seed")
    project.redis().save()
    inside(project, "cache", "head -c 100 /dev/urandom > /data/dump.rdb")
    assert "cache: cache is " in refused(project)


def test_check_table_is_run_in_mariadb_and_finds_a_damaged_table(new_project: NewProject) -> None:
    project = new_project({"services": {"db": {**MARIADB, "volumes": ["data:/var/lib/mysql"]}}, "volumes": {"data": {}}})
    project.dm("up", "-d", "--wait")
    rows = "insert into t select seq, repeat('x', 50) from seq_1_to_2000"
    create = f"create table t (n int primary key, note char(50)) engine=myisam; {rows}; flush tables"
    inside(project, "db", f'mariadb -uroot -pwebapp shop -e "{create}"')
    made = project.json("commit", "-m", "sound", "--verify")
    assert made["verified"]["findings"] == {"db": "answers; CHECK TABLE finds nothing wrong"}
    inside(project, "db", "dd if=/dev/urandom of=/var/lib/mysql/shop/t.MYD bs=1000 count=10 seek=5 conv=notrunc")
    assert "db: CHECK TABLE" in refused(project)


def test_a_stack_without_a_datastore_cannot_be_verified(new_project: NewProject) -> None:
    app = {
        "image": "dm-example/python",
        "pull_policy": "never",
        "init": True,
        "command": ["sleep", "infinity"],
        "volumes": ["files:/data"],
    }
    project = new_project({"services": {"app": app}, "volumes": {"files": {}}})
    project.dm("up", "-d")
    done = project.dm("commit", "-m", "x", "--verify", "--json", check=False)
    assert json.loads(done.stdout)["error"]["kind"] == "usage"
    assert project.json("log") == []
