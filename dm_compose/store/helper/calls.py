"""Calls that cross a pipe. The annotations of an interface say how arguments and results become plain data."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from dm_compose.core.plain import from_plain, to_plain
from dm_compose.store.api import Store
from dm_compose.store.exchange import Exchange, Staging

INTERFACES = (Store, Exchange, Staging)
"""Objects of these types never cross the pipe. They stay in the helper, and a method that returns one sends its number."""


class Method:
    """One method of an interface."""

    def __init__(self, interface: type, name: str) -> None:
        declared = getattr(interface, name, None)
        if declared is None or name.startswith("_"):
            raise AttributeError(name)
        self._signature = inspect.signature(declared)
        self._hints = typing.get_type_hints(declared)
        self._result = self._hints.pop("return")
        self.interface: type | None = self._result if self._result in INTERFACES else None

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any], attached: list[bytes]) -> dict[str, Any]:
        """Return the arguments of a call as plain data. Bytes are appended to `attached`."""
        bound = self._signature.bind(None, *args, **kwargs)
        return {name: to_plain(value, attached) for name, value in bound.arguments.items() if name != "self"}

    def unpack(self, arguments: Mapping[str, Any], attached: Sequence[bytes]) -> dict[str, Any]:
        """Return the arguments of a call from plain data. ValueError when they do not fit the interface."""
        return {name: from_plain(self._hints[name], value, attached) for name, value in arguments.items()}

    def answer(self, data: Any, attached: Sequence[bytes]) -> Any:
        """Return the result of a call from plain data."""
        return None if self._result is type(None) else from_plain(self._result, data, attached)


@functools.cache
def method(interface: type, name: str) -> Method:
    """Return a method of an interface. AttributeError when it has none of that name."""
    return Method(interface, name)
