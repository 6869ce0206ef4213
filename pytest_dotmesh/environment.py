"""Environment variables that tell tests, and the code under test, where the stack's services are (`dm_env`)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

import pytest

from dm_compose.errors import NotFoundError

Endpoint = Callable[[str, int], tuple[str, int]]
_FIELD = re.compile(r"\{([^{}:]+):(\d+)(?::(host|port))?\}")


class Environment:
    """Variables from templates `NAME=TEXT`; in TEXT `{SERVICE:PORT}` stands for `HOST:PORT` of a service's port as tests reach
    it, `{SERVICE:PORT:host}` and `{SERVICE:PORT:port}` for one of the two, `{{` and `}}` for a brace.
    """

    def __init__(self, lines: Sequence[str], where: str) -> None:
        """pytest.UsageError for a line that is none."""
        self.lines = tuple(lines)
        self._templates: dict[str, str] = {}
        self._before: dict[str, str | None] = {}
        for line in lines:
            name, equals, text = line.partition("=")
            if not equals or not name.strip() or re.search(r"[{}]", _FIELD.sub("", _without_braces(text))):
                raise pytest.UsageError(f"{where}: {line!r} is not NAME=TEXT with fields like {{db:5432}} or {{db:5432:port}}")
            self._templates[name.strip()] = text.strip()

    def set(self, endpoint: Endpoint) -> None:
        """Set the variables to where services are now. NotFoundError names the variable whose service there is not."""
        known: dict[tuple[str, int], tuple[str, int]] = {}
        for name, template in self._templates.items():
            try:
                value = _filled(template, endpoint, known)
            except NotFoundError as error:
                raise NotFoundError(f"dm_env: {name}: {error.message}", hint=error.hint) from None
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        """Put back what the variables were before the first `set`."""
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
