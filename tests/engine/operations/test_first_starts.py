"""A commit waits for datastores that are starting, above all for those that make their data at this very moment."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pymysql
import pytest
import yaml

from dm_compose.engine import Engine
from dm_compose.errors import NotReadyError
from dm_compose.live.observe import make_member
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from tests.support.projects import EXAMPLES, TestProject, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

NewProject = Callable[[Mapping[str, Any]], TestProject]
NOT_READY = 10
ROWS = 1000
SCRIPT_S = 4


def started_by(new_project: NewProject, service: dict[str, Any], script: str) -> TestProject:
    """Return a project whose datastore runs `script` at its first start."""
    project = new_project({})
    file = project.directory / "init.sql"
    file.write_text(script)
    volumes = [*service.get("volumes", ()), f"{file}:/docker-entrypoint-initdb.d/init.sql:ro"]
    project.write({"services": {"db": {**service, "pull_policy": "never", "volumes": volumes}}, "volumes": {"data": {}}})
    return project


def postgres(new_project: NewProject, **more: Any) -> TestProject:
    """Return a project with a Postgres whose first start makes `p` when `go_on` says so."""
    wait = "\\! until [ -e /tmp/go ]; do sleep 0.1; done"
    service = {
        "image": "dm-example/postgres:15",
        "environment": {"POSTGRES_PASSWORD": "webapp"},
        "volumes": ["data:/var/lib/postgresql/data"],
        **more,
    }
    script = f"create table early (n int);\n{wait}\ncreate table p as select generate_series(1, {ROWS}) n;"
    return started_by(new_project, service, script)


def go_on(project: TestProject) -> None:
    project.compose("exec", "-T", "db", "touch", "/tmp/go")


def while_it_starts(project: TestProject, *words: str) -> str:
    """Run dm-compose, and let the first start go on when it waits for that. Return what it says."""
    command = ["dm-compose", "-f", str(project.file), "-p", project.name, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **project.environment}) as child:
        assert child.stderr is not None
        said = ""
        for line in child.stderr:
            said += line
            if "db: waiting for an answer" in line:
                go_on(project)
    assert child.returncode == 0, said
    return said


def mariadb(new_project: NewProject) -> TestProject:
    script = f"create table early (n int); select sleep({SCRIPT_S}); create table p (n int); insert into p values (1);"
    service = {
        "image": "dm-example/mariadb:10.11",
        "environment": {"MARIADB_ROOT_PASSWORD": "webapp", "MARIADB_DATABASE": "shop"},
        "volumes": ["data:/var/lib/mysql"],
    }
    return started_by(new_project, service, script)


def maria(project: TestProject, statement: str) -> Any:
    host = project.address("db")
    with (
        pymysql.connect(host=host, user="root", password="webapp", database="shop", autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return cursor.fetchall()


def test_a_commit_right_after_up_has_what_postgres_makes_at_its_first_start(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    assert "docker-entrypoint.sh runs" in while_it_starts(project, "commit", "-m", "seed")
    project.sql("drop table p")
    project.dm("reset", "--hard", "--timeout", "20")
    assert project.sql("select count(*) from p") == [(ROWS,)]


def test_a_commit_right_after_up_has_what_mariadb_makes_at_its_first_start(new_project: NewProject) -> None:
    project = mariadb(new_project)
    project.dm("up", "-d")
    project.dm("commit", "-m", "seed")
    eventually(lambda: maria(project, "drop table p") is not None, "the end of the script")
    project.dm("reset", "--hard", "--timeout", "20")
    assert maria(project, "select n from p") == ((1,),)


def test_a_commit_waits_for_a_health_check_that_is_starting(new_project: NewProject) -> None:
    healthcheck = {"test": ["CMD-SHELL", "redis-cli get note | grep -q seed"], "interval": "1s", "start_period": "60s"}
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never", "healthcheck": healthcheck}
    project = new_project({"services": {"cache": cache}})
    project.dm("up", "-d")
    project.wait_ready()
    later = threading.Timer(3, lambda: project.redis().set("note", "seed"))
    later.start()
    project.dm("commit", "-m", "seed")
    later.join()
    project.redis().set("note", "other")
    project.dm("reset", "--hard")
    assert project.redis().get("note") == "seed"


def test_a_commit_is_refused_when_a_datastore_does_not_answer_in_time(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    refused = project.dm("commit", "-m", "seed", "--timeout", "2", "--json", check=False)
    assert refused.returncode == NOT_READY
    error = json.loads(refused.stdout)["error"]
    assert error["kind"] == "not_ready"
    assert error["message"].startswith("db ")
    assert "--unready" in error["hint"]
    assert project.json("log") == []


def test_a_commit_of_an_unready_datastore_says_so_for_ever(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    made = project.json("commit", "-m", "half", "--unready")
    assert list(made["unready"]) == ["db"]
    assert project.json("log")[0]["unready"] == made["unready"]
    assert "unready: db" in project.dm("log").stdout
    reset = project.dm("reset", "--hard", "--timeout", "3", check=False)
    assert f"commit {made['id'][:12]} was made while db was not ready" in reset.stderr


def test_a_datastore_that_is_down_is_waited_for_by_nobody(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    project.compose("kill")
    assert project.json("commit", "-m", "down", "--stop", "--timeout", "1")["unready"] == {}


def test_a_reset_that_keeps_a_half_made_state_aside_does_not_wait_for_it(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("create")
    seed = project.json("commit", "-m", "nothing yet")["id"]
    project.dm("up", "-d")
    done = project.dm("reset", "--hard", seed[:12], "--timeout", "2", check=False)
    assert "put back" in done.stderr


def test_a_server_of_the_first_start_that_listens_on_the_port_is_not_ready(new_project: NewProject) -> None:
    project = postgres(new_project, entrypoint=["/first/docker-entrypoint.sh"], command=["postgres"])
    script = (EXAMPLES / "images/postgres/entrypoint.sh").read_text()
    assert "listen_addresses=''" in script
    entrypoint = project.directory / "docker-entrypoint.sh"
    entrypoint.write_text(script.replace("listen_addresses=''", "listen_addresses='*'"))
    entrypoint.chmod(0o755)
    document = yaml.safe_load(project.file.read_text())
    document["services"]["db"]["volumes"].append(f"{entrypoint}:/first/docker-entrypoint.sh:ro")
    project.write(document)
    project.dm("up", "-d")
    eventually(lambda: project.sql("select 1"), "the first start's own server")
    assert "docker-entrypoint.sh runs" in while_it_starts(project, "commit", "-m", "seed")
    project.sql("drop table p")
    project.dm("reset", "--hard")
    assert project.sql("select count(*) from p") == [(ROWS,)]


def hba(project: TestProject, *rules: str) -> None:
    """Have the running Postgres take these rules, and those for its own host, which `initdb` writes."""
    lines = ["local all all trust", "host all all 127.0.0.1/32 trust", "host all all ::1/128 trust", *rules]
    script = 'printf "%s\\n" "$@" > "$PGDATA/pg_hba.conf" && psql -U postgres -qc "select pg_reload_conf()"'
    project.compose("exec", "-T", "-u", "postgres", "db", "sh", "-c", script, "sh", *lines)


def test_a_postgres_that_lets_only_others_in_is_ready_and_one_that_lets_nobody_in_is_not(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    while_it_starts(project, "up", "-d", "--wait")
    hba(project, "host all all 10.255.255.254/32 trust")
    project.dm("commit", "-m", "seed")
    hba(project)
    with pytest.raises(NotReadyError, match="it is not set up"):
        project.stack().commit("half made", {}, timeout_s=3)
    waiting = [event for event in project.events if event.what == "waiting"]
    assert (waiting[0].text, waiting[0].done, waiting[0].unit) == ("db", 1, "s")
    assert waiting[0].total in (2, 3), "the seconds that the first look has left"
    for_good = project.dm("commit", "-m", "half made", "--timeout", "3600", check=False)
    assert for_good.returncode == NOT_READY
    assert "db answers, and turns everybody away" in for_good.stderr
    assert "go to another commit, or remove its volume" in for_good.stderr
    tail = for_good.stderr.partition("last lines of its log:")[2]
    assert tail.strip()
    assert "dm_ready" not in tail


def test_up_with_wait_returns_when_the_first_start_has_ended(new_project: NewProject) -> None:
    project = postgres(new_project)
    while_it_starts(project, "up", "-d", "--wait")
    assert project.sql("select count(*) from p") == [(ROWS,)]


@pytest.mark.parametrize("healthy", [True, False], ids=["without-a-health-check", "with-one-that-fails"])
def test_up_with_wait_fails_when_its_time_is_over(new_project: NewProject, healthy: bool) -> None:
    more = {} if healthy else {"healthcheck": {"test": ["CMD", "false"], "interval": "1s", "start_period": "60s"}}
    project = postgres(new_project, **more)
    done = project.dm("up", "-d", "--wait", "--wait-timeout", "3", check=False)
    assert done.returncode == NOT_READY
    assert "db " in done.stderr


def test_a_container_that_ends_while_its_health_is_asked_is_not_ready(new_project: NewProject) -> None:
    command = "if [ -e /data/die ]; then echo dying >&2; sleep 1; exit 3; fi; exec sleep infinity"
    app = {
        "image": "dm-example/python",
        "pull_policy": "never",
        "init": True,
        "command": ["sh", "-c", command],
        "volumes": ["files:/data"],
        "healthcheck": {"test": ["CMD", "test", "!", "-e", "/data/die"], "interval": "1s"},
    }
    project = new_project({"services": {"app": app}, "volumes": {"files": {}}})
    project.dm("up", "-d")
    eventually(lambda: project.container("app")["State"]["Health"]["Status"] == "healthy", "its health")
    project.compose("exec", "-T", "app", "touch", "/data/die")
    project.dm("commit", "-m", "deadly")
    project.compose("exec", "-T", "app", "rm", "/data/die")
    done = project.dm("reset", "--hard", "--timeout", "10", check=False)
    assert (done.returncode, "dying" in done.stderr) == (NOT_READY, True)


def test_a_test_run_begins_when_the_first_start_has_ended_and_gives_back_what_that_made(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    while_it_starts(project, "commit", "-m", "seed")
    project.compose("down", "-v")
    project.dm("up", "-d")
    later = threading.Timer(3, lambda: go_on(project))
    later.start()
    with own_stack(project.stack(), SessionOptions()):
        later.join()
        project.sql("drop table p")
    assert any(event.what == "await" and "docker-entrypoint.sh" in event.text for event in project.events)
    assert project.sql("select count(*) from p") == [(ROWS,)]


def test_dm_waits_for_the_containers_of_a_dot_without_its_compose_file(new_project: NewProject) -> None:
    project = postgres(new_project)
    project.dm("up", "-d")
    project.dm("commit", "-m", "half made", "--unready")
    refused = project.command("dm", "--dot", project.name, "commit", "-m", "seed", "--timeout", "1", check=False)
    assert refused.returncode == NOT_READY
    assert "docker-entrypoint.sh runs" in refused.stderr
    go_on(project)
    project.command("dm", "--dot", project.name, "commit", "-m", "seed")
    assert list(project.json("log")[0]["unready"]) == []
    assert "unready: db" in project.command("dm", "--dot", project.name, "log").stdout


def test_a_health_command_that_hangs_ends_the_wait_when_its_time_is_over(new_project: NewProject) -> None:
    app = {
        "image": "dm-example/python",
        "pull_policy": "never",
        "init": True,
        "command": ["sleep", "infinity"],
        "volumes": ["files:/data"],
        "healthcheck": {"test": ["CMD-SHELL", "[ ! -e /data/hang ] || sleep 600"], "interval": "600s"},
    }
    project = new_project({"services": {"app": app}, "volumes": {"files": {}}})
    project.dm("up", "-d")
    project.compose("exec", "-T", "app", "touch", "/data/hang")
    project.dm("commit", "-m", "it hangs", "--unready")
    project.compose("exec", "-T", "app", "rm", "/data/hang")
    began = time.monotonic()
    done = project.dm("reset", "--hard", "--timeout", "3", check=False)
    assert done.returncode == NOT_READY
    assert time.monotonic() - began < 60


def test_a_client_in_a_datastores_image_is_not_asked_whether_the_datastore_answers(new_project: NewProject) -> None:
    image = {"image": "dm-example/postgres:15", "pull_policy": "never", "environment": {"POSTGRES_PASSWORD": "webapp"}}
    project = new_project({"services": {"db": image, "shell": {**image, "init": True, "command": ["sleep", "infinity"]}}})
    project.dm("up", "-d")
    with contextlib.closing(Engine()) as engine:
        found = {c.service: make_member(engine, c, {}).datastore for c in engine.containers(project.name)}
    assert {service: datastore and datastore.name for service, datastore in found.items()} == {"db": "postgres", "shell": None}
