"""Before a commit every datastore is brought to write what it has acknowledged."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from dm_compose.datastores import Datastore, ServiceFacts
from dm_compose.datastores.builtin import cassandra, clickhouse, elasticsearch, localstack, victoriametrics
from dm_compose.datastores.registry import registry
from dm_compose.errors import DmError
from tests.support.answering import ALL, run_by, serving


@dataclasses.dataclass
class FakeRunning:
    """A datastore that runs on 127.0.0.1; commands in its container end with `code`."""

    service: ServiceFacts
    port: int = 0
    host: str = "127.0.0.1"
    code: int = 0
    commands: list[Sequence[str]] = dataclasses.field(default_factory=list)

    def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        self.commands.append(command)
        return self.code, "nodetool: Connection refused"


class Recorder:
    """An HTTP server that remembers its requests and answers them from a table of targets."""

    def __init__(self, pages: Mapping[str, tuple[int, str]]) -> None:
        self.requests: list[bytes] = []
        self._pages = pages

    def __call__(self, connection: socket.socket) -> None:
        request = connection.recv(4096)
        self.requests.append(request)
        status, body = self._pages.get(request.split(b" ")[1].decode(), (404, ""))
        connection.sendall(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def _quiesce(datastore: Datastore, running: FakeRunning) -> None:
    assert datastore.quiesce is not None
    assert datastore.quiesce(running) is None


@pytest.mark.parametrize(
    ("environment", "login"),
    [
        ({}, b""),
        ({"ELASTIC_PASSWORD": "changeme"}, b"Authorization: Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="),
        ({"OPENSEARCH_INITIAL_ADMIN_PASSWORD": "x"}, b"Authorization: Basic YWRtaW46eA=="),
    ],
    ids=["without login", "elastic", "admin"],
)
def test_elasticsearch_is_told_to_flush_with_the_login_that_its_settings_have(environment: dict[str, str], login: bytes) -> None:
    server = Recorder({"/_flush": (200, "{}")})
    with serving(server) as port:
        _quiesce(ALL["elasticsearch"], FakeRunning(run_by("elasticsearch:8.17.0", environment), port))
    assert server.requests[0].startswith(b"POST /_flush HTTP/1.1\r\n")
    assert login in server.requests[0]
    assert (b"Authorization" in server.requests[0]) == bool(login)


@pytest.mark.parametrize("status", [401, 403, 503])
@pytest.mark.parametrize("name", ["elasticsearch", "opensearch", "clickhouse"])
def test_a_best_effort_flush_that_is_refused_does_not_fail_the_commit(name: str, status: int) -> None:
    with serving(Recorder({"/_flush": (status, "no"), "/": (status, "no")})) as port:
        _quiesce(ALL[name], FakeRunning(run_by(name), port))


@pytest.mark.parametrize("flush", [elasticsearch.flush, clickhouse.flush_inserts], ids=["elasticsearch", "clickhouse"])
def test_a_best_effort_flush_of_a_server_that_is_gone_does_not_fail_the_commit(flush: Callable[[FakeRunning], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    flush(FakeRunning(run_by("x"), port))


def test_clickhouse_is_told_to_write_asynchronous_inserts_as_the_user_of_its_settings() -> None:
    server = Recorder({"/": (200, "")})
    service = run_by("clickhouse:24.8", {"CLICKHOUSE_USER": "shop", "CLICKHOUSE_PASSWORD": "secret"})
    with serving(server) as port:
        _quiesce(ALL["clickhouse"], FakeRunning(service, port))
    (request,) = server.requests
    assert b"X-ClickHouse-User: shop\r\n" in request
    assert b"X-ClickHouse-Key: secret\r\n" in request
    assert request.endswith(b"\r\n\r\nSYSTEM FLUSH ASYNC INSERT QUEUE")


@pytest.mark.parametrize("name", ["cassandra", "scylla"])
def test_cassandra_and_scylla_flush_their_memtables_with_nodetool(name: str) -> None:
    running = FakeRunning(run_by(name))
    _quiesce(ALL[name], running)
    assert running.commands == [["nodetool", "flush"]]


def test_a_cassandra_that_cannot_be_flushed_fails_the_commit_and_says_why() -> None:
    with pytest.raises(DmError, match=r"memtables.*Connection refused"):
        cassandra.flush(FakeRunning(run_by("cassandra:5"), code=1))


@pytest.mark.parametrize("name", ["victoriametrics", "vmstorage"])
def test_victoriametrics_writes_its_data_by_a_snapshot_that_is_deleted_again(name: str) -> None:
    pages = {
        "/snapshot/create?authKey=k": (200, '{"status":"ok","snapshot":"20251122120000-17A0B1"}'),
        "/snapshot/delete?authKey=k&snapshot=20251122120000-17A0B1": (200, '{"status":"ok"}'),
    }
    server = Recorder(pages)
    with serving(server) as port:
        _quiesce(ALL[name], FakeRunning(run_by(name, command="-snapshotAuthKey=k"), port))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "pages",
    [
        {},
        {"/snapshot/create?authKey=": (401, "")},
        {"/snapshot/create?authKey=": (200, '{"status":"error","msg":"no"}')},
        {"/snapshot/create?authKey=": (200, '{"snapshot":"1-A"}'), "/snapshot/delete?authKey=&snapshot=1-A": (500, "")},
    ],
    ids=["unknown", "refused", "failed", "not deleted"],
)
def test_a_victoriametrics_that_cannot_write_its_data_fails_the_commit(pages: dict[str, tuple[int, str]]) -> None:
    with serving(Recorder(pages)) as port, pytest.raises(DmError, match="could not be told to write its data"):
        victoriametrics.flush(FakeRunning(run_by("victoria-metrics"), port))


PERSISTENT = run_by("localstack/localstack-pro:4", {"PERSISTENCE": "1"})


@pytest.mark.parametrize("page", [(200, '{"service": "s3", "status": "ok"}'), (404, "")], ids=["saved", "community edition"])
def test_localstack_is_told_to_save_its_state(page: tuple[int, str]) -> None:
    server = Recorder({"/_localstack/state/save": page})
    with serving(server) as port:
        localstack.save(FakeRunning(PERSISTENT, port))
    assert server.requests[0].startswith(b"POST /_localstack/state/save HTTP/1.1\r\n")


@pytest.mark.parametrize("page", [(500, "boom"), (200, '{"service": "s3", "status": "error"}')], ids=["500", "one service"])
def test_a_localstack_that_cannot_save_its_state_fails_the_commit(page: tuple[int, str]) -> None:
    with serving(Recorder({"/_localstack/state/save": page})) as port, pytest.raises(DmError, match="could not be told to save"):
        localstack.save(FakeRunning(PERSISTENT, port))


def test_a_localstack_without_persistence_is_not_asked_to_save() -> None:
    localstack.save(FakeRunning(run_by("localstack/localstack:4")))


@pytest.mark.parametrize(
    ("service", "waits"),
    [
        (run_by("nats:2"), False),
        (run_by("nats:2", command="-js"), True),
        (run_by("surrealdb/surrealdb:v2", command="start"), False),
        (run_by("surrealdb/surrealdb:v2", command="start rocksdb:/data/db"), True),
        (run_by("redpandadata/redpanda:v24.3.1"), True),
    ],
    ids=["nats", "nats with JetStream", "surrealdb in memory", "surrealdb on disk", "redpanda"],
)
def test_a_server_that_flushes_by_itself_is_given_the_time_for_it(
    service: ServiceFacts, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    found = registry().find(service)
    assert found is not None
    _quiesce(found, FakeRunning(service))
    assert bool(waited) is waits
    assert all(0.1 < seconds < 1 for seconds in waited)


SHELL = """#!/bin/sh
for pid in $$ $PPID; do cat /proc/$pid/cmdline >> "$SEEN"; done
cat >> "$STATEMENTS"
"""


def test_a_mongo_that_wants_a_login_gets_its_password_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own shell is stood in for by one that notes its command line, its parent's, and its input."""
    (tmp_path / "mongosh").write_text(SHELL)
    (tmp_path / "mongosh").chmod(0o755)
    seen, statements = tmp_path / "seen", tmp_path / "statements"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.setenv("STATEMENTS", str(statements))
    secret = 'it\'s "$HOME" \\ `id` %s'
    environment = {"MONGO_INITDB_ROOT_USERNAME": "root", "MONGO_INITDB_ROOT_PASSWORD": secret}

    class Here(FakeRunning):
        def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
            done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)

    with serving(refuse) as port:
        _quiesce(ALL["mongo"], Here(run_by("mongo:7", environment), port))
    words = seen.read_text().split("\0")
    assert {"sh", "-c", "--quiet"} <= set(words)
    assert not [word for word in words if "it's" in word]
    (statement,) = statements.read_text().splitlines()
    assert f'd.auth("root", {json.dumps(secret)});' in statement
    assert "fsync: 1" in statement


@pytest.mark.parametrize(
    ("name", "command"),
    [("cassandra", ""), ("mariadb", "--innodb-flush-log-at-trx-commit=0"), ("postgres", "-c synchronous_commit=off")],
)
def test_no_other_password_is_on_a_command_line_either(name: str, command: str) -> None:
    names = ("MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD", "POSTGRES_PASSWORD", "CASSANDRA_PASSWORD")
    running = FakeRunning(run_by("x:1", dict.fromkeys(names, "hunter2"), command))
    _quiesce(ALL[name], running)
    assert running.commands
    assert "hunter2" not in str(running.commands)
