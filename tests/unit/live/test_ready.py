"""How long dm-compose waits for a datastore: --timeout, else DM_TIMEOUT, else two minutes, wherever it waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dm_compose.cli import main as entry
from dm_compose.core.commit import RESTORE, SESSION, JournalEntry
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, EntryId
from dm_compose.core.variables import Variables
from dm_compose.dots.stack import Stack
from dm_compose.errors import DmError
from dm_compose.live.ready import pause_s
from dm_compose.operations.recovery import recover


@pytest.mark.parametrize("words", [["commit", "-m", "x", "--stop"], ["reset"], ["undo"]], ids=lambda words: words[0])
@pytest.mark.parametrize(("option", "variable", "seconds"), [([], None, 120.0), ([], "7", 7.0), (["--timeout", "3"], "7", 3.0)])
def test_verbs_that_wait_have_the_option(
    monkeypatch: pytest.MonkeyPatch, words: list[str], option: list[str], variable: str | None, seconds: float
) -> None:
    waited = []

    def verb(*_: object, timeout_s: float, **__: object) -> None:
        waited.append(timeout_s)
        raise DmError("called")

    monkeypatch.setattr(Stack, words[0], verb)
    monkeypatch.delenv("DM_TIMEOUT", raising=False)
    if variable is not None:
        monkeypatch.setenv("DM_TIMEOUT", variable)
    with pytest.raises(SystemExit):
        entry.main([*words, *option])
    assert waited == [seconds]


@pytest.mark.parametrize("operation", [RESTORE, SESSION])
def test_recovery_waits_as_long_as_the_variable_says(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    waited = []
    monkeypatch.setattr("dm_compose.operations.recovery.finish_restore", lambda *_, timeout_s, **__: waited.append(timeout_s))
    monkeypatch.setattr("dm_compose.operations.recovery.capture", lambda *_, **__: (EntryId.new(), None))
    left = JournalEntry(EntryId.new(), DotName("shop"), MAIN_WORKTREE, operation, target=CommitId("0" * 32))
    store = SimpleNamespace(unfinished=lambda _: [left], holder=lambda _: None, abandon=lambda _: None)
    state = SimpleNamespace(head=None)
    known = {"store": store, "dot": "shop", "project": "shop", "worktree": "main", "engine": None, "state": lambda: state}
    known |= {"where": ("shop", "main"), "members": (), "left": (left,)}
    live = cast(Any, SimpleNamespace(**known, listener=lambda _: None))
    recover(live, lambda: live, Variables({"DM_TIMEOUT": "7"}))
    assert waited == [7.0]


def test_questions_become_rarer_the_longer_it_takes() -> None:
    asked, waited_s = 0, 0.0
    seconds = []
    while waited_s < 120:
        asked += 1
        waited_s += pause_s(waited_s, by_command=False)
        seconds.append(waited_s)
    first = sum(second <= 1 for second in seconds)
    assert 60 <= first <= 100
    assert asked < 500, "two minutes leave so many lines in a server's log"
    assert pause_s(1000, by_command=False) == pause_s(1000, by_command=True) == 1.0
    assert pause_s(0, by_command=True) > pause_s(0, by_command=False)
