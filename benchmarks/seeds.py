"""One seed for every way of putting datastores back: made once, dumped, loaded, reset engine by engine, and verified."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import pika
import psycopg
import pymongo
import pymysql
import redis

from dm_compose.datastores.base import Datastore
from dm_compose.datastores.builtin import mariadb, mongo, postgres, rabbitmq
from dm_compose.datastores.builtin import redis as redis_module
from tests.support.projects import TestProject

T = TypeVar("T")
POLL_S, READY_TIMEOUT_S = 0.01, 120
STATEMENT_BYTES = 1 << 20  # mysqldump's net-buffer-length
CHUNK = 1000
WORDS = (
    "a",
    "blue",
    "cotton",
    "sock",
    "with",
    "stripes",
    "and",
    "warm",
    "heel",
    "for",
    "winter",
    "days",
    "this",
    "customer",
    "wants",
    "two",
)


@dataclass(frozen=True)
class Amounts:
    """The size of the seed in each datastore. `size_bytes` is the length of the text in each row, value, document and message."""

    rows: int = 20_000
    keys: int = 20_000
    documents: int = 5_000
    messages: int = 500
    size_bytes: int = 100

    def text(self, number: int) -> str:
        """Return a text as applications store it: an id, and words."""
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        words = " ".join(WORDS[int(digit, 16)] for digit in digest)
        return f"{digest[:24]} {words}".ljust(self.size_bytes)[: self.size_bytes]

    def texts(self, count: int) -> list[tuple[int, str]]:
        return [(number, self.text(number)) for number in range(1, count + 1)]


class Seeded(ABC):
    """One datastore of a project. `load` and `reset` need the dump that `keep` has kept. Call `found` after each start."""

    module: Datastore
    port: int

    def __init__(self, service: str, amounts: Amounts) -> None:
        self.service = service
        self.amounts = amounts
        self.client = docker.from_env()
        self.container: Any = None

    def found(self, project: TestProject) -> None:
        """Find the service's container."""
        self.container = self.client.containers.get(project.container(self.service)["Id"])

    @property
    def address(self) -> str:
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def await_ready(self) -> None:
        """Return when the datastore answers its own protocol. dm-compose's own probe asks it."""
        self.container.reload()
        assert self.module.ready is not None
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.module.ready(self.address, self.port, 2.0):
                    return
            time.sleep(POLL_S)
        raise AssertionError(f"{self.service} did not answer within {READY_TIMEOUT_S} s")

    def feed(self, command: list[str], script: bytes) -> bytes:
        """Run a client in the container with a script as its input, as `docker exec -i` does."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.container.id, *command], input=script, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr.decode()[-500:]}"
        return done.stdout

    @abstractmethod
    def make(self) -> None:
        """Give the empty datastore the seed."""

    def _places(self, count: int, of: int) -> list[int]:
        """Return the keys of `count` rows of `of`, spread over all. `update` changes these rows of a database, one at a time."""
        return [1 + number * 104729 % of for number in range(count)]

    def dumped(self) -> Any:
        """Return the dump that `load` takes."""
        return None

    @abstractmethod
    def load(self, dump: Any) -> None:
        """Fill the datastore from the dump. It has just come up for the first time."""

    def prepare_reset(self) -> None:
        """Do once whatever `reset` needs."""
        return

    @abstractmethod
    def reset(self, dump: Any) -> None:
        """Bring the running datastore to the seed and nothing else, by its own means."""

    @abstractmethod
    def state(self) -> object:
        """Return everything that it holds, in a form that can be compared."""


class Postgres(Seeded):
    module = postgres.DATASTORE
    port = 5432

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(
            host=self.address, user="postgres", password="webapp", dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def make(self) -> None:
        self.sql("create table seed (id int primary key, text text not null)")
        rows = "".join(f"{number}\t{text}\n" for number, text in self.amounts.texts(self.amounts.rows))
        self.load(f"copy seed from stdin;\n{rows}\\.\n".encode())

    def update(self, count: int) -> None:
        self.sql(*(f"update seed set text = 'changed' where id = {place}" for place in self._places(count, self.amounts.rows)))

    def dumped(self) -> bytes:
        return self.feed(["pg_dump", "-U", "postgres", "postgres"], b"")

    def load(self, dump: bytes) -> None:
        self.feed(["psql", "-q", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "postgres"], dump)

    def prepare_reset(self) -> None:
        self.sql("create database seed template postgres", database="template1")

    def reset(self, dump: bytes) -> None:
        self.sql("drop database postgres with (force)", "create database postgres template seed", database="template1")

    def state(self) -> object:
        tables = self.sql("select tablename from pg_tables where schemaname = 'public' order by 1")
        return tables, self.sql("select count(*), md5(string_agg(id || text, ',' order by id)) from seed")


class MariaDb(Seeded):
    module = mariadb.MARIADB
    port = 3306

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        connection = pymysql.connect(
            host=self.address, user="root", password="fake_password", database="socksdb", autocommit=True
        )
        with connection, connection.cursor() as cursor:
            yield cursor

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def tables(self) -> list[str]:
        return sorted(name for (name,) in self.ask("show tables"))

    def make(self) -> None:
        with self.cursor() as cursor:
            cursor.execute("create table seed (id int primary key, text varchar(10000) not null)")
            cursor.executemany("insert into seed values (%s, %s)", self.amounts.texts(self.amounts.rows))

    def update(self, count: int) -> None:
        with self.cursor() as cursor:
            for place in self._places(count, self.amounts.rows):
                cursor.execute("update seed set text = 'changed' where id = %s", (place,))

    def dumped(self) -> bytes:
        """Write what mysqldump writes; the image has none."""
        script = ["set names utf8mb4, unique_checks = 0, foreign_key_checks = 0;"]
        for table in self.tables():
            made = self.ask(f"show create table {table}")[0][1]
            script += [f"drop table if exists {table};", f"{made};", f"lock tables {table} write;"]
            script.append(f"/*!40000 alter table {table} disable keys */;")
            with self.cursor() as cursor:
                cursor.execute(f"select * from {table}")
                rows = [cursor.connection.literal(row) for row in cursor.fetchall()]
            at_once = max(1, STATEMENT_BYTES // max(map(len, rows), default=1))
            for start in range(0, len(rows), at_once):
                script.append(f"insert into {table} values {','.join(rows[start : start + at_once])};")
            script += [f"/*!40000 alter table {table} enable keys */;", "unlock tables;"]
        return "\n".join(script).encode()

    def load(self, dump: bytes) -> None:
        self.feed(["mariadb", "-uroot", "-pfake_password", "socksdb"], dump)

    def reset(self, dump: bytes) -> None:
        self.load(b"drop database socksdb; create database socksdb; use socksdb;\n" + dump)

    def state(self) -> object:
        return [(table, self.ask(f"checksum table {table}")) for table in self.tables()]


class Redis(Seeded):
    module = redis_module.DATASTORE
    port = 6379

    def open(self) -> redis.Redis:
        return redis.Redis(self.address, decode_responses=True, socket_timeout=30)

    def make(self) -> None:
        self.load({f"key:{number}": text for number, text in self.amounts.texts(self.amounts.keys)})

    def dumped(self) -> dict[str, Any]:
        with self.open() as client:
            names = sorted(client.scan_iter(count=CHUNK))
            chunks = (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
            return {name: value for chunk in chunks for name, value in zip(chunk, client.mget(chunk), strict=True)}  # type: ignore[arg-type]

    def load(self, dump: dict[str, Any]) -> None:
        items = list(dump.items())
        with self.open() as client:
            for start in range(0, len(items), CHUNK):
                client.mset(dict(items[start : start + CHUNK]))

    def reset(self, dump: dict[str, Any]) -> None:
        with self.open() as client:
            client.flushall()
        self.load(dump)

    def state(self) -> object:
        return self.dumped()


class Mongo(Seeded):
    module = mongo.DATASTORE
    port = 27017

    def open(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self.address, directConnection=True)

    def make(self) -> None:
        self.load({"seed": [{"_id": number, "text": text} for number, text in self.amounts.texts(self.amounts.documents)]})

    def update(self, count: int) -> None:
        with self.open() as client:
            for place in self._places(count, self.amounts.documents):
                client["data"]["seed"].update_one({"_id": place}, {"$set": {"text": "changed"}})

    def dumped(self) -> dict[str, list[dict[str, Any]]]:
        with self.open() as client:
            data = client["data"]
            return {name: list(data[name].find().sort("_id", 1)) for name in sorted(data.list_collection_names())}

    def load(self, dump: dict[str, list[dict[str, Any]]]) -> None:
        with self.open() as client:
            for name, documents in dump.items():
                client["data"][name].insert_many(documents, ordered=False)

    def reset(self, dump: dict[str, list[dict[str, Any]]]) -> None:
        with self.open() as client:
            for name in client["data"].list_collection_names():
                client["data"].drop_collection(name)
        self.load(dump)

    def state(self) -> object:
        return self.dumped()


class RabbitMq(Seeded):
    """RabbitMQ. Its queues are known by name, as they are to people who purge them: `seed`, and `bench`, which tests make."""

    module = rabbitmq.DATASTORE
    port = 5672

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.ConnectionParameters(self.address)) as connection:
            yield connection.channel()

    def make(self) -> None:
        self.load([text.encode() for _, text in self.amounts.texts(self.amounts.messages)])

    def dumped(self) -> list[bytes]:
        with self.channel() as channel:
            return list(iter(lambda: channel.basic_get("seed")[2], None))  # given back when the connection ends

    def load(self, dump: list[bytes]) -> None:
        with self.channel() as channel:
            channel.queue_declare("seed", durable=True)
            for message in dump:
                channel.basic_publish("", "seed", message, pika.BasicProperties(delivery_mode=2))
            # asking for the count is quicker than a confirm for each message
            deadline = time.monotonic() + READY_TIMEOUT_S
            while channel.queue_declare("seed", passive=True).method.message_count < len(dump):
                assert time.monotonic() < deadline, f"{self.service} did not take {len(dump)} messages"

    def reset(self, dump: list[bytes]) -> None:
        with self.channel() as channel:
            channel.queue_delete("bench")
            channel.queue_purge("seed")
        self.load(dump)

    def state(self) -> object:
        try:
            with self.channel() as channel:
                bench = channel.queue_declare("bench", passive=True).method.message_count
        except pika.exceptions.ChannelClosedByBroker:
            bench = None  # there is no such queue
        return bench, self.dumped()


KINDS: dict[str, type[Seeded]] = {
    "postgres": Postgres,
    "mariadb": MariaDb,
    "redis": Redis,
    "mongo": Mongo,
    "rabbitmq": RabbitMq,
}


class Seeds:
    """All datastores of a project with their seed."""

    def __init__(self, project: TestProject, amounts: Amounts) -> None:
        self.project = project
        subdots = project.stack().facts.plan.subdots
        self.datastores = [KINDS[str(subdot.engine)](subdot.services[0], amounts) for subdot in subdots]
        self.dumps: dict[str, Any] = {}
        self.expected: dict[str, object] = {}

    def __enter__(self) -> Seeds:
        return self

    def __exit__(self, *_: object) -> None:
        for datastore in self.datastores:
            datastore.client.close()

    def each(self, work: Callable[[Seeded], T]) -> list[T]:
        """Do something with every datastore at once."""
        with ThreadPoolExecutor(len(self.datastores)) as pool:
            return list(pool.map(work, self.datastores))

    def make(self) -> None:
        """Wait for the datastores, which are new, and give them the seed."""

        def make(datastore: Seeded) -> None:
            datastore.found(self.project)
            datastore.await_ready()
            datastore.make()

        self.each(make)

    def fill(self) -> None:
        """Make the seed, and keep it."""
        self.make()

        def keep(datastore: Seeded) -> None:
            self.dumps[datastore.service] = datastore.dumped()
            self.expected[datastore.service] = datastore.state()

        self.each(keep)

    def dump(self, datastore: Seeded) -> Any:
        return self.dumps[datastore.service]

    def verify(self) -> None:
        """Check every datastore; AssertionError unless it holds the seed and nothing else."""

        def check(datastore: Seeded) -> str | None:
            datastore.found(self.project)
            return None if datastore.state() == self.expected[datastore.service] else datastore.service

        wrong = sorted(filter(None, self.each(check)))
        assert not wrong, f"{', '.join(wrong)}: not the seed"
