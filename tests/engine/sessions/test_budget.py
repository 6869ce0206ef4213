"""States that undo and test runs have put aside go when they take more of the store than its budget allows."""

from __future__ import annotations

import pytest

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.core.upkeep import UNDO_SIZE
from dm_compose.dots.all_dots import Dots
from dm_compose.errors import NotFoundError
from dm_compose.sessions.leases import on_clone, own_stack
from dm_compose.sessions.options import SessionOptions
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine

BIG = 200_000


def told(project: TestProject) -> list[str]:
    return [event.text for event in project.events if event.what == "undo"]


def big_note(project: TestProject, letter: str) -> None:
    project.redis().set("note", letter * BIG)
    project.redis().config_set("rdbcompression", "no")


@pytest.mark.parametrize("access", ["in-process", "helper"])
def test_the_states_that_a_test_run_put_aside_come_free_when_it_ends(
    cache_only: TestProject, monkeypatch: pytest.MonkeyPatch, access: str
) -> None:
    monkeypatch.setenv("DM_FILES", access)
    monkeypatch.setenv("DM_HELPER_IMAGE", "dm-example/python")
    stack = cache_only.stack()
    dots = Dots(stack.variables)
    dots.configure(UNDO_SIZE, "64k")
    with own_stack(stack, SessionOptions()) as session:
        big_note(cache_only, "a")
        aside = session.keep("a seed of one test")
        assert told(cache_only) == []
        with dots.store() as store:
            assert store.commit(aside.dot, aside.id) == aside
    assert len(told(cache_only)) == 1
    assert "0 reflog entries were forgotten and " in told(cache_only)[0]
    assert dots.garbage(keep_days=None).commits == ()
    assert cache_only.redis().get("note") == "seed"


def test_the_states_that_a_run_on_a_clone_put_aside_come_free_when_the_clone_goes(cache_only: TestProject) -> None:
    stack = cache_only.stack()
    dots = Dots(stack.variables)
    dots.configure(UNDO_SIZE, "1k")
    clone = Clone(stack, clone_name(cache_only.name, "budget", "gw0"), "budget")
    with on_clone(clone, SessionOptions()) as session:
        cache_only.in_project(clone.name).redis().set("note", "a seed")
        aside = session.keep("a seed of one test")
        assert dots.garbage(keep_days=0).commits == ()
    assert len(told(cache_only)) == 1
    with dots.store() as store, pytest.raises(NotFoundError):
        store.commit(stack.identity(store)[0], aside.id)


def test_resets_of_a_running_stack_keep_to_the_budget_and_the_newest_can_be_undone(cache_only: TestProject) -> None:
    stack = cache_only.stack()
    Dots(stack.variables).configure(UNDO_SIZE, "64k")
    for letter in "abc":
        big_note(cache_only, letter)
        stack.reset("HEAD", hard=True)
        cache_only.wait_ready()
    kept = [entry for entry, _ in stack.reflog() if entry.saved is not None]
    assert len(kept) == 1
    assert [text.partition(" forgotten")[0] for text in told(cache_only)] == ["2 reflog entries were", "1 reflog entry was"]
    assert "undo: " not in cache_only.dm("status").stderr
    stack.undo()
    cache_only.wait_ready()
    assert cache_only.redis().get("note") == "c" * BIG
