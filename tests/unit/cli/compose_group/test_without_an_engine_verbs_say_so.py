"""Without an engine, or with a compose file that cannot be read, every verb of `dm-compose` says so."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from dm_compose.errors import DmError, NotFoundError
from dm_compose.live.facts import StackFacts
from dm_compose.up import verbs
from tests.support.capabilities import needs_compose
from tests.support.commands import (
    script,
)
from tests.unit.cli.compose_group.conftest import Here

# A verb that asks for an engine runs in a process of its own: docker-py leaves its socket open when nobody answers.


@pytest.mark.parametrize("words", [("commit", "-m", "x"), ("log",), ("status",), ("diff",), ("reset",), ("undo",), ("reflog",)])
@needs_compose
def test_without_an_engine_a_verb_says_so_and_exits_with_4(words: tuple[str, ...]) -> None:
    ended = script(*words)
    assert (ended.code, ended.out) == (4, "")
    assert re.match(
        r"error: no Docker Engine answers at unix:///nonexistent.sock: no such file or directory\nhint: Start Docker, or check ",
        ended.err,
    )


@needs_compose
def test_without_an_engine_the_json_says_so() -> None:
    error = script("commit", "-m", "x", "--json").json()["error"]
    assert (error["kind"], error["code"]) == ("engine", 4)


@pytest.mark.parametrize("words", [("up", "-d"), ("create",), ("down", "-v"), ("down", "--volumes"), ("run", "db", "true")])
@needs_compose
def test_without_an_engine_composes_verbs_that_touch_state_exit_with_4(words: tuple[str, ...]) -> None:
    ended = script(*words)
    assert ended.code == 4, ended.err
    assert "no Docker Engine answers" in ended.err


@needs_compose
def test_a_down_that_removes_state_says_how_to_go_on_when_it_cannot_look() -> None:
    ended = script("down", "-v")
    assert "Nothing was removed" in ended.err
    assert "docker compose down -v" in ended.err


@pytest.mark.parametrize(
    ("words", "looks"),
    [
        (("-v",), True),
        (("--volumes",), True),
        (("--volumes=true",), True),
        (("--remove-orphans", "-v"), True),
        (("-vt", "5"), True),
        (("-t", "5", "-v"), True),
        ((), False),
        (("--remove-orphans",), False),
        (("--volumes=false",), False),
        (("-t", "5"), False),
        (("-v", "--volumes=false"), False),
        (("-t", "-v"), False),
        (("--rmi", "--volumes"), False),
        (("--", "-v"), False),
    ],
)
def test_every_way_to_ask_for_the_removal_of_volumes_is_seen(
    here: Here, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, looks: bool
) -> None:
    _down_keeps(monkeypatch, DmError("looked"))
    ended = here("down", *words)
    assert ("looked" in ended.err) is looks
    assert ended.code == (1 if looks else 0)


def _down_keeps(monkeypatch: pytest.MonkeyPatch, error: DmError) -> None:
    """Have `down` find a stack without containers, fail where it keeps what `-v` removes, and call no Compose."""

    def keep(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verbs, "_before_down", lambda _: False)
    monkeypatch.setattr(verbs, "layers_of", lambda *_: [])
    monkeypatch.setattr(verbs, "carried_over", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(verbs, "refuse_to_overwrite", lambda *_: None)
    monkeypatch.setattr(verbs, "compose_with_state", lambda *_, **__: 0)
    monkeypatch.setattr(verbs, "_kept", keep)
    monkeypatch.setattr(StackFacts, "engine", None)


@needs_compose
def test_a_missing_compose_file_exits_with_3_and_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    ended = script("plan")
    assert (ended.code, ended.err.count("\n")) == (3, 2)
    assert ended.err.startswith("error: no configuration file provided")
    assert "hint: Run this in a directory with a compose.yaml" in ended.err
    assert script("plan", "--json").json()["error"]["kind"] == "compose"


def test_a_missing_docker_command_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for words in (("plan",), ("ps",), ("up",)):
        ended = script(*words)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err == "error: there is no `docker` command\nhint: Install Docker with its compose plugin.\n"


@needs_compose
def test_a_wrong_setting_exits_with_2() -> None:
    Path("compose.yaml").write_text("x-dotmesh: {exlude: []}\nservices: {db: {image: x}}")
    ended = script("plan")
    assert (ended.code, ended.err) == (2, "error: x-dotmesh: unknown key 'exlude'\nhint: Did you mean 'exclude'?\n")


def test_a_failed_look_before_a_removal_keeps_the_errors_kind(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    _down_keeps(monkeypatch, NotFoundError("there is no volume x", hint="Make it."))
    ended = here("down", "-v")
    assert (ended.code, ended.out) == (NotFoundError.exit_code, "")
    assert ended.err.startswith("error: there is no volume x\n")
    assert "Nothing was removed" in ended.err
