"""Redis, and KeyDB and Dragonfly, which speak its protocol and keep a dump.rdb.

Without an append-only file the changes since the last save are in memory only.
"""

from __future__ import annotations

import time

from dm_compose.datastores.base import Checked, Datastore, Relaxed, Resume, Running, ServiceFacts
from dm_compose.datastores.connections import connect
from dm_compose.datastores.protocols import exchange
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

RELAXED = Relaxed(
    programs=("redis-server", "valkey-server", "keydb-server"),
    words=("--appendfsync", "no"),  # the server writes the append-only file before it answers all the same
    unless=("--sentinel",),
)
SAVE_TIMEOUT_S = 300.0
TIME_TO_FREEZE_S = 2.0
APPEND_TIMEOUT_S = 10.0


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Send PING in RESP: `+PONG`, or a refusal that only a working server gives, is yes; `-LOADING` means not yet."""
    answer = exchange(host, port, timeout_s, b"PING\r\n", at_least=5)
    return answer.startswith((b"+PONG", b"-NOAUTH", b"-NOPERM", b"-ERR", b"-DENIED"))


class RespConnection:
    """A minimal RESP client: inline replies, bulk strings and arrays of them, which is all that the commands here need."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = connect(host, port, SAVE_TIMEOUT_S)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def call(self, *words: str) -> str | list[str]:
        """Send a command and return its answer. Raises Error for an error reply."""
        request = b"*%d\r\n" % len(words)
        for word in words:
            data = word.encode()
            request += b"$%d\r\n%s\r\n" % (len(data), data)
        self._socket.sendall(request)
        return self._reply()

    def _reply(self) -> str | list[str]:
        line = self._file.readline().decode(errors="replace").rstrip("\r\n")
        kind, rest = line[:1], line[1:]
        if kind == "-":
            raise Error(rest)
        if kind == "$":
            data = self._file.read(int(rest) + 2)[:-2] if int(rest) >= 0 else b""
            return data.decode(errors="replace")
        if kind == "*":
            return [str(self._reply()) for _ in range(int(rest))]
        return rest


class Error(Exception):
    """An error reply."""


def password(service: ServiceFacts) -> str | None:
    """Return the password that the service's own settings name."""
    names = ("REDIS_PASSWORD", "REDISCLI_AUTH", "VALKEY_PASSWORD", "VALKEYCLI_AUTH", "KEYDB_PASSWORD")
    from_environment = next((service.environment[n] for n in names if service.environment.get(n)), None)
    return service.option("--requirepass") or from_environment


def save(running: Running) -> Resume | None:
    """Write the append-only file to its end, or `SAVE` where there is none; writers wait until the freeze.

    Redis writes to the append-only file before it answers a client. With `appendfsync everysec` it does not while a sync is under
    way, for up to two seconds. So CLIENT PAUSE holds writers off until the freeze (Redis 6.2 and later), and we wait until the
    rest of the buffer is written.

    A Redis without that file saves its data set to dump.rdb, unless nothing changed since the last save. Then CLIENT PAUSE holds
    writers off, and a second save takes in the changes that they made during the first. The pause is as short as the saves allow
    and ends by itself.
    """
    try:
        connection = _connected(running)
        try:
            if _persistence(connection).get("aof_enabled") == "1":
                paused = _hold_writers(connection, APPEND_TIMEOUT_S + TIME_TO_FREEZE_S)
                _await_append_only_file(connection)
            else:
                began = time.monotonic()
                _save_changes(connection)
                paused = _hold_writers(connection, 2 * (time.monotonic() - began) + TIME_TO_FREEZE_S)
                _save_changes(connection)
        finally:
            connection.close()
    except (Error, OSError) as error:
        raise DmError(
            f"{running.service.image.reference} could not be told to save its data: {error}",
            hint="Put its password in the environment (REDIS_PASSWORD) or command line (--requirepass), or commit with --stop.",
        ) from None
    return (lambda: _release_writers(running)) if paused else None


def unsaved(running: Running) -> bool:
    """Whether something has changed since dump.rdb was written, in a server without an append-only file."""
    try:
        connection = _connected(running)
        try:
            state = _persistence(connection)
        finally:
            connection.close()
    except Error as error:
        raise DmError(str(error)) from None
    return state.get("aof_enabled") != "1" and state.get("rdb_changes_since_last_save", "0") != "0"


def _connected(running: Running) -> RespConnection:
    connection = RespConnection(running.host, running.port)
    try:
        if (secret := password(running.service)) is not None:
            connection.call("AUTH", secret)
    except BaseException:
        connection.close()
        raise
    return connection


def _persistence(connection: RespConnection) -> dict[str, str]:
    answer = str(connection.call("INFO", "persistence"))
    return {key: value for key, _, value in (line.partition(":") for line in answer.splitlines())}


def _await_append_only_file(connection: RespConnection) -> None:
    deadline = time.monotonic() + APPEND_TIMEOUT_S
    while _persistence(connection).get("aof_buffer_length", "0") != "0":
        if time.monotonic() > deadline:
            raise Error(f"its append-only file was not written to within {APPEND_TIMEOUT_S:.0f} s")
        time.sleep(0.01)


def _save_changes(connection: RespConnection) -> None:
    while (state := _persistence(connection)).get("rdb_bgsave_in_progress") == "1":
        time.sleep(0.01)
    if state.get("rdb_changes_since_last_save") == "0":
        return
    try:
        connection.call("SAVE")
    except Error as error:
        if "in progress" not in str(error):  # a background save that began this instant
            raise
        _save_changes(connection)


def _hold_writers(connection: RespConnection, seconds: float) -> bool:
    try:
        connection.call("CLIENT", "PAUSE", str(int(seconds * 1000)), "WRITE")
    except Error:
        return False
    return True


def _release_writers(running: Running) -> None:
    connection = _connected(running)
    try:
        connection.call("CLIENT", "UNPAUSE")
    finally:
        connection.close()


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--dir`, else the vendor's data path."""
    if "bitnami" in service.image.repository:
        return (f"/bitnami/{service.image.repository.rpartition('/')[2]}/data",)
    return (service.option("--dir") or "/data",)


_CHECK = """
cd "$1" || exit
for kind in redis valkey keydb; do tool=$(command -v $kind-check-rdb) && break; done
[ "$tool" ] || { echo "the image has no redis-check-rdb"; exit 3; }
files=0 code=0
check() { [ -f "$2" ] || return; files=1; "$1" "$2" || { code=1; echo "$2 is damaged"; }; }
for file in *.rdb; do case $file in temp-*) ;; *) check "$tool" "$file";; esac; done
for file in *.aof */*.manifest; do check "${tool%rdb}aof" "$file"; done
[ $files = 1 ] || { echo "it has no file yet"; exit 3; }
exit $code
"""
CANNOT_CHECK = 3


def check_files(running: Running, directory: str) -> Checked:
    """Run the server's own checkers on its files. DmError if the image has none, or there is no file."""
    code, output = running.run(["sh", "-c", _CHECK, "sh", directory])
    if code == CANNOT_CHECK:
        raise DmError(output.strip())
    return Checked("redis-check-rdb and redis-check-aof", output.strip() if code else "")


def check(running: Running) -> Checked:
    """`redis-check-rdb` on dump.rdb, and `redis-check-aof` on the append-only file."""
    return check_files(running, data_paths(running.service)[0])


DATASTORE = Datastore(
    name="redis",
    images=(
        "redis",
        "*/redis",
        "bitnami*/redis",
        "redis/redis-stack*",
        "redislabs/redis",
        "redislabs/redisearch",
        "redislabs/redisgraph",
        "redislabs/redisjson",
        "redislabs/redismod",
        "redislabs/redistimeseries",
        "redislabs/rejson",
        "eqalpha/keydb",
        "keydb",
        "dragonflydb/dragonfly",
        "dragonfly",
    ),
    data=data_paths,
    port=lambda service: int(service.option("--port") or 6379),
    ready=ready,
    volatile=("temp-*.rdb",),
    own_files=("*.rdb", "*.aof", "appendonlydir", "appendonlydir/*"),
    markers=("REDIS_VERSION",),
    version_from=("REDIS_VERSION",),
    quiesce=save,
    unsaved=unsaved,
    check=check,
    relaxed=RELAXED,
    tried=("7.0",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
