"""MariaDB and MySQL: one protocol and one layout of the data directory, but data files that do not fit each other.

With `innodb_flush_log_at_trx_commit` at 2 the server writes the log of a transaction before it acknowledges the transaction, and
does not wait for the disk. At 0 the log would stay in memory for up to a second. The doublewrite buffer stays on, because a kill
can leave half of a page.
"""

from __future__ import annotations

from dm_compose.datastores.base import Checked, Datastore, NotSetUpError, Relaxed, Running, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

_VOLATILE = ("ib_buffer_pool", "*.pid", "ibtmp1", "#innodb_temp/*", "ddl_recovery.log", "ddl_recovery-backup.log", "*.sock.lock")
_OWN_FILES = (
    *("ibdata*", "ib_logfile*", "ibtmp*", "ib_buffer_pool*", "undo*", "#innodb_*", "#ib_*", "aria_log*", "ddl_recovery*.log"),
    *("*.ibd", "*.frm", "*.MYD", "*.MYI", "*.MAD", "*.MAI", "*.CSV", "*.CSM", "mysql-bin.*", "binlog.*", "relay-log*", "tc.log"),
    "multi-master.info",
)
_RELAXED = Relaxed(programs=("mariadbd", "mysqld"), words=("--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"))
_PROBE_LINES = r"Aborted connection \d+ to db: 'unconnected' user: 'unauthenticated'"
COMMAND_MISSING = 127
NO_ACCOUNT = b"\xff" + (1130).to_bytes(2, "little")  # ER_HOST_NOT_PRIVILEGED


def greeting(host: str, port: int, timeout_s: float) -> bool:
    """Wait for the greeting: a packet with protocol version 10. An error packet (0xff) means that clients are turned away.

    Error 1130 says that no account is for another host. Those accounts are made last at the first start: NotSetUpError.
    """
    answer = exchange(host, port, timeout_s, b"", at_least=7)
    if answer[4:7] == NO_ACCOUNT:
        raise NotSetUpError("it has no account for clients on other hosts")
    return answer[3:5] == b"\x00\x0a"  # first packet of the connection, protocol version 10


def flush_redo(running: Running) -> None:
    """Write the log to its file (`FLUSH ENGINE LOGS`), if the server runs with
    `innodb_flush_log_at_trx_commit=0`.

    With that setting acknowledged transactions wait in memory for up to a second.
    """
    if running.service.option("--innodb-flush-log-at-trx-commit", "--innodb_flush_log_at_trx_commit") != "0":
        return
    environment = running.service.environment
    secret = environment.get("MARIADB_ROOT_PASSWORD") or environment.get("MYSQL_ROOT_PASSWORD") or ""
    script = 'exec "$(command -v mariadb || command -v mysql)" -uroot -e "FLUSH ENGINE LOGS"'
    code, output = running.run(["sh", "-c", script], environment={"MYSQL_PWD": secret})
    if code:
        raise DmError(
            f"the server runs with innodb_flush_log_at_trx_commit=0 and could not be told to flush: {output.strip()}",
            hint="Commit with --stop, or give the root password in the service's environment.",
        )


_CHECK = """
tool=$(command -v mariadb-check || command -v mysqlcheck) || exit 127
file=${MARIADB_ROOT_PASSWORD_FILE:-${MYSQL_ROOT_PASSWORD_FILE:-}}
MYSQL_PWD=${MARIADB_ROOT_PASSWORD:-${MYSQL_ROOT_PASSWORD:-$([ -z "$file" ] || cat "$file")}}
export MYSQL_PWD
exec "$tool" -uroot --all-databases --check --silent 2>&1
"""


def check(running: Running) -> Checked:
    """`CHECK TABLE` on all tables of all databases, as root, by `mariadb-check` or `mysqlcheck`."""
    code, output = running.run(["sh", "-c", _CHECK])
    said = output.strip()
    if code == COMMAND_MISSING:
        raise DmError("the image has neither mariadb-check nor mysqlcheck")
    if code:
        raise DmError(f"CHECK TABLE cannot be run: {said[-200:]}")
    bad = [line for line in said.splitlines() if line.lower().startswith(("error", "corrupt")) or "corrupt" in line.lower()]
    return Checked("CHECK TABLE", said if bad else "")


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the data path of the image's vendor; `--datadir` moves it."""
    repository = service.image.repository
    if "bitnami" in repository:
        return (f"/bitnami/{repository.rpartition('/')[2].partition('-')[0]}",)
    if repository.startswith("linuxserver/"):
        return ("/config",)
    return (service.option("--datadir") or "/var/lib/mysql",)


MARIADB = Datastore(
    name="mariadb",
    images=("mariadb", "*/mariadb", "bitnami*/mariadb", "bitnami*/mariadb-galera", "linuxserver/mariadb", "*/alpine-mariadb"),
    data=data_paths,
    port=3306,
    ready=greeting,
    probe_lines=_PROBE_LINES,
    entrypoint_ends=True,
    volatile=_VOLATILE,
    own_files=_OWN_FILES,
    markers=("MARIADB_VERSION", "MARIADB_MAJOR"),
    version_from=("MARIADB_VERSION", "MARIADB_MAJOR"),
    quiesce=flush_redo,
    check=check,
    relaxed=_RELAXED,
    tried=("10.11",),
)
MYSQL = Datastore(
    name="mysql",
    images=(
        "mysql",
        "*/mysql",
        "mysql/mysql-server",
        "*/mysql-server",
        "bitnami*/mysql",
        "percona",
        "percona/percona-server",
        "weaveworksdemos/catalogue-db",
    ),
    data=data_paths,
    port=3306,
    ready=greeting,
    probe_lines=_PROBE_LINES,
    entrypoint_ends=True,
    volatile=_VOLATILE,
    own_files=_OWN_FILES,
    not_data={"/var/lib/mysql-files": "files for import and export"},
    markers=("MYSQL_MAJOR", "MYSQL_VERSION"),
    version_from=("MYSQL_MAJOR", "MYSQL_VERSION"),
    quiesce=flush_redo,
    check=check,
    relaxed=_RELAXED,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(MARIADB)
    register(MYSQL)
