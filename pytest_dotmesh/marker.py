"""The marker `dm`: the commit that it names, and a check of its arguments."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import pytest

NAME = "dm"
_COMMIT = "commit"
_FORM = '@pytest.mark.dm("REF") or @pytest.mark.dm(commit="REF")'


def commit_of(item: pytest.Item) -> str | None:
    """Return the commit that the closest marker of a test names. None if there is no marker, or it names none."""
    mark = item.get_closest_marker(NAME)
    if mark is None:
        return None
    named: str | None = mark.args[0] if mark.args else mark.kwargs.get(_COMMIT)
    return named


def check_markers(items: Iterable[pytest.Item]) -> None:
    """Raise pytest.UsageError if a marker has an argument that it does not know. The error names the tests' file and line."""
    wrong: dict[int, str] = {}
    for item in items:
        for mark in item.iter_markers(NAME):
            if id(mark) not in wrong and (problem := _problem(mark)):
                file, line, _ = item.location
                wrong[id(mark)] = f"{file}:{(line or 0) + 1}: {problem}"
    if wrong:
        raise pytest.UsageError("\n".join(wrong.values()))


def _problem(mark: pytest.Mark) -> str | None:
    """Return the problem of a marker's arguments in a line, None if there is none."""
    for word in mark.kwargs:
        if word != _COMMIT:
            near = get_close_matches(word, [_COMMIT], 1)
            return f"the marker dm has no argument {word!r}; " + (f"did you mean {near[0]!r}?" if near else f"it is {_FORM}")
    values = [*mark.args, *mark.kwargs.values()]
    if len(values) > 1:
        return f"the marker dm takes one commit, and here are {len(values)}; it is {_FORM}"
    if values and not (isinstance(values[0], str) and values[0]):
        return f"{values[0]!r} is no commit; the marker is {_FORM}"
    return None
