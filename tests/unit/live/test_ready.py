"""How long dm-compose waits for a datastore: --timeout, else DM_TIMEOUT, else two minutes, wherever it waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dm_compose.cli import main as entry
from dm_compose.core.commit import RESTORE, SESSION
from dm_compose.dots.stack import Stack
from dm_compose.errors import DmError, UsageError
from dm_compose.live.ready import ready_timeout_s
from dm_compose.operations.recovery import recover


@pytest.mark.parametrize(("text", "seconds"), [(None, 120.0), ("", 120.0), ("5", 5.0), ("0.5", 0.5), ("0", 0.0)])
def test_the_variable_says_how_long(monkeypatch: pytest.MonkeyPatch, text: str | None, seconds: float) -> None:
    monkeypatch.delenv("DM_TIMEOUT", raising=False)
    if text is not None:
        monkeypatch.setenv("DM_TIMEOUT", text)
    assert ready_timeout_s() == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", " "])
def test_what_is_no_number_of_seconds_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DM_TIMEOUT", text)
    with pytest.raises(UsageError, match=f"DM_TIMEOUT.*{text!r}"):
        ready_timeout_s()


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
    monkeypatch.setenv("DM_TIMEOUT", "7")
    monkeypatch.setattr("dm_compose.operations.recovery.finish_restore", lambda *_, timeout_s: waited.append(timeout_s))
    left = SimpleNamespace(operation=operation, paused=(), stopped=(), worktree="main")
    store = SimpleNamespace(unfinished=lambda _: [left], lock=lambda *_: "token", unlock=lambda _: None)
    known = {"store": store, "dot": "shop", "project": "shop", "worktree": "main", "engine": None}
    live = cast(Any, SimpleNamespace(**known, listener=lambda _: None))
    recover(live, lambda: live)
    assert waited == [7.0]
