"""Stacks in rotation: what is handed out was restored since it was last in use, whatever is late, fails or dies."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_compose.errors import DmError, EngineError, NotReadyError
from dm_compose.sessions import rotation as rotation_module
from dm_compose.sessions.rotation import Rotation
from tests.support.projects import eventually


class Fake:
    """A stack that remembers what it is like. `plan` says of each restore how long it takes and whether it works; none ends
    before `may_be_restored` is set.
    """

    def __init__(self, number: int, plan: Iterator[tuple[float, str]]) -> None:
        self.name = f"stack{number}"
        self.plan = plan
        self.may_be_restored = threading.Event()
        self.may_be_restored.set()
        self.state = "new"
        self.users = 0

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.users += 1
        assert self.users == 1, "used by two threads at once"
        assert self.state != "closed"
        yield
        self.users -= 1

    def stand_by(self) -> None:
        with self._alone():
            self.state = "restoring"
            delay_s, how = next(self.plan, (0, "works"))
            time.sleep(delay_s)
            self.may_be_restored.wait(30)
            if how == "fails":
                self.users -= 1
                raise EngineError("it fails")
            self.state = "dead" if how == "dies" else "fresh"

    def why_changed(self, *, thoroughly: bool) -> str:
        with self._alone():
            return "" if self.state == "fresh" or (self.state == "dead" and not thoroughly) else f"it is {self.state}"

    def resume(self) -> None:
        with self._alone():
            assert self.state == "fresh"
            if next(self.plan, (0, "works"))[1] == "dies":
                self.users -= 1
                raise NotReadyError("it does not answer")
            self.state = "handed out"

    def close(self) -> None:
        assert self.state != "closed"
        self.state = "closed"


class Pool:
    def __init__(self, plan: list[tuple[float, str]], *, count: int = 2, timeout_s: float = 5.0, makes: int = 1000) -> None:
        self.plan, self.made, self.told = iter(plan), list[Fake](), list[str]()
        self._guard, self._numbers, self._makes = threading.Lock(), itertools.count(), makes
        self.rotation = Rotation(self._make, count, self.told.append, timeout_s)

    def _make(self) -> Fake:
        with self._guard:
            if len(self.made) >= self._makes:
                raise EngineError("no more room")
            self.made.append(Fake(next(self._numbers), self.plan))
            return self.made[-1]

    def use(self) -> Fake:
        """Take a stack and dirty it."""
        stack = self.rotation.take()
        assert stack.state == "handed out"
        assert [s.state for s in self.made].count("handed out") == 1
        stack.state = "dirty"
        return stack


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pool]]:
    """Make pools; at their end all they made is closed."""
    monkeypatch.setattr(rotation_module, "WATCH_S", 0.005)
    pools = []

    def make(plan: list[tuple[float, str]], **options: object) -> Pool:
        pools.append(Pool(plan, **options))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    for made in pools:
        for stack in made.made:
            stack.may_be_restored.set()
        made.rotation.close()
        assert {s.state for s in made.made} <= {"closed"}
        assert [text for text in made.told if "AssertionError" in text] == []


def test_stacks_are_used_in_turn(pool: Callable[..., Pool]) -> None:
    made = pool([], count=3)
    first = made.use()
    eventually(lambda: len(made.made) == 3 and all(s.state == "fresh" for s in made.made if s is not first), "spares")
    assert len({made.use().name, made.use().name, first.name}) == 3
    assert made.told == []


def test_a_spare_that_stands_by_is_handed_out_while_the_used_one_is_still_being_restored(pool: Callable[..., Pool]) -> None:
    made = pool([])
    first = made.use()
    eventually(lambda: len(made.made) == 2 and made.made[1].state == "fresh", "the spare")
    first.may_be_restored.clear()
    assert made.use() is not first
    eventually(lambda: first.state == "restoring", "its restore to begin")
    first.may_be_restored.set()
    eventually(lambda: first.state == "fresh", "its restore to end")


def test_a_spare_that_dies_is_noticed_and_restored_before_it_is_wanted(pool: Callable[..., Pool]) -> None:
    made = pool([])
    made.use()
    eventually(lambda: len(made.made) == 2 and made.made[1].state == "fresh", "the spare")
    made.made[1].state = "killed"
    eventually(lambda: made.made[1].state == "fresh", "the spare again")
    assert made.told == ["stack1 was changed while it stood by, so it is restored again: it is killed"]


def test_one_that_cannot_be_restored_is_replaced(pool: Callable[..., Pool]) -> None:
    made = pool([(0, "works"), (0, "works"), (0, "fails")], count=1)
    first = made.use()
    assert made.use() is not first
    assert first.state == "closed"
    assert made.told == ["stack0 cannot be restored, so another one is made: it fails"]


def test_one_that_is_late_is_not_waited_for_again_and_never_handed_out(pool: Callable[..., Pool]) -> None:
    made = pool([], count=1, timeout_s=1.0)
    late = made.use()
    late.may_be_restored.clear()
    with pytest.raises(NotReadyError, match="none of 1 stack was ready"):
        made.use()
    assert made.use() is not late
    late.may_be_restored.set()
    eventually(lambda: late.state == "closed", "the late one to be removed")


def test_when_no_stack_can_be_made_the_reason_is_raised_and_the_next_one_tries_again(pool: Callable[..., Pool]) -> None:
    made = pool([], makes=0)
    for _ in range(2):
        with pytest.raises(EngineError, match="no more room"):
            made.use()
    made._makes = 5
    made.use()


step = st.tuples(st.sampled_from([0, 0, 0.002, 0.03]), st.sampled_from(["works", "works", "works", "fails", "dies"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(step, max_size=30), count=st.integers(1, 3), pauses=st.lists(st.sampled_from([0, 0.004]), min_size=8))
def test_whatever_happens_what_is_handed_out_was_restored_since_it_was_used(
    pool: Callable[..., Pool], plan: list[tuple[float, str]], count: int, pauses: list[float]
) -> None:
    made = pool(plan, count=count, timeout_s=0.02)
    for pause_s in pauses[:10]:
        with contextlib.suppress(DmError):
            made.use()
            time.sleep(pause_s)
    made.rotation.close()
    assert [text for text in made.told if "AssertionError" in text] == []
    eventually(lambda: all(s.state == "closed" for s in made.made), "all to be closed")
