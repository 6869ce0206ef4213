"""Docstrings are plain sentences: the actor comes first, and none begins with What, Who, Whoever or Whatever as a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RIDDLE = re.compile(r"(?:^|(?<=[.:;!?]\s)|(?<=\n\n))(?:What|Who|Whoever|Whatever)\s[^.?]*[.?]")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Return the docstrings of a module, its classes and functions, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def riddles(text: str) -> list[str]:
    return [found for found in RIDDLE.findall(text) if not found.endswith("?")]


def test_a_riddle_is_told_from_a_question_and_from_a_plain_sentence() -> None:
    assert riddles("What is left is removed. Who did it?") == ["What is left is removed."]
    assert riddles("Return what is left.\n\nWhoever asks gets nothing.") == ["Whoever asks gets nothing."]
    assert riddles("Whatsoever. Return who asks, and what they get.") == []


def test_no_docstring_has_a_sentence_that_begins_with_what_or_who() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {riddle}"
        for top in ("dm_compose", "pytest_dotmesh", "benchmarks", "tests")
        for path in sorted((ROOT / top).rglob("*.py"))
        for line, text in docstrings(path)
        for riddle in riddles(text)
    ]
    assert found == []
