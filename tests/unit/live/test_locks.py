"""Locks are taken in one order, and any other order is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dm_compose.core.events import ignore
from dm_compose.core.names import DotName, session_lock, settle_lock
from dm_compose.errors import InUseError
from dm_compose.live.locks import in_order, locked
from dm_compose.store.local.store import LocalStore

SHOP, OTHER, CLONE = DotName("shop"), DotName("other"), DotName("a-clone-of-shop")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "store")
    store.create_dot(SHOP)
    store.create_dot(OTHER)
    store.create_dot(CLONE, owner="a test run")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (session_lock(SHOP), settle_lock(SHOP)),
        (session_lock(SHOP), settle_lock(OTHER)),
        (settle_lock(SHOP), SHOP),
        (session_lock(SHOP), SHOP),
        (session_lock(CLONE), SHOP),
        (SHOP, CLONE),
        (OTHER, SHOP),
        (settle_lock(CLONE), CLONE),
    ],
)
def test_there_is_one_order(store: LocalStore, first: str, second: str) -> None:
    with locked(store, first, ignore), locked(store, second, ignore):
        pass
    with (
        locked(store, second, ignore),
        pytest.raises(RuntimeError, match=f"lock {first} must be taken before lock {second}"),
        locked(store, first, ignore),
    ):
        raise AssertionError("the wrong order was accepted")
    with locked(store, first, ignore), locked(store, second, ignore):  # both are free again
        pass


def test_a_lock_that_this_thread_holds_is_not_waited_for(store: LocalStore) -> None:
    with locked(store, SHOP, ignore), pytest.raises(RuntimeError), locked(store, SHOP, ignore):
        raise AssertionError("nobody could ever give it back")


def test_an_attempt_that_does_not_wait_may_be_made_at_any_time(store: LocalStore) -> None:
    with (
        locked(store, SHOP, ignore),
        locked(store, session_lock(SHOP), ignore, timeout_s=0),
        pytest.raises(InUseError),
        locked(store, SHOP, ignore, timeout_s=0),
    ):
        raise AssertionError("it is held")


def test_a_test_run_takes_the_sessions_of_several_stacks_as_its_tests_want_them(store: LocalStore) -> None:
    for first, second in ((SHOP, OTHER), (OTHER, SHOP)):
        with locked(store, session_lock(first), ignore), locked(store, session_lock(second), ignore):
            pass


def test_other_threads_have_locks_of_their_own(store: LocalStore) -> None:
    def take() -> None:
        with locked(store, OTHER, ignore):
            pass

    with locked(store, SHOP, ignore), ThreadPoolExecutor(1) as pool:
        pool.submit(take).result(20)


def test_originals_come_before_their_clones_whatever_their_names(store: LocalStore) -> None:
    assert in_order(store.dots(), store.clones()) == [OTHER, SHOP, CLONE]


def test_whoever_waits_is_told_what_the_lock_is_about(store: LocalStore) -> None:
    for name, words in (
        (SHOP, "dot shop is in use by"),
        (settle_lock(SHOP), "a clone of shop that is being settled is in use by"),
    ):
        told = []

        def wait(name: str = name, told: list[str] = told) -> None:
            with locked(store, name, lambda event: told.append(event.text), timeout_s=0.1):
                raise AssertionError("it is held")

        with locked(store, name, ignore), ThreadPoolExecutor(1) as pool, pytest.raises(InUseError):
            pool.submit(wait).result(20)
        assert told[0].startswith(words)
