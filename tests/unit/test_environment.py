"""The environment is read in the command lines and the pytest plugin, which hand down what it says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READING = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv", "expanduser", "expandvars"}
MAY_READ = {
    "dm_compose/cli",
    "pytest_dotmesh",
    "dm_compose/driver/__main__.py",  # a program of its own
    "dm_compose/engine/calls.py",  # Docker's own variables, which docker-py reads too, but for DOCKER_CONTEXT
    "dm_compose/process.py",  # hands the environment on to child processes, and looks at nothing in it
}


def uses(text: str) -> list[str]:
    """Return what a module calls of all that reads or changes the environment, in the order of its lines."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and (node.attr in READING or _is_home(node)):
            found.append((node.lineno, node.attr))
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, name.name) for name in node.names if name.name in READING]
    return [name for _, name in sorted(found)]


def _is_home(node: ast.Attribute) -> bool:
    """Whether it is `home` of the class Path."""
    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return node.attr == "home" and owner in ("Path", "PosixPath")


def modules() -> Iterator[tuple[str, str]]:
    for folder in ("dm_compose", "pytest_dotmesh"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import os; os.environ.get('A')", ["environ"]),
        ("import os as system; system.getenv('A')", ["getenv"]),
        ("from os import environ as e", ["environ"]),
        ("os.environb[b'A'] = b''; os.unsetenv('B')", ["environb", "unsetenv"]),
        ("from pathlib import Path; Path.home() / 'x'", ["home"]),
        ("import pathlib; pathlib.Path.home()", ["home"]),
        ("Path('~/x').expanduser(); os.path.expandvars('$A')", ["expanduser", "expandvars"]),
        ("service.environment.get('A'); variables.home; engine.home", []),
    ],
)
def test_every_way_of_reading_the_environment_is_seen(line: str, found: list[str]) -> None:
    assert uses(line) == found


def test_the_environment_is_read_where_words_come_in_and_nowhere_else() -> None:
    """And each of the places that may read it does, else the list is to be shortened."""
    reading = {name: found for name, text in modules() if (found := uses(text))}
    allowed = {name: place for name in reading for place in MAY_READ if name == place or name.startswith(f"{place}/")}
    assert {name: found for name, found in reading.items() if name not in allowed} == {}
    assert set(allowed.values()) == MAY_READ


def test_child_processes_get_the_environment_whole_and_nothing_of_it_is_looked_at() -> None:
    text = (ROOT / "dm_compose" / "process.py").read_text()
    dicts = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict)]
    copied = [value for node in dicts for key, value in zip(node.keys, node.values, strict=True) if key is None]
    assert uses(text) == [value.attr for value in copied if isinstance(value, ast.Attribute)] == ["environ"]
