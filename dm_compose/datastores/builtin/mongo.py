"""MongoDB. It acknowledges a write while the write is in memory, and writes its journal every 100 ms.

No sound setting has it wait less for the disk. Only a client that asks for it (`j: true`, or a majority) waits, and a longer
interval of the journal would make such a client wait longer. Without a journal, where a version allows that, a kill loses writes.
"""

from __future__ import annotations

import json
import struct

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.connections import connect
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

OP_MSG = 2013
FSYNC_TIMEOUT_S = 60.0
MAX_ANSWER = 1 << 16


def _int32(name: str, value: int) -> bytes:
    return b"\x10" + name.encode() + b"\0" + struct.pack("<i", value)


def _text(name: str, value: str) -> bytes:
    data = value.encode() + b"\0"
    return b"\x02" + name.encode() + b"\0" + struct.pack("<i", len(data)) + data


def _request(*elements: bytes) -> bytes:
    """Return one command as an OP_MSG: header, flags, one section of kind 0 with the BSON document."""
    body = b"".join((*elements, _text("$db", "admin")))
    document = struct.pack("<i", len(body) + 5) + body + b"\0"
    payload = struct.pack("<i", 0) + b"\0" + document
    return struct.pack("<iiii", len(payload) + 16, 1, 0, OP_MSG) + payload


def _ask(host: str, port: int, timeout_s: float, request: bytes) -> bytes:
    """Send one message and return the whole answer, or a part of it if the server closes. Its first four bytes are its length."""
    with connect(host, port, timeout_s) as connection:
        connection.sendall(request)
        answer = b""
        while len(answer) < 4 or len(answer) < min(int.from_bytes(answer[:4], "little"), MAX_ANSWER):
            data = connection.recv(MAX_ANSWER)
            if not data:
                break
            answer += data
        return answer


def _flag(answer: bytes, name: str) -> bool | None:
    """Return a boolean or number of the answer's document as a truth value; None if the document does not have it."""
    key = name.encode() + b"\0"
    for kind, size in ((b"\x08", 1), (b"\x10", 4), (b"\x12", 8), (b"\x01", 8)):
        position = answer.find(kind + key)
        if position >= 0:
            start = position + 1 + len(key)
            return any(answer[start : start + size])
    return None


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Send `hello`, which a ready server answers with ok. A member of a replica set must also be writable, or a secondary."""
    answer = _ask(host, port, timeout_s, _request(_int32("hello", 1)))
    if not _flag(answer, "ok"):
        return False
    return b"\x02setName\0" not in answer or bool(_flag(answer, "isWritablePrimary") or _flag(answer, "secondary"))


def flush_journal(running: Running) -> None:
    """Have the server write its journal (`fsync`).

    If the server wants a login, its own shell does it inside the container, as the root user that the image was given.
    """
    try:
        answer = _ask(running.host, running.port, FSYNC_TIMEOUT_S, _request(_int32("fsync", 1)))
    except OSError as error:
        raise DmError(f"MongoDB could not be told to write its journal: {error}", hint="Commit with --stop.") from None
    if not _flag(answer, "ok"):
        _flush_logged_in(running)


def _flush_logged_in(running: Running) -> None:
    """Run `fsync` with the server's own shell, as the root user that the image was given.

    The shell reads its statements, the password among them, from its standard input. On its command line every user of the host
    could see them. It is a builtin of `sh` that writes them there, so no other command line has them either.
    """
    environment = running.service.environment
    user, secret = environment.get("MONGO_INITDB_ROOT_USERNAME", ""), environment.get("MONGO_INITDB_ROOT_PASSWORD", "")
    log_in = f"d.auth({json.dumps(user)}, {json.dumps(secret)}); " if user else ""
    statement = (
        f"try {{ var d = db.getSiblingDB('admin'); {log_in}if (!d.adminCommand({{fsync: 1}}).ok) quit(1); quit(0) }} "
        "catch (e) { print(e); quit(1) }"
    )
    script = 'printf "%s\\n" "$DM_STATEMENT" | "$(command -v mongosh || command -v mongo)" --quiet'
    code, output = running.run(["sh", "-c", script], environment={"DM_STATEMENT": statement})
    if code:
        raise DmError(f"MongoDB could not be told to write its journal: {output.strip()[-200:]}", hint="Commit with --stop.")


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--dbpath`, else the vendor's data path; `/data/configdb` for config servers of a sharded cluster only."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/mongodb",)
    if service.image.repository == "weaveworksdemos/user-db":
        return ("/data/db-users",)
    if "--configsvr" in service.command:
        return (service.option("--dbpath") or "/data/configdb",)
    return (service.option("--dbpath") or "/data/db",)


DATASTORE = Datastore(
    name="mongo",
    images=(
        "mongo",
        "*/mongo",
        "mongodb",
        "*/mongodb",
        "bitnami*/mongodb",
        "bitnami*/mongodb-sharded",
        "mongodb/mongodb-community-server",
        "mongodb/mongodb-enterprise-server",
        "mongodb/mongodb-atlas-local",
        "percona/percona-server-mongodb",
        "weaveworksdemos/user-db",
    ),
    data=data_paths,
    port=27017,
    ready=ready,
    entrypoint_ends=True,
    own_files=("*.wt", "WiredTiger*", "journal", "journal/*", "storage.bson"),
    volatile=("mongod.lock", "WiredTiger.lock", "diagnostic.data/*", "_tmp/*", "*.pid"),
    not_data={"/data/configdb": "used by config servers of a sharded cluster only"},
    markers=("MONGO_VERSION", "MONGO_MAJOR"),
    version_from=("MONGO_MAJOR", "MONGO_VERSION"),
    quiesce=flush_journal,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
