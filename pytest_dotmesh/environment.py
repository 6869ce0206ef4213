"""`dm_env`: environment variables by which tests, and the code under test, find the stack's services."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

import pytest

from dm_compose.errors import NotFoundError

Endpoint = Callable[[str, int], tuple[str, int]]
_FIELD = re.compile(r"\{([^{}:]+):(\d+)(?::(host|port))?\}")


class Environment:
    """Environment variables from templates `NAME=TEXT`.

    In TEXT `{SERVICE:PORT}` stands for the `HOST:PORT` by which tests reach a service's port, and `{SERVICE:PORT:host}` and
    `{SERVICE:PORT:port}` stand for one of the two. `{{` and `}}` stand for a brace.
    """

    def __init__(self, lines: Sequence[str], where: str) -> None:
        """Read the templates. pytest.UsageError for a line that is not one; `where` is named in it."""
        self.lines = tuple(lines)
        self._templates: dict[str, str] = {}
        self._before: dict[str, str | None] = {}
        for line in lines:
            name, equals, text = line.partition("=")
            if not equals or not name.strip() or re.search(r"[{}]", _FIELD.sub("", _without_braces(text))):
                raise pytest.UsageError(f"{where}: {line!r} is not NAME=TEXT with fields like {{db:5432}} or {{db:5432:port}}")
            self._templates[name.strip()] = text.strip()

    def set(self, endpoint: Endpoint) -> None:
        """Set the variables to the present addresses. NotFoundError names the variable whose service does not exist."""
        known: dict[tuple[str, int], tuple[str, int]] = {}
        for name, template in self._templates.items():
            try:
                value = _filled(template, endpoint, known)
            except NotFoundError as error:
                raise NotFoundError(f"dm_env: {name}: {error.message}", hint=error.hint) from None
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        """Give the variables the values that they had before the first `set`."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}


def _without_braces(text: str) -> str:
    return text.replace("{{", "").replace("}}", "")


def _filled(template: str, endpoint: Endpoint, known: dict[tuple[str, int], tuple[str, int]]) -> str:
    def found(match: re.Match[str]) -> str:
        key = match[1], int(match[2])
        if key not in known:
            known[key] = endpoint(*key)
        host, port = known[key]
        return {"host": host, "port": str(port)}.get(match[3] or "", f"{host}:{port}")

    parts = re.split(r"(\{\{|\}\})", template)
    return "".join(part[0] if part in ("{{", "}}") else _FIELD.sub(found, part) for part in parts)
