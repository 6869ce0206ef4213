"""Which words of a Compose verb are its own options."""

from __future__ import annotations

import re
import subprocess

import pytest

from dm_compose.compose.words import SHORT, WITH_VALUE, read_words
from tests.support.capabilities import needs_compose


@pytest.mark.parametrize(
    ("line", "options", "names"),
    [
        ("up", [], []),
        ("up -d web db", [("d", "true")], ["web", "db"]),
        ("up web -d", [("d", "true")], ["web"]),
        ("up --scale web=2 --scale=db=3", [("scale", "web=2"), ("scale", "db=3")], []),
        ("up -dt5 web", [("d", "true"), ("timeout", "5")], ["web"]),
        ("up -t 5 -t=6 --timeout=7", [("timeout", "5"), ("timeout", "6"), ("timeout", "7")], []),
        ("up -d=false --wait=true", [("d", "false"), ("wait", "true")], []),
        ("up -- -d", [], ["-d"]),
        ("up -", [], ["-"]),
        ("up --scale", [("scale", "")], []),
        ("up --pull -h", [("pull", "-h")], []),
        ("down -v", [("volumes", "true")], []),
        ("down -t -v", [("timeout", "-v")], []),
        ("down --rmi local -vt 5 db", [("rmi", "local"), ("volumes", "true"), ("timeout", "5")], ["db"]),
        ("run web psql -h db", [], ["web", "psql", "-h", "db"]),
        ("run -h", [("help", "true")], []),
        ("run -u -h -v /a:/b web -v", [("user", "-h"), ("volume", "/a:/b")], ["web", "-v"]),
        ("run --rm web app --help --scale web=3", [("rm", "true")], ["web", "app", "--help", "--scale", "web=3"]),
        ("run --rm -- web --help", [("rm", "true")], ["web", "--help"]),
        ("scale web=2 db=1", [], ["web=2", "db=1"]),
    ],
)
def test_options_are_told_from_what_is_not_composes(line: str, options: list[tuple[str, str]], names: list[str]) -> None:
    found = read_words(line.split())
    assert (list(found.options), list(found.names)) == (options, names)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("up", False),
        ("up --dry-run", True),
        ("up --dry-run=false", False),
        ("up --dry-run --dry-run=0", False),
        ("up --dry-run=T", True),
        ("run web --dry-run", False),
    ],
)
def test_a_flag_is_read_as_compose_reads_it(line: str, *, asked: bool) -> None:
    assert read_words(line.split()).asks("dry-run") is asked


@needs_compose
@pytest.mark.parametrize("verb", ["up", "create", "run", "scale", "watch", "down"])
def test_every_option_of_the_installed_compose_that_takes_a_value_is_known(verb: str) -> None:
    text = subprocess.run(["docker", "compose", verb, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.findall(r"^ {2,6}(?:-(\w), )?--([\w-]+)(?: ([a-z]\w*))?(?: {2,}|$)", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^ {2,6}-", text, re.MULTILINE)) > 1
    known = {short: name for short, name in SHORT.get(verb, {}).items() if name in WITH_VALUE[verb].split()}
    assert {name for _, name, value in found if value} <= set(WITH_VALUE.get(verb, "").split())
    assert {short: name for short, name, value in found if short and value} == known
