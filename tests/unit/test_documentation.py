"""The command references have every verb, argument and option of both programs, and nothing that is not there."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from benchmarks import plot
from dm_compose.cli.compose_group import cli as compose_cli
from dm_compose.cli.dm_group import cli as dm_cli
from dm_compose.cli.passing import CREATING, REMOVING
from dm_compose.datastores.registry import Registry
from dm_compose.errors import DmError, error_classes
from dm_compose.plugins import Plugins, plugins
from pytest_dotmesh.config import SETTINGS
from tests.support.plugins import install
from tools import datastores_page

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"dm-compose": (compose_cli, ("cli.md", "remotes.md")), "dm": (dm_cli, ("dm.md", "remotes.md"))}
OF_EVERY_VERB = {"--help", "-h"}
programs = pytest.mark.parametrize("program", PAGES)


def verbs(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every verb with its words; a group that does something by itself is one too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{before}{name}", command


def text(program: str) -> str:
    return "\n".join((DOCS / page).read_text() for page in PAGES[program][1])


def rows(program: str) -> list[list[str]]:
    """Return the cells of all rows of all tables; an empty first cell has the one above it."""
    found: list[list[str]] = []
    for line in text(program).splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.append([cells[0] or found[-1][0], *cells[1:]])
    return found


def written(program: str) -> Iterator[tuple[str, str]]:
    """Yield the verbs in the first cells of rows, each as it is written there: `VERB ARGUMENT [--option]`."""
    known = dict(verbs(PAGES[program][0]))
    for first, *_ in rows(program):
        for words in re.findall(r"`([^`]+)`", first):
            verb = next((v for n in (3, 2, 1) if (v := " ".join(words.split()[:n])) in known), None)
            if verb is not None:
                yield verb, words


def options_in(program: str) -> dict[str, set[str]]:
    """Return the options that the tables have for each verb, those of all verbs at every one of them."""
    names = [verb for verb, _ in verbs(PAGES[program][0])]
    found: dict[str, set[str]] = defaultdict(set)
    for verb, words in written(program):
        found[verb] |= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", words, re.IGNORECASE))
    for row in rows(program):
        options = {word.split()[0].split("=")[0] for word in re.findall(r"`(-[^`]+)`", row[1])} if len(row) > 2 else set()
        everywhere = row[0] == "every verb" or " to " in row[0]
        for verb in names if everywhere else re.findall(r"`([^`]+)`", row[0]):
            found[verb] |= options
    return found


def options_of(command: click.Command) -> list[click.Option]:
    """Return the options that users are told of."""
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden and not OF_EVERY_VERB & set(p.opts)]


@programs
def test_every_verb_is_documented_with_its_arguments(program: str) -> None:
    longest: dict[str, str] = {}
    for verb, words in written(program):
        longest[verb] = max(words, longest.get(verb, ""), key=len)
    missing = []
    for verb, command in verbs(PAGES[program][0]):
        if verb not in longest:
            missing.append(verb)
            continue
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                names = re.findall(r"[A-Z]+", parameter.metavar or (parameter.name or "").upper())
                missing += [f"{verb} {name}" for name in names if name not in longest[verb]]
    assert missing == []


@programs
def test_every_option_of_every_verb_is_documented(program: str) -> None:
    found = options_in(program)
    missing = [
        (verb, option.opts)
        for verb, command in verbs(PAGES[program][0])
        for option in options_of(command)
        if not found[verb] & set(option.opts)
    ]
    assert missing == []


@programs
def test_no_option_is_documented_that_is_not_there(program: str) -> None:
    general = {"--dot", "--branch", "--json", "--quiet", "-q"} | OF_EVERY_VERB
    known = {
        verb: {o for option in options_of(command) for o in (*option.opts, *option.secondary_opts)}
        for verb, command in verbs(PAGES[program][0])
    }
    surplus = {verb: found - known[verb] - general for verb, found in options_in(program).items() if verb in known}
    assert {verb: options for verb, options in surplus.items() if options} == {}


@programs
def test_no_verb_is_documented_that_is_not_there(program: str) -> None:
    composes = CREATING | REMOVING | {"push", "pull"} if program == "dm-compose" else set()
    known = {verb for verb, _ in verbs(PAGES[program][0])} | composes
    tables = [row for row in rows(program) if len(row) == 2 and re.fullmatch(r"(`[a-z][^`]*`(, )?)+", row[0])]
    first = re.compile(r"[a-z][a-z0-9-]*( [a-z][a-z-]*)*")
    named = {m[0] for row in tables for words in re.findall(r"`([^`]+)`", row[0]) if (m := first.match(words))}
    strangers = {name for name in named if name not in known}
    assert strangers <= ({"clone", "dot set-upstream"} if program == "dm-compose" else set())  # in the page that both have


@programs
def test_every_option_before_the_verb_is_documented(program: str) -> None:
    for option in options_of(PAGES[program][0]):
        assert any(re.search(rf"`[^`]*(?<![\w-]){opt}\b", text(program)) for opt in option.opts), option.opts


def test_both_pages_lead_to_the_exit_codes_of_all_kinds_of_errors() -> None:
    assert "(cli.md#exit-codes)" in text("dm")
    for error in error_classes().values():
        assert re.search(rf"^\| {error.exit_code} \| `{error.kind}` \|", text("dm-compose"), re.MULTILINE), error.kind


def test_every_setting_of_the_plugin_is_documented_with_its_three_names() -> None:
    page = (DOCS / "pytest.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `--dm-")]
    for setting in SETTINGS:
        assert any(line.startswith(f"| `{setting.option}` | `{setting.dest}` | `{setting.variable}` |") for line in rows), (
            setting.name
        )
    assert len(rows) == len(SETTINGS)


def test_the_plot_is_drawn_from_the_kept_samples() -> None:
    drawn = plot.svg(json.loads(plot.FIGURES.read_text()))
    assert plot.PICTURE.read_text() == drawn, "python -m benchmarks.plot draws it anew"


def test_the_page_of_datastores_is_what_the_modules_say() -> None:
    assert datastores_page.PAGE.read_text() == datastores_page.page(), "python -m tools.datastores_page writes it anew"


def test_the_changelog_says_how_many_datastores_are_known() -> None:
    found = re.findall(r"\b([\w-]+) datastores are known", (DOCS.parent / "CHANGELOG.md").read_text())
    assert found == [str(len(Registry(Plugins([])).names()))]


def pages() -> list[Path]:
    return sorted((*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"))


def prose(page: Path) -> list[str]:
    """Return the lines of a page; those of tables, headings and code (fenced, or indented after an empty line) are empty."""
    lines: list[str] = []
    fenced = indented = False
    for line in page.read_text().splitlines():
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        indented = line.startswith("    ") and (indented or not lines or not lines[-1])
        lines.append("" if fence or fenced or indented or line.startswith(("|", "#")) else line)
    return lines


def test_lines_of_text_have_at_most_120_characters() -> None:
    """Tables and code are as wide as they have to be."""
    for page in pages():
        for number, line in enumerate(prose(page), 1):
            assert len(line) <= 120, f"{page.name}:{number} has {len(line)} characters"


def test_no_sentence_begins_with_what_or_who_unless_it_asks() -> None:
    """Such a sentence names its actor late: "What a test did not touch is left alone"."""
    for page in pages():
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(prose(page))):
            words = " ".join(paragraph.split())
            found = re.findall(r"(?:^|^\W+|^\d+\. |[.!?:] \W*)((?:What|Whatever|Who|Whoever|Whom)\b[^.?!]*[.?!]?)", words)
            assert [sentence for sentence in found if not sentence.endswith("?")] == [], page.name


def test_links_between_pages_lead_somewhere() -> None:
    """To a heading too."""
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            path, _, heading = target.partition("#")
            other = page.parent / path if path else page
            assert other.exists(), f"{page.name}: {target}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", title).lower().strip().replace(" ", "-") for title in headings}
                assert heading in slugs, f"{page.name}: {target}"


def test_the_example_of_a_plugin_is_one_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hook says by a DmError what is wrong, as the page asks for."""
    example = re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL)[0]
    monkeypatch.syspath_prepend(str(install(tmp_path, example)))
    plugins.cache_clear()
    found = Registry(plugins()).get("acmedb")
    assert found is not None
    assert found.quiesce is not None

    class Full:
        def run(self, command: list[str]) -> tuple[int, str]:
            return 1, f"{' '.join(command)}: no space left"

    with pytest.raises(DmError, match="acmectl flush: no space left") as raised:
        found.quiesce(Full())  # type: ignore[arg-type]
    assert type(raised.value) is DmError
    sys.modules.pop("acme_dm")
    plugins.cache_clear()


def test_the_page_on_reliability_names_tests_and_programs_that_there_are() -> None:
    page = (DOCS / "reliability.md").read_text()
    tests = set(re.findall(r"tests/[\w/]+\.py", page))
    programs = set(re.findall(r"-m (benchmarks\.\w+)", page))
    assert len(tests) > 10
    assert [name for name in sorted(tests) if not (DOCS.parent / name).is_file()] == []
    assert [name for name in sorted(programs) if not (DOCS.parent / f"{name.replace('.', '/')}.py").is_file()] == []
