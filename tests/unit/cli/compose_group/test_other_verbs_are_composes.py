"""Verbs that are not of `dm-compose` are passed on to Compose, with its output and exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dm_compose.compose import Compose
from tests.support.capabilities import needs_compose
from tests.support.commands import (
    PATIENCE_S,
    script,
)
from tests.unit.cli.compose_group.conftest import Here


@needs_compose
@pytest.mark.parametrize(
    "words",
    [
        ("version",),
        ("version", "--short"),
        ("config", "--volumes"),
        ("config", "--format", "json"),
        ("config", "--nope"),
        ("config", "nobody"),
        ("ps", "--help"),
        ("ps", "-h"),
        ("bridge", "--help"),  # in no list of ours
        ("ps",),
        ("exec", "db", "ls", "-la", "--", "x"),
    ],
)
def test_other_verbs_are_composes_with_its_output_and_exit_code(words: tuple[str, ...]) -> None:
    ours = script(*words)
    theirs = subprocess.run(
        ["docker", "compose", *words], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False
    )
    assert (ours.code, ours.out, ours.err) == (theirs.returncode, theirs.stdout, theirs.stderr)


@needs_compose
def test_a_file_of_the_environment_that_is_not_there_is_named_after_composes_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_FILE", "other.yaml")
    ended = script("ps")
    assert ended.code != 0
    assert ended.err.endswith(
        "\nhint: COMPOSE_FILE names other.yaml, which is not here: unset COMPOSE_FILE, or name the file: -f FILE"
        " (with pytest: --dm-file FILE).\n"
    )
    assert "hint" not in script("-f", "compose.yaml", "config", "--services").err


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        (("run", "web", "psql", "-h", "db"), False),
        (("run", "--rm", "-u", "me", "web", "app", "--help"), False),
        (("run", "-u", "-h", "web"), False),
        (("up", "-d"), False),
        (("up", "--", "-h"), False),
        (("run", "--rm", "--help", "web"), True),
        (("run", "-h"), True),
        (("up", "-dh"), True),
        (("up", "web", "--help"), True),
        (("down", "-v", "-h"), True),
    ],
)
def test_only_a_request_for_a_verbs_own_help_leaves_state_aside(
    here: Here, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, asks: bool
) -> None:
    for verb in ("create", "down"):
        monkeypatch.setattr(f"dm_compose.up.verbs.{verb}", lambda *_: 17)
    monkeypatch.setattr(Compose, "pass_through", lambda *_, **__: 18)
    assert here(*words).code == (18 if asks else 17)


@needs_compose
def test_options_before_a_verb_of_compose_choose_the_project(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("services: {one: {image: x}, two: {image: x, profiles: [p]}}")
    ended = script("-f", str(tmp_path / "other.yaml"), "--profile", "p", "config", "--services")
    assert (ended.code, sorted(ended.out.split())) == (0, ["one", "two"])
