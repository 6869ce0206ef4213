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
