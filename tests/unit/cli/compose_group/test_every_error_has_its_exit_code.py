"""Every error has its exit code and is told in one line; a bug is kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from dm_compose.cli.main import run
from dm_compose.dots.stack import Stack
from dm_compose.errors import NotFoundError, error_classes
from tests.support.commands import (
    BUG,
    INTERRUPTED,
)
from tests.unit.cli.compose_group.conftest import Here


def _raise(error: BaseException) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def test_an_error_is_one_line_and_its_hint_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(NotFoundError("no such thing", hint="Make one.")), ["plan"]) == 5
    assert capsys.readouterr() == ("", "error: no such thing\nhint: Make one.\n")
    assert run(_raise(NotFoundError("no such thing")), ["plan"]) == 5
    assert capsys.readouterr() == ("", "error: no such thing\n")


def test_an_error_is_a_json_object_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(NotFoundError("no such thing", hint="Make one.")), ["plan", "--json"]) == 5
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {"error": {"kind": "not_found", "message": "no such thing", "hint": "Make one.", "code": 5}}
    run(_raise(NotFoundError("no such thing")), ["plan", "--json"])
    assert json.loads(capsys.readouterr().out)["error"]["hint"] is None


def test_the_json_of_another_program_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    run(_raise(NotFoundError("no such thing")), ["exec", "web", "--", "tool", "--json"])
    assert capsys.readouterr() == ("", "error: no such thing\n")


@pytest.mark.parametrize("kind", sorted(error_classes()))
def test_every_class_of_errors_has_its_exit_code(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    cls = error_classes()[kind]
    assert run(_raise(cls("what was tried")), ["--json"]) == cls.exit_code
    assert json.loads(capsys.readouterr().out)["error"] | {"message": ""} == {
        "kind": kind,
        "message": "",
        "hint": None,
        "code": cls.exit_code,
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_gives_130_without_a_traceback(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(error), ["plan"]) == INTERRUPTED
    assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (17, 17), ("text", 0)])
def test_a_number_that_a_verb_returns_is_the_exit_code(result: object, code: int) -> None:
    assert run(lambda: result, []) == code


def test_a_bug_gives_70_and_keeps_its_traceback_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(ZeroDivisionError("by nothing")), ["dm-compose", "plan", "--json"]) == BUG
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1
    (log,) = (tmp_path / "state" / "dm-compose").glob("*.log")
    assert str(log) in err
    assert "dm-compose plan --json" in log.read_text()
    assert "ZeroDivisionError: by nothing" in log.read_text()


def test_the_file_of_a_bug_is_for_its_owner_alone_and_those_of_older_versions_become_so(tmp_path: Path) -> None:
    base = tmp_path / "state" / "dm-compose"
    (base / "shop-0123456789ab").mkdir(parents=True, mode=0o755)
    for older in ("crash-20260101T000000-1.log", "shop-0123456789ab/compose.yaml"):
        (base / older).write_text("PASSWORD: secret")
        (base / older).chmod(0o644)
    base.chmod(0o755)
    before = os.umask(0)
    try:
        assert run(_raise(ZeroDivisionError()), []) == BUG
    finally:
        os.umask(before)
    assert base.stat().st_mode & 0o777 == 0o700
    files = [path for path in base.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_bug_is_kept_below_the_home_directory_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(_raise(ZeroDivisionError()), []) == BUG
    assert str(tmp_path / ".local" / "state" / "dm-compose") in capsys.readouterr().err


def test_a_bug_without_a_place_for_its_file_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert run(_raise(ZeroDivisionError("by nothing")), []) == BUG
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by nothing" in err
    assert "the details are above" in err


def test_a_bug_in_a_verb_gives_70(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "log", lambda *_: 1 // 0)
    ended = here("log")
    assert (ended.code, "this is a bug" in ended.err, "Traceback" in ended.err) == (BUG, True, False)
