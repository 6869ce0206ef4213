"""A sock shop with one HTTP API over five datastores: users, carts and orders (MongoDB), stock (MariaDB), shipments (RabbitMQ).

A checkout writes in this order: user-db, carts-db, orders-db, catalogue-db, rabbitmq, user-db, carts-db. There is no transaction
across them. Every request opens its own connections, so that a datastore may be killed, restored and started again at any time:
requests that need it are answered with 503 meanwhile, and work again as soon as it does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
import pymysql
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymysql.cursors import DictCursor

Document = dict[str, Any]
Answer = Document | list[Document]
PORT = 8080
QUEUE = "shipping"
CONNECT_S, ANSWER_S = 2, 5
MAX_BODY = 64 * 1024
MAX_QUANTITY = 1000
TROUBLE = (PyMongoError, pymysql.MySQLError, AMQPError, AMQPConnectorException, OSError)  # pika's two have no common base


class Problem(Exception):  # noqa: N818 - most of them are no error of the shop
    """Ends a request with `status` and a JSON object that says why."""

    def __init__(self, status: HTTPStatus, error: str, **details: str) -> None:
        super().__init__(error)
        self.status, self.body = status, {"error": error, **details}


# The datastores


@contextmanager
def blame(datastore: str) -> Iterator[None]:
    """Turn any trouble with `datastore` into a 503 that names it."""
    try:
        yield
    except TROUBLE as error:
        reason = f"{datastore}: {type(error).__name__} {error}"[:160].strip()
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, datastore=datastore) from error


@contextmanager
def documents(host: str, name: str) -> Iterator[Collection[Document]]:
    """Connect to a MongoDB and give one of its collections."""
    connect, answer = CONNECT_S * 1000, ANSWER_S * 1000
    timeouts: Document = {"serverSelectionTimeoutMS": connect, "connectTimeoutMS": connect, "socketTimeoutMS": answer}
    with (
        blame(host),
        MongoClient[Document](host, directConnection=True, retryReads=False, retryWrites=False, **timeouts) as client,
    ):
        yield client["data"][name]


@contextmanager
def catalogue() -> Iterator[DictCursor]:
    """Connect to MariaDB and give a cursor: one transaction, committed at the end unless an exception ends it."""
    with blame("catalogue-db"):
        connection = pymysql.connect(
            host="catalogue-db",
            user="catalogue_user",
            password="default_password",
            database="socksdb",
            connect_timeout=CONNECT_S,
            read_timeout=ANSWER_S,
            write_timeout=ANSWER_S,
            cursorclass=DictCursor,
        )
        with connection, connection.cursor() as cursor:
            yield cursor
            connection.commit()


@contextmanager
def broker() -> Iterator[BlockingChannel]:
    """Connect to RabbitMQ and give a channel with publisher confirms. Heartbeats end the wait for a broker that fell silent."""
    timeouts = {"socket_timeout": CONNECT_S, "stack_timeout": ANSWER_S, "blocked_connection_timeout": ANSWER_S}
    with blame("rabbitmq"):
        connection = pika.BlockingConnection(pika.ConnectionParameters("rabbitmq", heartbeat=ANSWER_S, **timeouts))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            with suppress(AMQPError):
                connection.close()


# What the shop does


def socks(cursor: DictCursor, *ids: str, lock: bool = False) -> dict[str, Document]:
    """Read socks by id, all of them without ids, and lock their rows if told to."""
    where = f"WHERE sock_id IN ({', '.join(['%s'] * len(ids))})" if ids else ""
    cursor.execute(f"SELECT * FROM sock {where} ORDER BY sock_id {'FOR UPDATE' if lock else ''}", ids)
    return {row["sock_id"]: row for row in cursor.fetchall()}


def list_socks() -> list[Document]:
    """List the catalogue."""
    with catalogue() as cursor:
        rows = socks(cursor).values()
    columns = {"id": "sock_id", "name": "name", "description": "description", "stock": "count"}
    return [{key: row[column] for key, column in columns.items()} | {"price": float(row["price"])} for row in rows]


def require_stock(sock: str, quantity: int) -> None:
    """Raise a 404 for a sock that the catalogue does not have, a 409 for one that it has too few of."""
    with catalogue() as cursor:
        row = socks(cursor, sock).get(sock)
    if row is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"no sock {sock!r}")
    if row["count"] < quantity:
        raise Problem(HTTPStatus.CONFLICT, f"not enough of {sock!r} in stock")


def require_user(user: str) -> None:
    """Raise a 404 for a user who is not registered."""
    with documents("user-db", "customers") as customers:
        if customers.find_one({"_id": user}) is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no user {user!r}")


def register(user: str) -> Document:
    """Create a user."""
    with documents("user-db", "customers") as customers:
        try:
            customers.insert_one({"_id": user, "orders": 0})
        except DuplicateKeyError:
            raise Problem(HTTPStatus.CONFLICT, f"user {user!r} exists") from None
    return {"name": user, "orders": 0}


def put_into_cart(user: str, sock: str, quantity: int) -> Document:
    """Put socks into a cart; the first ones create it."""
    with documents("carts-db", "carts") as carts:
        with suppress(DuplicateKeyError):
            carts.insert_one({"_id": user, "items": {}})
        carts.update_one({"_id": user}, {"$inc": {f"items.{sock}": quantity}})
        cart = carts.find_one({"_id": user}) or {}
    return {"user": user, "items": cart.get("items", {})}


def take_from_stock(cursor: DictCursor, items: dict[str, int]) -> float:
    """Take all socks of an order out of the stock, or none of them; return what they cost."""
    rows = socks(cursor, *items, lock=True)
    for sock, quantity in items.items():
        if sock not in rows or rows[sock]["count"] < quantity:
            raise Problem(HTTPStatus.CONFLICT, f"not enough of {sock!r} in stock")
        cursor.execute("UPDATE sock SET count = count - %s WHERE sock_id = %s", (quantity, sock))
    return float(sum(rows[sock]["price"] * quantity for sock, quantity in items.items()))


def place_order(user: str) -> Document:
    """Turn a cart into an order. The broker is connected to first: no order is written while it is away."""
    with documents("carts-db", "carts") as carts, broker() as channel:
        items = (carts.find_one({"_id": user}) or {}).get("items")
        if not items:
            raise Problem(HTTPStatus.CONFLICT, f"the cart of {user!r} is empty")
        order = {"_id": uuid.uuid4().hex, "user": user, "items": items, "created": datetime.now(UTC).isoformat()}
        channel.queue_declare(QUEUE, durable=True)
        with catalogue() as cursor:
            order["total"] = take_from_stock(cursor, items)
            with documents("orders-db", "orders") as orders:  # before the commit: no stock is lost without an order
                orders.insert_one(order)
        persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent.value, content_type="application/json")
        channel.basic_publish("", QUEUE, json.dumps(public(order)).encode(), persistent, mandatory=True)
        with documents("user-db", "customers") as customers:
            customers.update_one({"_id": user}, {"$inc": {"orders": 1}})
        carts.update_one({"_id": user}, {"$set": {"items": {}}})
    return public(order)


def post_item(user: str, sock: str, quantity: int) -> Document:
    """Put socks into the cart of a user who exists, if they exist."""
    require_user(user)
    require_stock(sock, quantity)
    return put_into_cart(user, sock, quantity)


def post_order(user: str) -> Document:
    """Check out the cart of a user who exists."""
    require_user(user)
    return place_order(user)


def post_checkout(user: str, sock: str, quantity: int) -> Document:
    """Do everything at once: register the user unless known, fill the cart, order."""
    require_stock(sock, quantity)
    try:
        register(user)
    except Problem as problem:
        if problem.status != HTTPStatus.CONFLICT:
            raise
    put_into_cart(user, sock, quantity)
    return place_order(user)


def public(order: Document) -> Document:
    """Return an order as the API shows it."""
    return {"id": order["_id"], **{key: order[key] for key in ("user", "items", "total", "created")}}


def list_orders(user: str) -> list[Document]:
    """List a user's orders, the oldest first."""
    require_user(user)
    with documents("orders-db", "orders") as orders:
        return sorted(map(public, orders.find({"user": user})), key=lambda order: str(order["created"]))


def count_shipments() -> int:
    """Count the messages that wait in the queue."""
    with broker() as channel:
        try:
            return int(channel.queue_declare(QUEUE, passive=True).method.message_count)
        except ChannelClosedByBroker as error:
            if error.reply_code == HTTPStatus.NOT_FOUND:  # AMQP's number for it, too: nothing was ordered yet
                return 0
            raise


def count_all() -> Document:
    """Count in all five datastores."""
    counts: Document = {}
    for key, host, name in (("users", "user-db", "customers"), ("carts", "carts-db", "carts"), ("orders", "orders-db", "orders")):
        with documents(host, name) as collection:
            counts[key] = collection.count_documents({})
    with catalogue() as cursor:
        counts["stock"] = sum(row["count"] for row in socks(cursor).values())
    return {**counts, "shipments": count_shipments()}


# The HTTP API


def text(body: Document, key: str) -> str:
    """Take a name out of a request's body."""
    value = body.get(key)
    if not isinstance(value, str) or not re.fullmatch(r"[\w @+-]{1,64}", value):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{key} must be 1 to 64 letters, digits, blanks or any of _ - @ +")
    return value


def amount(body: Document) -> int:
    """Take the quantity out of a request's body."""
    value = body.get("quantity")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_QUANTITY:
        raise Problem(HTTPStatus.BAD_REQUEST, f"quantity must be a whole number from 1 to {MAX_QUANTITY}")
    return value


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/health", lambda _: {"status": "ok"}),  # of the shop itself; /state needs all datastores
    ("GET", "/state", lambda _: count_all()),
    ("GET", "/catalogue", lambda _: list_socks()),
    ("GET", "/shipments", lambda _: {"shipments": count_shipments()}),
    ("GET", "/orders/([^/]+)", lambda _, user: list_orders(user)),
    ("POST", "/users", lambda body: register(text(body, "name"))),
    ("POST", "/carts/([^/]+)/items", lambda body, user: post_item(user, text(body, "sock"), amount(body))),
    ("POST", "/orders", lambda body: post_order(text(body, "user"))),
    ("POST", "/checkout", lambda body: post_checkout(text(body, "name"), text(body, "sock"), amount(body))),
)


class Handler(BaseHTTPRequestHandler):
    """One request and its connection."""

    timeout = 10  # seconds for a client that stops sending

    def handle_request(self) -> None:
        """Answer with what the route returns, or with why there is nothing to return."""
        try:
            status, content = self.dispatch()
        except Problem as problem:
            status, content = problem.status, problem.body
        except Exception:
            traceback.print_exc()
            status, content = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"}
        self.answer(status, content)

    def dispatch(self) -> tuple[HTTPStatus, Answer]:
        """Find the route and run it."""
        path, body = urlsplit(self.path).path, self.read_body()
        for method, pattern, function in ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                content = function(body, *map(unquote, match.groups()))
                return HTTPStatus.CREATED if method == "POST" else HTTPStatus.OK, content
        raise Problem(HTTPStatus.NOT_FOUND, f"no {self.command} {path}")

    do_GET = do_POST = handle_request  # noqa: N815 - names that the base class looks for

    def read_body(self) -> Document:
        """Read the request's JSON object; a GET has none."""
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_BODY:
            raise Problem(HTTPStatus.BAD_REQUEST, f"Content-Length must be a number up to {MAX_BODY}")
        try:
            data = self.rfile.read(int(length))
            body = json.loads(data) if self.command == "POST" else {}
        except OSError as error:
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive: {error}") from None
        except (ValueError, RecursionError) as error:
            raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise Problem(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
        return body

    def answer(self, status: int, content: Answer) -> None:
        """Send a JSON document."""
        data = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send what the base class refuses (malformed requests, other methods) as JSON, too."""
        self.answer(code, {"error": message or explain or HTTPStatus(code).phrase})


class Server(ThreadingHTTPServer):
    """A thread per request; none of them keeps the process alive."""

    request_queue_size = 128


def main() -> None:
    """Serve until SIGTERM or SIGINT, which PID 1 must ask for. They end the process at once, hanging requests included."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    print(f"listening on port {PORT}", flush=True)
    Server(("", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
