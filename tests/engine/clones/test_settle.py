"""Settled forms hold what their commits hold: one stack of MariaDB, three MongoDB stand-ins and RabbitMQ, captured while they run
and have just been written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pymongo
import pymysql
import pytest

from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.core.names import CommitId
from dm_compose.live.ready import await_ready
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from tests.support.projects import Run, TestProject, example, project_in

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

MONGOS = ("carts-db", "orders-db", "user-db")
QUEUES = {"shipping": {}, "audit": {"x-queue-type": "quorum"}}
READY_S = 120
TABLES = """
create table customers (id int primary key, name varchar(200) not null, unique key (name)) engine=innodb;
create table orders (id int primary key auto_increment, customer int not null, note text,
                     foreign key (customer) references customers (id) on delete cascade) engine=innodb;
create table visits (id int primary key, page varchar(200)) engine=aria
"""


class Shop:
    """Clients of the datastores that write, and that read all there is."""

    def __init__(self, project: TestProject) -> None:
        self.project = project

    def maria(self) -> pymysql.connections.Connection[Any]:
        host = self.project.address("catalogue-db")
        return pymysql.connect(host=host, user="root", password="fake_password", database="socksdb", connect_timeout=10)

    def mongo(self, service: str) -> pymongo.MongoClient[Any]:
        return pymongo.MongoClient(self.project.address(service), directConnection=True, serverSelectionTimeoutMS=10_000)

    def rabbit(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.ConnectionParameters(self.project.address("rabbitmq"), socket_timeout=10))

    def make(self) -> None:
        """Make tables, an index, queues, and what is in a settled state already when more is written."""
        with self.maria() as connection, connection.cursor() as cursor:
            for statement in TABLES.split(";"):
                cursor.execute(statement)
        for service in MONGOS:
            with self.mongo(service) as client:
                client["data"]["things"].create_index("n")
        with self.rabbit() as connection:
            channel = connection.channel()
            channel.exchange_declare("orders", "topic", durable=True)
            for name, arguments in QUEUES.items():
                channel.queue_declare(name, durable=True, arguments=arguments)
                channel.queue_bind(name, "orders", f"{name}.#")
        self.write(0)

    def write(self, first: int) -> None:
        """Insert, change and remove; everything is acknowledged when this returns."""
        numbers = range(first, first + 100)
        with self.maria() as connection, connection.cursor() as cursor:
            cursor.executemany("insert into customers values (%s, %s)", [(n, f"customer {n} {'x' * 90}") for n in numbers])
            cursor.executemany("insert into orders (customer, note) values (%s, %s)", [(n, f"note {n}") for n in numbers])
            cursor.executemany("insert into visits values (%s, %s)", [(n, f"/page/{n}") for n in numbers])
            connection.commit()
            cursor.execute("update orders set note = concat(note, ', changed') where customer %% 3 = %s", (first % 3,))
            cursor.execute("delete from customers where id between %s and %s", (first + 10, first + 19))
            connection.commit()
            cursor.execute("insert into customers values (-1, 'never committed')")
        for service in MONGOS:
            with self.mongo(service) as client:
                things = client["data"]["things"]
                things.insert_many([{"_id": n, "n": n % 7, "text": f"{service} {n}", "tags": ["a", n]} for n in numbers])
                things.update_many({"n": 3}, {"$set": {"text": f"changed at {first}"}})
                things.delete_many({"n": 5})
                client["data"]["counters"].update_one({"_id": service}, {"$inc": {"writes": 1}}, upsert=True)
        with self.rabbit() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for n in numbers:
                for name in QUEUES:
                    properties = pika.BasicProperties(delivery_mode=2, message_id=f"{name}-{n}")
                    channel.basic_publish("orders", f"{name}.{n}", f"message {n}".encode(), properties)
            for name in QUEUES:
                for _ in range(30):
                    channel.basic_get(name, auto_ack=True)

    def state(self) -> dict[str, Any]:
        """Return everything in every datastore; messages stay where they are."""
        found: dict[str, Any] = {}
        with self.maria() as connection, connection.cursor() as cursor:
            cursor.execute("show tables")
            for table in sorted(name for (name,) in cursor.fetchall()):
                cursor.execute(f"select * from {table} order by 1")
                found[f"maria {table}"] = cursor.fetchall()
                cursor.execute(f"check table {table}")
                found[f"maria {table} is"] = cursor.fetchall()[-1][-1]
        for service in MONGOS:
            with self.mongo(service) as client:
                for name in sorted(client["data"].list_collection_names()):
                    collection = client["data"][name]
                    found[f"{service} {name}"] = sorted(collection.find(), key=lambda document: document["_id"])
                    found[f"{service} {name}'s indexes"] = sorted(collection.index_information())
        with self.rabbit() as connection:
            channel = connection.channel()
            for name in QUEUES:
                messages = iter(lambda name=name: channel.basic_get(name)[1:], (None, None))  # type: ignore[misc]
                found[f"queue {name}"] = [(p.message_id, p.delivery_mode, body) for p, body in messages]
        return found


@pytest.fixture(scope="module")
def shop(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The Sock Shop's datastores, up and ready."""
    document = example("sockshop/docker-compose.local.yaml")
    del document["services"]["shop"]  # it has no state
    for project in project_in(tmp_path_factory.mktemp("settled"), run, "settled", document):
        project.dm("up", "-d")
        stack = project.stack()
        with stack.live(lock=False) as live:
            for member in live.members:
                await_ready(stack.facts.engine, member, stack.listener, READY_S)
        yield Shop(project)


def test_a_settled_form_holds_what_a_commit_of_busy_engines_holds(shop: Shop) -> None:
    project = shop.project
    shop.make()
    project.dm("commit", "-m", "made")
    shop.write(1000)
    seed = CommitId(project.json("commit", "-m", "busy")["id"])
    expected = shop.state()
    shop.write(2000)
    assert shop.state() != expected
    project.dm("reset", "--hard")
    project.down()

    stack = project.stack()
    form = settled(stack, SettleOptions(), "test")
    assert form != seed
    with own_stack(stack, SessionOptions(commit=form)) as session:
        assert "crash recovery" not in session.logs("catalogue-db", 1000)  # InnoDB had nothing to replay
        differing = {str(name) for name, diff in session.diff(session.resolve(seed)).items() if diff}
        assert shop.state() == expected
        session.restore(session.resolve(seed))
        assert "crash recovery" in session.logs("catalogue-db", 1000)  # here it had
        assert shop.state() == expected
    assert differing == {"catalogue-data", "carts-data", "orders-db", "user-db", "shipping-data"}
