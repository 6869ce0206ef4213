"""A lock keeps others out for as long as its holder lives."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dm_compose.errors import (
    InUseError,
)
from dm_compose.store.api import Store
from tests.support.processes import child
from tests.support.stores import Stores, connect

_HOLDER = """
import sys
from pathlib import Path
from dm_compose.store.local.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
token = store.lock("shop", "the child", 0)
print("held", flush=True)
for line in sys.stdin:
    store.unlock(token)
    print("given back", flush=True)
"""


def test_a_lock_keeps_another_process_out_and_names_who_holds_it(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    with child(_HOLDER, str(fast_path / "store")) as holder:
        assert holder.read() == "held"
        with pytest.raises(InUseError, match="shop is in use by the child") as caught:
            store.lock("shop", "the test", 0)
        assert caught.value.hint
        assert holder.ask("unlock") == "given back"
        store.lock("shop", "the test", 0)


def test_a_lock_ends_when_its_holder_is_killed(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    with child(_HOLDER, str(fast_path / "store")) as holder:
        assert holder.read() == "held"
        holder.kill()
        store.lock("shop", "the test", 0)


def test_a_lock_ends_when_the_helper_that_holds_it_is_killed(local: Stores, fast_path: Path) -> None:
    remote = connect(fast_path / "store")
    store = local.open(fast_path / "store")
    remote.lock("shop", "the helper", 0)
    with pytest.raises(InUseError, match="the helper"):
        store.lock("shop", "the test", 0)
    remote._pipe.child.kill()
    remote._pipe.child.wait()
    store.lock("shop", "the test", 0)
    remote.close()


def test_a_lock_keeps_its_own_process_out_too(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    token = store.lock("shop", "me", 0)
    with pytest.raises(InUseError, match="in use by me"):
        store.lock("shop", "me again", 0)
    store.unlock(token)
    store.lock("shop", "me again", 0)


def test_a_lock_is_waited_for(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    token = store.lock("shop", "me", 0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.lock, "shop", "the patient one", 30)
        with pytest.raises(InUseError):
            store.lock("shop", "the impatient one", 0)
        store.unlock(token)
        assert waiting.result(20) != token


def test_only_one_of_many_gets_a_lock(stores: Stores, fast_path: Path) -> None:
    one, two = (stores.open(fast_path / "store") for _ in range(2))
    inside, most = [0], [0]
    guard = threading.Lock()

    def work(store: Store) -> None:
        for _ in range(10):
            token = store.lock("shop", "worker", 30)
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1
            store.unlock(token)

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(work, store) for store in (one, two, one, two)]:
            job.result()
    assert most[0] == 1


def test_locks_of_different_names_do_not_meet(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    assert store.lock("shop", "me", 0) != store.lock("shop.session", "me", 0)
    store.lock("shop2", "me", 0)


def test_unlocking_twice_or_what_nobody_holds_is_nothing(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    token = store.lock("shop", "me", 0)
    store.unlock(token)
    other = store.lock("shop", "other", 0)
    store.unlock(token)
    store.unlock("never given")
    with pytest.raises(InUseError, match="other"):
        store.lock("shop", "me", 0)
    store.unlock(other)


def test_closing_a_store_gives_its_locks_back(stores: Stores, fast_path: Path) -> None:
    one, two = (stores.open(fast_path / "store") for _ in range(2))
    one.lock("shop", "one", 0)
    one.close()
    two.lock("shop", "two", 0)


def test_the_holder_of_a_lock_is_known_without_waiting_for_it(stores: Stores, fast_path: Path) -> None:
    store, other = stores.open(fast_path / "store"), stores.open(fast_path / "store")
    assert other.holder("shop") is None
    token = store.lock("shop", "somebody", 0)
    assert (store.holder("shop"), other.holder("shop")) == ("somebody", "somebody")
    store.unlock(token)
    assert (store.holder("shop"), other.holder("shop")) == (None, None)
    store.unlock(store.lock("shop", "again", 0))
