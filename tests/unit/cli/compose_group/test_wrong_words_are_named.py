"""Wrong words on the command line of `dm-compose` are named, with exit code 2."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from dm_compose.cli.verbs.state import parse_metadata
from dm_compose.errors import UsageError
from dm_compose.operations.commit import make_commit
from tests.support.commands import (
    OWN_VERBS,
)
from tests.unit.cli.compose_group.conftest import Here


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("plan", "--nope"), "--nope"),
        (("--nope", "plan"), "--nope"),
        (("plan", "surplus"), "surplus"),
        (("commit",), "--message"),
        (("commit", "-m"), "-m"),
        (("commit", "-m", "x", "--metadata", "ticket"), "'ticket'"),
        (("commit", "-m", "x", "--metadata", "a=b", "--metadata", "c"), "'c'"),
        (("diff", "a", "b", "c"), "c"),
        (("reset", "--timeout", "soon"), "soon"),
        (("-f",), "-f"),
    ],
)
def test_wrong_words_are_named_and_exit_with_2(here: Here, words: tuple[str, ...], named: str) -> None:
    ended = here(*words)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    if words[0] in OWN_VERBS and words[-1] != "-m":
        as_json = here(*words, "--json")
        error = as_json.json()["error"]
        assert (as_json.code, as_json.err, error["kind"], error["code"]) == (2, "", "usage", 2)
        assert named in error["message"]


def test_a_variable_with_a_wrong_value_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DM_TIMEOUT", "soon")
    ended = here("reset")
    assert ended.code == 2
    assert "soon" in ended.err


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ((), {}),
        (("ticket=DM-12",), {"ticket": "DM-12"}),
        (("a=", "b=x=y"), {"a": "", "b": "x=y"}),
        (("a=1", "a=2"), {"a": "2"}),
        (("é=ü",), {"é": "ü"}),
    ],
)
def test_metadata_is_read_as_fields(fields: tuple[str, ...], meant: dict[str, str]) -> None:
    assert parse_metadata(fields) == meant


@pytest.mark.parametrize("name", ["Ticket", "9", "_x", "", "-"])
def test_a_field_of_metadata_that_does_not_start_in_lower_case_is_refused_before_anything_is_done(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(name))) as raised:
        make_commit(cast(Any, None), "message", {name: "x"})
    assert "lowercase" in raised.value.message


@pytest.mark.parametrize(
    ("words", "verb", "option"),
    [
        (("plan", "-f", "compose.yaml"), "plan", "-f FILE"),
        (("plan", "-fcompose.yaml"), "plan", "-f FILE"),
        (("plan", "--file=compose.yaml"), "plan", "--file FILE"),
        (("commit", "-m", "x", "-p", "shop"), "commit", "-p NAME"),
        (("status", "--project-name", "shop"), "status", "--project-name NAME"),
        (("reset", "--hard", "--profile", "debug"), "reset", "--profile NAME"),
        (("log", "--env-file", ".env"), "log", "--env-file FILE"),
        (("diff", "--project-directory", "."), "diff", "--project-directory DIR"),
        (("undo", "--ansi", "never"), "undo", "--ansi WHEN"),
        (("doctor", "--progress", "plain"), "doctor", "--progress TYPE"),
        (("prune", "--parallel", "1"), "prune", "--parallel N"),
        (("branch", "--compatibility"), "branch", "--compatibility"),
        (("worktree", "list", "-f", "compose.yaml"), "worktree list", "-f FILE"),
        (("remote", "ls", "hub", "-f", "compose.yaml"), "remote ls", "-f FILE"),
        (("push", "./hub", "-f", "compose.yaml"), "push", "-f FILE"),
        (("seed", "-f", "compose.yaml"), "seed", "-f FILE"),
    ],
)
def test_an_option_of_composes_after_one_of_our_verbs_is_told_its_place(
    here: Here, words: tuple[str, ...], verb: str, option: str
) -> None:
    ended = here(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"error: {verb} has no option {option.split()[0]}\n"
        f"hint: Compose's options go before the verb: dm-compose {option} {verb}\n"
    )


@pytest.mark.parametrize("words", [("plan", "--fiel", "compose.yaml"), ("plan", "-V")])
def test_an_option_that_is_not_composes_is_not_told_as_one(here: Here, words: tuple[str, ...]) -> None:
    ended = here(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: dm-compose plan has no option {words[1]}\nhint: ")
    assert "Compose" not in ended.err


def test_a_misplaced_option_is_told_as_json_too(here: Here) -> None:
    assert here("plan", "-f", "compose.yaml", "--json").json()["error"]["kind"] == "usage"
