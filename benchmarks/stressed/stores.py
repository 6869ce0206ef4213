"""Datastores of a stack: everything that a test can see of each, and many ways to leave a trace, in files and in memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Protocol

import psycopg
import pymysql
import redis

SCRIPT = "return 'left by a test'"
SECONDS = 10
MANY = 200
_left_open: list[object] = []  # connections of tests that have ended; the kernel ends them, nobody says goodbye
View = dict[str, Any]  # plain data: it is compared, and kept as JSON
Way = Callable[["Located", Random, str], None]


class Located(Protocol):
    """The members of a stack that are needed here: those of a DmStack, or of the user's own."""

    def address(self, service: str, port: int) -> tuple[str, int]:
        """Return (host, port) of a service's port."""


def words(chance: Random, who: str) -> list[str]:
    """Return random texts that name their writer."""
    return [f"{who} {chance.getrandbits(40):x} {'x' * chance.randrange(100)}" for _ in range(chance.randrange(1, MANY))]


def _keep_writing(write: Callable[[int], object]) -> None:
    """Write from a thread until the connection is cut: the test's end must not wait for it, nor let it into the next test."""

    def work() -> None:
        with contextlib.suppress(psycopg.Error, pymysql.Error, redis.RedisError, OSError, AttributeError, ValueError):
            for number in range(10**6):
                write(number)

    threading.Thread(target=work, daemon=True).start()


# Postgres


def postgres(stack: Located, **options: Any) -> psycopg.Connection[Any]:
    """Connect to service `db`."""
    host, port = stack.address("db", 5432)
    known = {"user": "postgres", "password": "webapp", "autocommit": True, "connect_timeout": SECONDS}
    return psycopg.connect(host=host, port=port, **{**known, **options})


def seed_postgres(stack: Located) -> None:
    with postgres(stack) as connection:
        connection.execute("create table notes (text text)")
        connection.execute("insert into notes select 'seed ' || n from generate_series(1, 20) n")


def see_postgres(stack: Located) -> View:
    questions = {
        "rows": "select text from notes order by 1",
        "tables": "select schemaname || '.' || tablename from pg_tables where schemaname !~ '^(pg_|information_)' order by 1",
        "databases": "select datname from pg_database order by 1",
        "roles": "select rolname from pg_roles order by 1",
        "work_mem": "show work_mem",
        "advisory locks": "select objid from pg_locks where locktype = 'advisory'",
        "prepared transactions": "select gid from pg_prepared_xacts",
    }
    with postgres(stack) as connection:
        if connection.execute("select to_regclass('notes')").fetchone() == (None,):
            return {"rows": "there is no table"}
        return {name: [str(row[0]) for row in connection.execute(question)] for name, question in questions.items()}


def _statement(text: str) -> Way:
    def write(stack: Located, _: Random, who: str) -> None:
        with postgres(stack) as connection:
            connection.execute(text.format(who=who.replace(" ", "_")))

    return write


def rows_postgres(stack: Located, chance: Random, who: str) -> None:
    with postgres(stack) as connection:
        connection.cursor().executemany("insert into notes values (%s)", [(text,) for text in words(chance, who)])


def _memory_postgres(stack: Located, _: Random, who: str) -> None:
    with postgres(stack) as connection:
        connection.execute("alter system set work_mem = '7MB'")
        connection.execute("select pg_reload_conf()")


def _lock_postgres(stack: Located, chance: Random, who: str) -> None:
    connection = postgres(stack)
    connection.execute(f"select pg_advisory_lock({chance.randrange(1000)})")
    _left_open.append(connection)


def _transaction_postgres(stack: Located, _: Random, who: str) -> None:
    connection = postgres(stack, autocommit=False)
    connection.execute("insert into notes values (%s)", (who,))
    _left_open.append(connection)


def _late_postgres(stack: Located, _: Random, who: str) -> None:
    connection = postgres(stack)
    _left_open.append(connection)
    _keep_writing(lambda n: connection.execute("insert into notes values (%s)", (f"{who} late {n}",)))


# MariaDB


def mariadb(stack: Located) -> pymysql.Connection[Any]:
    """Connect to service `maria`."""
    host, port = stack.address("maria", 3306)
    return pymysql.connect(
        host=host,
        port=port,
        user="root",
        password="fake_password",
        database="socksdb",
        autocommit=True,
        connect_timeout=SECONDS,
        read_timeout=SECONDS,
        write_timeout=SECONDS,
    )


def seed_mariadb(stack: Located) -> None:
    with mariadb(stack) as connection, connection.cursor() as cursor:
        cursor.execute("create table notes (text varchar(250))")
        cursor.executemany("insert into notes values (%s)", [(f"seed {n}",) for n in range(20)])


def see_mariadb(stack: Located) -> View:
    system = "('mysql', 'sys', 'information_schema', 'performance_schema')"
    questions = {
        "tables": f"select concat(table_schema, '.', table_name) from information_schema.tables "
        f"where table_schema not in {system} order by 1",
        "databases": "select schema_name from information_schema.schemata order by 1",
        "users": "select concat(user, '@', host) from mysql.user order by 1",
        "max_connections": "select @@global.max_connections",
        "rows": "select text from socksdb.notes order by 1",
    }
    seen: View = {}
    with mariadb(stack) as connection, connection.cursor() as cursor:
        for name, question in questions.items():
            if name == "rows" and "socksdb.notes" not in seen["tables"]:
                return {**seen, "rows": "there is no table"}
            cursor.execute(question)
            seen[name] = [str(row[0]) for row in cursor.fetchall()]
    return seen


def _command(text: str) -> Way:
    def write(stack: Located, _: Random, who: str) -> None:
        with mariadb(stack) as connection, connection.cursor() as cursor:
            cursor.execute(text.format(who=who.replace(" ", "_")))

    return write


def rows_mariadb(stack: Located, chance: Random, who: str) -> None:
    with mariadb(stack) as connection, connection.cursor() as cursor:
        cursor.executemany("insert into notes values (%s)", [(text,) for text in words(chance, who)])


def _late_mariadb(stack: Located, _: Random, who: str) -> None:
    connection = mariadb(stack)
    _left_open.append(connection)
    cursor = connection.cursor()
    _keep_writing(lambda n: cursor.execute("insert into notes values (%s)", (f"{who} late {n}",)))


# Redis


def cache(stack: Located) -> redis.Redis:
    """Return a client of service `cache`."""
    host, port = stack.address("cache", 6379)
    return redis.Redis(host, port, decode_responses=True, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)


def seed_redis(stack: Located) -> None:
    with _client(stack) as client:
        client.mset({f"note {n}": f"seed {n}" for n in range(20)})


def see_redis(stack: Located) -> View:
    with _client(stack) as client:
        strings = {key: client.get(key) for key in sorted(client.scan_iter(count=10_000))}
        return {
            "strings": strings,
            "lifetimes": [key for key in strings if client.ttl(key) >= 0],
            "maxmemory": client.config_get("maxmemory"),
            "scripts": [bool(found) for found in client.script_exists(client.register_script(SCRIPT).sha)],
        }


@contextlib.contextmanager
def _client(stack: Located) -> Iterator[Any]:
    client = cache(stack)
    try:
        yield client
    finally:
        client.close()


def _told(tell: Callable[[Any, Random, str], object]) -> Way:
    def write(stack: Located, chance: Random, who: str) -> None:
        with _client(stack) as client:
            tell(client, chance, who)

    return write


rows_redis = _told(lambda client, chance, who: client.mset({f"{who} {n}": t for n, t in enumerate(words(chance, who))}))


def _late_redis(stack: Located, _: Random, who: str) -> None:
    client = cache(stack)
    connection = client.connection_pool.get_connection()
    connection.connect()
    _left_open.append((client, connection))

    def write(number: int) -> None:
        connection.send_command("SET", f"{who} late {number}", "x")  # the connection alone: it does not come back by itself
        connection.read_response()

    _keep_writing(write)


SEED = {"db": seed_postgres, "maria": seed_mariadb, "cache": seed_redis}
SEE: dict[str, Callable[[Located], View]] = {"db": see_postgres, "maria": see_mariadb, "cache": see_redis}
ROWS: dict[str, Way] = {"db": rows_postgres, "maria": rows_mariadb, "cache": rows_redis}
WAYS: dict[str, dict[str, Way]] = {
    "db": {
        "deletes": _statement("delete from notes"),
        "drops": _statement("drop table notes"),
        "creates": _statement("create table {who} as select 1"),
        "adds a role": _statement("create role {who}"),
        "adds a database": _statement("create database {who}"),
        "checkpoints": _statement("checkpoint"),
        "sets": _memory_postgres,
        "holds a lock": _lock_postgres,
        "leaves a transaction": _transaction_postgres,
        "writes on": _late_postgres,
    },
    "maria": {
        "deletes": _command("delete from notes"),
        "drops": _command("drop table notes"),
        "creates": _command("create table {who} as select 1"),
        "adds a user": _command("create user {who}"),
        "adds a database": _command("create database {who}"),
        "sets": _command("set global max_connections = 99"),
        "writes on": _late_mariadb,
    },
    "cache": {
        "deletes": _told(lambda client, *_: client.flushall()),
        "lets expire": _told(lambda client, *_: client.expire("note 1", 3600)),
        "sets": _told(lambda client, *_: client.config_set("maxmemory", 99_999_999)),
        "loads a script": _told(lambda client, *_: client.script_load(SCRIPT)),
        "saves": _told(lambda client, *_: client.save()),
        "writes on": _late_redis,
    },
}


def differences(seed: View, now: View) -> list[str]:
    """Return the differences from the seed, shortened."""
    found = []
    for name in {**seed, **now}:
        before, after = seed.get(name), now.get(name)
        if before == after:
            continue
        extra = [item for item in after if item not in (before or ())] if isinstance(after, (list, dict)) else after
        missing = [item for item in before or () if item not in after] if isinstance(after, (list, dict)) else []
        found.append(f"{name}: there is {str(extra)[:300]}, missing is {str(missing)[:300]}")
    return found
