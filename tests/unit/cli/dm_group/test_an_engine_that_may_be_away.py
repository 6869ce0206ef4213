"""Without an engine `dm` works on files, unless containers may be at work on them: they live on while no engine answers."""

from __future__ import annotations

import pytest

from dm_compose.core.commit import Worktree
from dm_compose.core.names import DotName, RefName, SubdotName, WorktreeName
from dm_compose.errors import EngineError
from dm_compose.store.local.store import LocalStore
from tests.support.machines import Machine

A = DotName("a")
ENGINE = EngineError.exit_code


@pytest.fixture
def met(dm: Machine) -> Machine:
    """A machine whose dot `a` has a commit, an uncommitted file, and a volume that Docker knows from the driver."""
    dm.commit("a", "one")
    dm.write("a", "file", "written by a container")
    store = LocalStore(dm.home)
    store.add_volume("a.db", A)
    store.close()
    return dm


@pytest.mark.parametrize(
    "words",
    [("commit", "-m", "x"), ("reset", "--hard", "HEAD"), ("checkout", "-b", "b"), ("undo",), ("dot", "delete", "-f", "a")],
    ids=lambda words: words[0],
)
def test_what_would_work_below_running_containers_is_refused(met: Machine, words: tuple[str, ...]) -> None:
    ended = met(*words, code=ENGINE)
    assert "no Docker Engine answers, and containers may be at work on dot a: Docker has its volume a.db" in ended.err
    assert "hint" in ended.err
    assert met.read("a", "file") == "written by a container"


@pytest.mark.parametrize("words", [("log",), ("list",), ("status",), ("diff",), ("branch",)], ids=lambda words: words[0])
def test_looking_needs_no_engine(met: Machine, words: tuple[str, ...]) -> None:
    met(*words)


def test_an_interrupted_command_that_had_paused_containers_is_not_forgotten(dm: Machine) -> None:
    dm.commit("a", "one")
    store = LocalStore(dm.home)
    where = A, store.current(A)
    entry = store.prepare_commit(*where, {SubdotName("__default__"): str(dm.tree("a", "__default__"))})
    store.will_disturb(entry, ["0123456789ab"], [])
    store.close()
    assert "had taken some down" in dm("commit", "-m", "x", code=ENGINE).err
    dm("status")
    store = LocalStore(dm.home)
    assert [e.paused for e in store.unfinished(A)] == [("0123456789ab",)]
    store.close()


def test_a_dot_that_belongs_to_a_compose_project_needs_its_engine(dm: Machine) -> None:
    dm.commit("a", "one")
    store = LocalStore(dm.home)
    head = store.worktree(A, store.current(A)).head
    assert head is not None
    store.add_worktree(Worktree(A, WorktreeName("side"), RefName("side"), None, project="shop"), head)
    store.close()
    assert "it belongs to the Compose project shop" in dm("commit", "-m", "x", code=ENGINE).err
