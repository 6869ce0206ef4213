"""The command references have every verb, argument and option of both programs, and nothing that is not there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dm_compose.cli.compose_group import cli as compose_cli
from dm_compose.cli.dm_group import cli as dm_cli
from dm_compose.cli.passing import CREATING, REMOVING
from dm_compose.errors import error_classes

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"dm-compose": (compose_cli, DOCS / "cli.md"), "dm": (dm_cli, DOCS / "dm.md")}
OF_EVERY_VERB = {"--help", "-h"}
programs = pytest.mark.parametrize("program", PAGES)


def verbs(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every verb with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def rows(page: Path) -> list[list[str]]:
    """Return the cells of all rows of all tables; an empty first cell has the one above it."""
    found: list[list[str]] = []
    for line in page.read_text().splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.append([cells[0] or found[-1][0], *cells[1:]])
    return found


def described(program: str) -> dict[str, str]:
    """Return how a page writes each verb at its longest, in the first cell of a row: with its arguments."""
    known = dict(verbs(PAGES[program][0]))
    found: dict[str, str] = {}
    for first, *_ in rows(PAGES[program][1]):
        for written in re.findall(r"`([^`]+)`", first):
            verb = next((v for v in (" ".join(written.split()[:2]), written.split()[0]) if v in known), None)
            if verb is not None:
                found[verb] = max(written, found.get(verb, ""), key=len)
    return found


def options_in(program: str) -> dict[str, set[str]]:
    """Return the options that a page's tables have for each verb, those of all verbs at every one of them."""
    names = [verb for verb, _ in verbs(PAGES[program][0])]
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows(PAGES[program][1]):
        options = {word.split()[0].split("=")[0] for word in re.findall(r"`(-[^`]+)`", row[1])} if len(row) > 2 else set()
        everywhere = row[0] == "every verb" or " to " in row[0]
        for verb in names if everywhere else re.findall(r"`([^`]+)`", row[0]):
            found[verb] |= options
    return found


def options_of(command: click.Command) -> set[str]:
    return {opt for parameter in command.params if isinstance(parameter, click.Option) for opt in parameter.opts}


@programs
def test_every_verb_is_documented_with_its_arguments(program: str) -> None:
    written = described(program)
    missing = []
    for verb, command in verbs(PAGES[program][0]):
        if verb not in written:
            missing.append(verb)
            continue
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                name = parameter.metavar or (parameter.name or "").upper()
                missing += [f"{verb} {name}"] if name not in written[verb] else []
    assert missing == []


@programs
def test_every_option_of_every_verb_is_documented(program: str) -> None:
    written = options_in(program)
    missing = {verb: options_of(command) - written[verb] - OF_EVERY_VERB for verb, command in verbs(PAGES[program][0])}
    assert {verb: options for verb, options in missing.items() if options} == {}


@programs
def test_no_option_is_documented_that_is_not_there(program: str) -> None:
    general = {"--dot", "--branch", "--json"} | OF_EVERY_VERB
    commands = dict(verbs(PAGES[program][0]))
    surplus = {v: found - options_of(commands[v]) - general for v, found in options_in(program).items() if v in commands}
    assert {verb: options for verb, options in surplus.items() if options} == {}


@programs
def test_no_verb_is_documented_that_is_not_there(program: str) -> None:
    composes = CREATING | REMOVING if program == "dm-compose" else set()
    known = {verb for verb, _ in verbs(PAGES[program][0])} | composes
    tables = [row for row in rows(PAGES[program][1]) if len(row) == 2 and re.fullmatch(r"(`[a-z][^`]*`(, )?)+", row[0])]
    named = {" ".join(re.findall(r"\b[a-z]+\b(?!-)", w)[:2]) for row in tables for w in re.findall(r"`([^`]+)`", row[0])}
    assert {name for name in named if name not in known and name.split()[0] not in known} == set()


@programs
def test_every_option_before_the_verb_is_documented(program: str) -> None:
    group, page = PAGES[program]
    assert {opt for opt in options_of(group) if not re.search(rf"`[^`]*(?<![\w-]){opt}\b", page.read_text())} == set()


def test_both_pages_lead_to_the_exit_codes_of_all_kinds_of_errors() -> None:
    assert "(cli.md#exit-codes)" in PAGES["dm"][1].read_text()
    text = PAGES["dm-compose"][1].read_text()
    for error in error_classes().values():
        assert re.search(rf"^\| {error.exit_code} \| `{error.kind}` \|", text, re.MULTILINE), error.kind


def test_links_between_pages_lead_somewhere() -> None:
    """To a heading too."""
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            path, _, heading = target.partition("#")
            other = page.parent / path if path else page
            assert other.exists(), f"{page.name}: {target}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", text).lower().strip().replace(" ", "-") for text in headings}
                assert heading in slugs, f"{page.name}: {target}"
