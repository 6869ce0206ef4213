"""The stacks that the benchmarks measure: real servers, functions that dirty each of them, and projects made of them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pika
import psycopg
import pymongo
import pymysql
import redis

from benchmarks.common import arguments_parser
from dm_compose.dots.stack import Stack
from tests.support.projects import Run, TestProject, eventually, example, project_in

Dirtying = dict[str, Callable[[str], None]]  # what dirties a service, by its name
THREE = {
    "services": {
        "db": example("webapp/compose.yaml")["services"]["db"],
        "cache": example("webapp/compose.yaml")["services"]["cache"],
        "maria": {
            "image": "dm-example/mariadb:10.11",
            "pull_policy": "never",
            "environment": {"MYSQL_ROOT_PASSWORD": "fake_password", "MYSQL_DATABASE": "socksdb"},
            "volumes": ["maria-data:/var/lib/mysql"],
        },
    },
    "volumes": {"db-data": None, "maria-data": None},
}


class Writers:
    """Functions that dirty each service of a project."""

    def __init__(self, project: TestProject) -> None:
        self.project = project
        self.count = 0

    def mysql(self, service: str) -> None:
        connection = pymysql.connect(
            host=self.project.address(service), user="root", password="fake_password", database="socksdb", autocommit=True
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("create table if not exists bench (id int primary key auto_increment, text varchar(200))")
            cursor.executemany("insert into bench (text) values (%s)", [("x" * 100,)] * 300)

    def mongo(self, service: str) -> None:
        with pymongo.MongoClient(self.project.address(service), directConnection=True) as client:
            client["data"]["bench"].insert_many([{"n": n, "text": "x" * 100} for n in range(300)])

    def rabbitmq(self, service: str) -> None:
        with pika.BlockingConnection(pika.ConnectionParameters(self.project.address(service))) as connection:
            channel = connection.channel()
            channel.queue_declare("bench", durable=True)
            channel.confirm_delivery()
            for _ in range(50):
                channel.basic_publish("", "bench", b"x" * 1000, pika.BasicProperties(delivery_mode=2))

    def postgres(self, service: str) -> None:
        self.project.sql("create table if not exists bench (id serial primary key, text text)", service)
        self.project.sql("insert into bench (text) select repeat('x', 100) from generate_series(1, 300)", service)

    def redis(self, service: str) -> None:
        self.count += 1
        self.project.redis(service).mset({f"bench{self.count}-{n}": "x" * 100 for n in range(300)})

    def by_service(self) -> Dirtying:
        return self.by_service_of(self.project.stack())

    def by_service_of(self, stack: Stack) -> Dirtying:
        """Return functions that dirty each service of a stack, which need not be the project's own."""
        known = {
            "postgres": self.postgres,
            "redis": self.redis,
            "mariadb": self.mysql,
            "mongo": self.mongo,
            "rabbitmq": self.rabbitmq,
        }
        plan = stack.facts.plan
        return {s.services[0]: known[str(s.engine)] for s in plan.subdots}


def bring_up(project: TestProject) -> Dirtying:
    """Start the stack, give every datastore some data, commit."""
    project.dm("up", "-d")
    writers = Writers(project).by_service()

    def takes_data(service: str) -> bool:
        try:
            writers[service](service)
        except (OSError, pymysql.Error, pymongo.errors.PyMongoError, pika.exceptions.AMQPError, psycopg.Error, redis.RedisError):
            return False
        return True

    for service in writers:
        eventually(lambda service=service: takes_data(service), f"{service} to take data", timeout_s=90)
    project.seed = project.json("commit", "-m", "seed")["id"]
    return writers


SOCKSHOP = example("sockshop/docker-compose.local.yaml")
FIVE = {
    "services": {**THREE["services"], **{name: SOCKSHOP["services"][name] for name in ("carts-db", "rabbitmq")}},
    "volumes": {**THREE["volumes"], "carts-data": None, "shipping-data": None},
}
STACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "three": ("Postgres + MariaDB + Redis", THREE),
    "sockshop": ("Sock Shop: MariaDB, three Mongo stand-ins, RabbitMQ", SOCKSHOP),
    "five": ("Postgres + MariaDB + Redis + Mongo stand-in + RabbitMQ", FIVE),
}


def projects(names: Collection[str]) -> Iterator[tuple[str, TestProject]]:
    """Give a project of each of these stacks with its title, one after the other; remove it and everything that it made."""
    run = Run()
    try:
        for name in names:
            title, document = STACKS[name]
            with tempfile.TemporaryDirectory(prefix="dm-bench-") as base:
                for project in project_in(Path(base) / "project", run, "bench", document):
                    yield title, project
    finally:
        run.finish()


def stack_parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of the command line of a benchmark of stacks: `rounds` and `stack`. The caller may add options."""
    parser = arguments_parser(description, rounds=rounds)
    parser.add_argument("--stack", nargs="+", default=["three", "sockshop"], choices=STACKS, help="default: three sockshop")
    return parser


def stack_arguments(description: str, *, rounds: int) -> argparse.Namespace:
    """Parse the command line of a benchmark of stacks."""
    return stack_parser(description, rounds=rounds).parse_args()
