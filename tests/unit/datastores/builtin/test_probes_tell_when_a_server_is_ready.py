"""A probe says yes to a server that works, and no to one that is not ready yet."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence

import pytest

from dm_compose.datastores.base import NotSetUpError
from tests.support.answering import ALL, Handler, answer, probe_of, serving, talking, web


def _postgres_error(code: str, routine: str = "InitializeSessionUserId") -> bytes:
    fields = b"SFATAL\0C" + code.encode() + b"\0Mthe database system is starting up\0R" + routine.encode() + b"\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


TURNED_AWAY = _postgres_error("28000", "ClientAuthentication")  # no pg_hba.conf entry
NO_ACCOUNT = b"\xff\x6a\x04Host '172.17.0.1' is not allowed to connect to this MariaDB server"


def _postgres(reply: bytes) -> Handler:
    def check(request: bytes) -> bytes:
        length, version = struct.unpack("!ii", request[:8])
        assert (length, version >> 16) == (len(request), 3)
        return reply

    return talking(check)


def _packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def _maria(payload: bytes) -> Handler:
    return talking(lambda request: b"", greeting=_packet(payload))


def _mongo(**fields: bool) -> Handler:
    elements = b"".join(
        b"\x02setName\0\x04\0\0\0rs0\0" if name == "setName" else b"\x08" + name.encode() + b"\0" + bytes([value])
        for name, value in fields.items()
        if name != "ok"
    )
    ok = b"\x01ok\0" + struct.pack("<d", 1.0 if fields["ok"] else 0.0)
    document = elements + ok
    document = struct.pack("<i", len(document) + 5) + document + b"\0"

    def reply(request: bytes) -> bytes:
        length, _, _, opcode = struct.unpack("<iiii", request[:16])
        assert (length, opcode) == (len(request), 2013)
        assert b"\x10hello\0" in request
        body = struct.pack("<i", 0) + b"\0" + document
        return struct.pack("<iiii", len(body) + 16, 7, 1, 2013) + body

    return talking(reply)


def _cql(opcode: int, body: bytes = b"") -> Handler:
    def reply(request: bytes) -> bytes:
        version, _, stream, asked, length = struct.unpack("!BBhBi", request)
        assert (version, asked, length) == (4, 5, 0)
        return struct.pack("!BBhBi", 0x84, 0, stream, opcode, len(body)) + body

    return talking(reply)


SUPPORTED = b"\0\x01\0\x0bCQL_VERSION\0\x01\0\x053.4.7"


def _kafka(error: int) -> Handler:
    def reply(request: bytes) -> bytes:
        length, key, version, correlation, client = struct.unpack("!ihhih", request[:14])
        assert (length, key, version, client) == (len(request) - 4, 18, 0, len(request) - 14)
        body = struct.pack("!ihi", correlation, error, 1) + struct.pack("!hhh", 18, 0, 3)
        return struct.pack("!i", len(body)) + body

    return talking(reply)


def _bolt(version: bytes) -> Handler:
    def reply(request: bytes) -> bytes:
        assert request[:4] == b"\x60\x60\xb0\x17"
        assert len(request) == 20
        return version

    return talking(reply)


def _tds(kind: int) -> Handler:
    def reply(request: bytes) -> bytes:
        packet, status, length = struct.unpack("!BBH", request[:4])
        assert (packet, status, length) == (0x12, 1, len(request))
        options = struct.pack("!BHHBHH", 0, 11, 6, 1, 17, 1) + b"\xff"
        assert request[8:19] == options
        payload = options + b"\x10\x00\x10\x55\0\0" + b"\x02"
        return struct.pack("!BBHHBB", kind, 1, len(payload) + 8, 0, 1, 0) + payload

    return talking(reply)


def _tns(**services: int) -> Handler:
    """A listener: packet types by service name, REFUSE for all that it does not know. `default` is the default service."""

    def reply(request: bytes) -> bytes:
        length, _, kind = struct.unpack("!HHB", request[:5])
        wanted, offset = struct.unpack("!HH", request[24:28])
        assert (length, kind, offset) == (len(request), 1, 58)
        text = request[offset : offset + wanted].decode()
        name = text.partition("(SERVICE_NAME=")[2].partition(")")[0] or "default"
        if (answered := services.get(name)) is not None:
            return struct.pack("!HHBBH", 8, 0, answered, 0, 0)
        body = b"\x22\0\0\x59(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR=12514)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))"
        return struct.pack("!HHBBH", len(body) + 8, 0, 4, 0, 0) + body

    return talking(reply)


def _openwire(request: bytes) -> bytes:
    length = struct.unpack("!i", request[:4])[0]
    assert length == len(request) - 4
    assert request[4:13] == b"\x01ActiveMQ"
    info = b"\x01ActiveMQ" + struct.pack("!i?", 12, False)
    return struct.pack("!i", len(info)) + info


def _pulsar(command: bytes) -> Handler:
    def reply(request: bytes) -> bytes:
        total, size = struct.unpack("!ii", request[:8])
        assert (total, size) == (len(request) - 4, len(request) - 8)
        assert request[8:11] == b"\x08\x02\x12"
        assert b"\x0a\x0adm-compose" in request
        return struct.pack("!ii", len(command) + 4, len(command)) + command

    return talking(reply)


def _grpc(frame: int) -> Handler:
    def reply(request: bytes) -> bytes:
        assert request == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
        return b"\0\0\x06" + bytes([frame]) + b"\0" + b"\0\0\0\0" + b"\0\x05\0\0\x40\0"

    return talking(reply)


def _rethink(request: bytes) -> bytes:
    assert request == b"\xc3\xbd\xc2\x34"
    return b'{"max_protocol_version":0,"min_protocol_version":0,"server_version":"2.4.4","success":true}\0'


def _word(expected: bytes, reply: bytes) -> Handler:
    def check(request: bytes) -> bytes:
        assert request == expected
        return reply

    return talking(check)


PING = b"PING\r\n"
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
SRVR = (
    b"Zookeeper version: 3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17 23:21 UTC\n"
    b"Latency min/avg/max: 0/0.0/0\nConnections: 1\nOutstanding: 0\nZxid: 0x0\nMode: standalone\nNode count: 5\n"
)
AMQP_START = b"\x01\0\0\0\0\x01\xf4\0\x0a\0\x0a\0\x09" + b"\0" * 20
GREETING = b"\x0a8.4.3\0" + b"\0" * 40

YES: dict[str, list[Handler]] = {
    "postgres": [
        _postgres(b"R" + struct.pack("!ii", 8, 0)),
        _postgres(b"R" + struct.pack("!ii", 23, 10) + b"SCRAM-SHA-256\0\0"),
        _postgres(_postgres_error("28000")),
        _postgres(_postgres_error("3D000")),
    ],
    "cockroach": [_postgres(b"R" + struct.pack("!ii", 8, 0)), _postgres(_postgres_error("08P01"))],
    "mariadb": [_maria(GREETING)],
    "mysql": [_maria(GREETING)],
    "mongo": [
        _mongo(isWritablePrimary=True, ok=True),
        _mongo(isWritablePrimary=False, ok=True),
        _mongo(setName=True, isWritablePrimary=True, secondary=False, ok=True),
        _mongo(setName=True, isWritablePrimary=False, secondary=True, ok=True),
    ],
    "redis": [_word(PING, b"+PONG\r\n"), _word(PING, b"-NOAUTH Authentication required.\r\n")],
    "valkey": [_word(PING, b"+PONG\r\n"), _word(PING, b"-NOAUTH Authentication required.\r\n")],
    "memcached": [_word(b"version\r\n", b"VERSION 1.6.34\r\n"), _word(b"version\r\n", b"CLIENT_ERROR unauthenticated\r\n")],
    "rabbitmq": [_word(b"AMQP\0\0\x09\x01", AMQP_START)],
    "elasticsearch": [web("/", 200, "{}"), web("/", 401)],
    "opensearch": [web("/", 200, "{}"), web("/", 401)],
    "clickhouse": [web("/ping", 200, "Ok.\n")],
    "cassandra": [_cql(6, SUPPORTED), _cql(0, struct.pack("!ih", 0x0A, 0))],
    "scylla": [_cql(6, SUPPORTED)],
    "kafka": [_kafka(0)],
    "redpanda": [_kafka(0)],
    "zookeeper": [_word(b"srvr", SRVR), _word(b"srvr", b"srvr is not executed because it is not in the whitelist.\n")],
    "nats": [talking(lambda request: b"", greeting=b'INFO {"server_id":"N","version":"2.10.24","max_payload":1048576} \r\n')],
    "minio": [web("/minio/health/ready", 200)],
    "etcd": [web("/health", 200, '{"health":"true","reason":""}')],
    "couchdb": [web("/_up", 200, '{"status":"ok"}'), web("/_up", 401)],
    "neo4j": [_bolt(b"\0\0\x08\x05"), _bolt(b"\0\0\x04\x04"), _bolt(b"\0\0\0\0")],
    "influxdb": [web("/ping", 204), web("/ping", 401)],
    "influxdb3": [web("/ping", 200, "{}"), web("/ping", 401)],
    "mssql": [_tds(4)],
    "solr": [web("/solr/admin/info/system", 200, "{}"), web("/solr/admin/info/system", 401)],
    "meilisearch": [web("/health", 200, '{"status":"available"}')],
    "qdrant": [web("/readyz", 200, "all shards are ready"), web("/readyz", 404)],
    "weaviate": [web("/v1/.well-known/ready", 200)],
    "typesense": [web("/health", 200, '{"ok":true}')],
    "milvus": [web("/healthz", 200, "OK")],
    "chroma": [web("/api/v2/heartbeat", 200, '{"nanosecond heartbeat":1}'), web("/api/v2/heartbeat", 404)],
    "arangodb": [web("/_admin/server/availability", 200, '{"mode":"default"}'), web("/_admin/server/availability", 401)],
    "victoriametrics": [web("/health", 200, "OK")],
    "vmstorage": [web("/health", 200, "OK")],
    "questdb": [web("/exec?query=SELECT%201", 200, "{}"), web("/exec?query=SELECT%201", 401)],
    "localstack": [web("/_localstack/health", 200, "{}")],
    "oracle": [_tns(default=11), _tns(default=2), _tns(FREE=11), _tns(XE=5), _tns(ORCLCDB=11)],
    "surrealdb": [web("/health", 200)],
    "ravendb": [web("/setup/alive", 200)],
    "rethinkdb": [talking(_rethink)],
    "consul": [web("/v1/status/leader", 200, '"172.17.0.2:8300"')],
    "vault": [web("/v1/sys/health", status, "{}") for status in (200, 429, 473, 501, 503)],
    "activemq": [talking(_openwire)],
    "artemis": [talking(_openwire)],
    "pulsar": [
        _pulsar(b"\x08\x03\x1a\x0c\x0a\x0dPulsar Server"),
        _pulsar(b"\x08\x0e\x72\x12\x08\x00\x10\x03\x1a\x0cUnauthorized"),
    ],
    "tarantool": [talking(lambda request: b"", greeting=b"Tarantool 3.2.1 (Binary) 0fb8\n".ljust(64) + b"c2FsdA==\n".ljust(64))],
    "immudb": [_grpc(4)],
    "dgraph": [web("/health", 200, "[]")],
}

NOT_YET: dict[str, list[Handler]] = {
    "postgres": [
        _postgres(_postgres_error("57P03")),
        _postgres(_postgres_error("57P01")),
        _postgres(_postgres_error("53300")),
        _postgres(TURNED_AWAY),
    ],
    "cockroach": [_postgres(_postgres_error("57P03"))],
    "mariadb": [
        talking(lambda request: b"", greeting=_packet(text)) for text in (b"\xff\x10\x04Too many connections", NO_ACCOUNT)
    ],
    "mysql": [_maria(b"\xff\x10\x04Too many connections"), _maria(NO_ACCOUNT)],
    "mongo": [_mongo(ok=False), _mongo(setName=True, isWritablePrimary=False, secondary=False, ok=True)],
    "redis": [_word(PING, LOADING), _word(PING, b"-MASTERDOWN Link with MASTER is down\r\n")],
    "valkey": [_word(PING, LOADING)],
    "memcached": [_word(b"version\r\n", b"SERVER_ERROR out of memory\r\n")],
    "rabbitmq": [_word(b"AMQP\0\0\x09\x01", b"AMQP\0\0\x09\x01")],
    "cassandra": [_cql(0, struct.pack("!ih", 0x1002, 0)), _cql(0, struct.pack("!ih", 0x1001, 0))],
    "scylla": [_cql(0, struct.pack("!ih", 0x1002, 0))],
    "kafka": [_kafka(-1)],
    "redpanda": [_kafka(-1)],
    "zookeeper": [_word(b"srvr", b"This ZooKeeper instance is not currently serving requests\n")],
    "nats": [talking(lambda request: b"", greeting=b"-ERR 'maximum connections exceeded'\r\n")],
    "neo4j": [_bolt(b"HTTP")],
    "mssql": [_tds(0xAA)],
    "couchdb": [web("/_up", 404, '{"status":"maintenance_mode"}'), web("/_up", 503)],
    "oracle": [_tns()],
    "rethinkdb": [_word(b"\xc3\xbd\xc2\x34", b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    "consul": [web("/v1/status/leader", 200, '""'), web("/v1/status/leader", 500, "No cluster leader")],
    "vault": [web("/v1/sys/health", 500), web("/v1/sys/health", 400)],
    "activemq": [talking(lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    "artemis": [talking(lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    "pulsar": [_pulsar(b"\x08\x0e\x72\x12\x08\x00\x10\x06\x1a\x09Not ready")],
    "tarantool": [talking(lambda request: b"", greeting=b"-ERR unknown\n")],
    "immudb": [_grpc(7)],
}
PATHS = {
    "elasticsearch": "/",
    "opensearch": "/",
    "clickhouse": "/ping",
    "minio": "/minio/health/ready",
    "etcd": "/health",
    "influxdb": "/ping",
    "influxdb3": "/ping",
    "solr": "/solr/admin/info/system",
    "meilisearch": "/health",
    "qdrant": "/readyz",
    "weaviate": "/v1/.well-known/ready",
    "typesense": "/health",
    "milvus": "/healthz",
    "chroma": "/api/v2/heartbeat",
    "arangodb": "/_admin/server/availability",
    "victoriametrics": "/health",
    "vmstorage": "/health",
    "questdb": "/exec?query=SELECT%201",
    "localstack": "/_localstack/health",
    "surrealdb": "/health",
    "ravendb": "/setup/alive",
    "dgraph": "/health",
}
NOT_YET |= {name: [web(path, 503), web(path, 500)] for name, path in PATHS.items()}


def cases(table: Mapping[str, Sequence[Handler]]) -> pytest.MarkDecorator:
    rows = [(name, handler, f"{name}-{number}") for name, handlers in table.items() for number, handler in enumerate(handlers)]
    return pytest.mark.parametrize(("name", "handler"), [row[:2] for row in rows], ids=[row[2] for row in rows])


@cases(YES)
def test_a_probe_says_yes_to_a_server_that_works(name: str, handler: Handler) -> None:
    with serving(handler) as port:
        assert probe_of(name)("127.0.0.1", port, 5.0) is True


@cases(NOT_YET)
def test_a_probe_says_no_to_a_server_that_is_not_ready_yet(name: str, handler: Handler) -> None:
    with serving(handler) as port:
        assert answer(probe_of(name), port, 5.0) is False


def test_every_probe_is_tried_against_a_server_that_works_and_one_that_does_not_yet() -> None:
    asked = {name for name, datastore in ALL.items() if datastore.ready is not None}
    assert asked == set(YES)
    assert asked == set(NOT_YET)


IN_PIECES = [pytest.param(name, handlers[0], id=name) for name, handlers in YES.items()]


@pytest.mark.parametrize(("name", "handler"), IN_PIECES)
def test_a_probe_puts_together_an_answer_that_arrives_in_pieces(name: str, handler: Handler) -> None:
    def speak(connection: socket.socket) -> None:
        handler(connection)
        connection.shutdown(socket.SHUT_WR)

    def pass_on(connection: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(4096):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def in_pieces(connection: socket.socket) -> None:
        mine, theirs = socket.socketpair()
        with mine, theirs:
            workers = [
                threading.Thread(target=speak, args=(theirs,), daemon=True),
                threading.Thread(target=pass_on, args=(connection, mine), daemon=True),
            ]
            for worker in workers:
                worker.start()
            with contextlib.suppress(OSError):
                while data := mine.recv(3):
                    connection.sendall(data)
                    time.sleep(0.0002)
                connection.shutdown(socket.SHUT_WR)
            for worker in workers:
                worker.join(5)

    with serving(in_pieces) as port:
        assert probe_of(name)("127.0.0.1", port, 5.0) is True


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("postgres", _postgres(TURNED_AWAY)),
        ("mariadb", _maria(NO_ACCOUNT)),
        ("mysql", _maria(NO_ACCOUNT)),
    ],
    ids=["postgres", "mariadb", "mysql"],
)
def test_a_server_that_turns_everybody_away_is_said_to_be_not_set_up(name: str, handler: Handler) -> None:
    with serving(handler) as port, pytest.raises(NotSetUpError):
        probe_of(name)("127.0.0.1", port, 5.0)
