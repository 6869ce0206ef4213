"""Tests of the shop that write to all five datastores and leave no trace: the stack is rolled back after each of them.

Before the first run: bring the stack up and commit a seed (`dm-compose up -d`, then `dm-compose commit -m seed`).
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from pytest_dotmesh import DmStack

WAIT_S = 60


class Shop:
    """The shop's HTTP interface."""

    def __init__(self, stack: DmStack) -> None:
        self._address = "http://{}:{}".format(*stack.address("shop", 8080))

    def wait(self) -> None:
        """Return once the shop itself answers: dm-compose waits for datastores only. OSError after a minute."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                self.get("/health")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._address}{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, **body: Any) -> Any:
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._address}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture
def shop(dm_stack: DmStack) -> Shop:
    found = Shop(dm_stack)
    found.wait()
    return found


@pytest.fixture
def seed(shop: Shop) -> dict[str, int]:
    """What the committed stack holds; the same in every test, whatever the tests before did."""
    return dict(shop.get("/state"))


def test_a_checkout_writes_to_all_five_datastores(shop: Shop, seed: dict[str, int], dm_stack: DmStack) -> None:
    sock = max(shop.get("/catalogue"), key=lambda s: s["stock"])
    shop.post("/checkout", name="Grace", sock=sock["id"], quantity=3)
    now = shop.get("/state")
    assert now == {
        "users": seed["users"] + 1,
        "carts": seed["carts"] + 1,
        "orders": seed["orders"] + 1,
        "stock": seed["stock"] - 3,
        "shipments": seed["shipments"] + 1,
    }
    assert {name for name, changes in dm_stack.diff().items() if changes} == set(dm_stack.diff())


def test_nobody_of_the_test_before_is_registered(shop: Shop) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        shop.get("/orders/Grace")


def test_an_order_of_more_than_there_is_is_refused(shop: Shop, seed: dict[str, int]) -> None:
    sock = min(shop.get("/catalogue"), key=lambda s: s["stock"])
    with pytest.raises(urllib.error.HTTPError, match="409"):
        shop.post("/checkout", name="Ada", sock=sock["id"], quantity=sock["stock"] + 1)
    assert shop.get("/state")["orders"] == seed["orders"]
