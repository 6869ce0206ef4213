"""The help of `dm-compose` describes every verb, option and exit code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import dm_compose
from dm_compose.cli.compose_group import cli
from dm_compose.cli.verbs.state import VERBS
from dm_compose.errors import error_classes
from tests.support.commands import (
    BUG,
    INTERRUPTED,
    OWN_VERBS,
    TERMINATED,
)
from tests.unit.cli.compose_group.conftest import Here


@pytest.mark.parametrize("verb", OWN_VERBS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_verb_has_help(here: Here, verb: str, option: str) -> None:
    ended = here(verb, option)
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: dm-compose {verb}" in ended.out


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_and_every_option_of_it_is_described(verb: click.Command) -> None:
    assert verb.help
    assert len(verb.get_short_help_str()) > 10
    for parameter in verb.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{verb.name} {parameter.opts}"


def test_every_global_option_is_described() -> None:
    for parameter in cli.params:
        assert isinstance(parameter, click.Option)
        assert parameter.help, parameter.opts


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_lists_every_verb_and_every_exit_code(here: Here, option: str) -> None:
    ended = here(option)
    assert ended.code == 0
    assert all(re.search(rf"^  {verb}\b", ended.out, re.MULTILINE) for verb in OWN_VERBS)
    codes = ended.out.partition("Exit codes:")[2]
    for code in {*(cls.exit_code for cls in error_classes().values()), BUG, INTERRUPTED}:
        assert re.search(rf"\b{code} [a-zA-Z]", codes), code


def test_exit_codes_are_not_shared() -> None:
    codes = [cls.exit_code for cls in error_classes().values()]
    assert len(set(codes)) == len(codes)
    assert not {0, BUG, INTERRUPTED, TERMINATED} & set(codes)


def test_no_words_print_the_usage(here: Here) -> None:
    ended = here()
    assert "Usage: dm-compose" in ended.out + ended.err


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(here: Here, option: str) -> None:
    ended = here(option)
    assert (ended.code, dm_compose.__version__ in ended.out) == (0, True)


DOCUMENTATION = Path(__file__).parents[4] / "docs" / "cli.md"


def test_every_verb_and_every_exit_code_is_in_the_documentation() -> None:
    text = DOCUMENTATION.read_text()
    missing = [verb for verb in OWN_VERBS if not re.search(rf"\b{verb}\b", text)]
    codes = {*(cls.exit_code for cls in error_classes().values()), BUG, INTERRUPTED}
    missing += [f"exit code {code}" for code in sorted(codes) if not re.search(rf"^\|?\s*`?{code}`?\b", text, re.MULTILINE)]
    assert missing == []
