"""Dataclasses to plain JSON data and back, checked against their annotations."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")


def to_plain(value: Any, attached: list[bytes] | None = None) -> Any:
    """Return `value` as dicts, lists, strings, numbers, booleans and None.

    A dataclass becomes a dict by field name, an enum its value, and an instant its ISO 8601 text. Bytes are appended to
    `attached`, and their index there takes their place. TypeError for anything else, and for bytes without `attached`.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): to_plain(v, attached) for k, v in value.items()}
    if isinstance(value, list | tuple | Set):
        return [to_plain(v, attached) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name), attached) for name in _hints(type(value))}
    if isinstance(value, bytes) and attached is not None:
        attached.append(value)
        return len(attached) - 1
    raise TypeError(f"cannot make plain data of {type(value).__name__}")


def from_plain(kind: type[T], data: Any, attached: Sequence[bytes] = ()) -> T:
    """Return the value of type `kind` that plain data, and the bytes attached to it, describe.

    Unknown fields are ignored, so that an older reader copes with a newer writer. ValueError for a value of another type, and
    for a missing field without a default.
    """
    return typing.cast(T, _decode(kind, data, attached))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


@functools.cache
def _types(cls: type) -> tuple[Any, ...]:
    return tuple(typing.get_type_hints(cls).values())


def _decode(kind: Any, data: Any, attached: Sequence[bytes]) -> Any:
    if kind is Any or kind is object:
        return data
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        (inner,) = [a for a in args if a is not type(None)]
        return _decode(inner, data, attached)
    if origin in (list, tuple, set, Set, Sequence):
        if not isinstance(data, list | tuple):
            raise ValueError(f"expected a list, found {data!r}")
        if origin is tuple and args[-1] is not Ellipsis:
            return tuple(_decode(a, d, attached) for a, d in zip(args, data, strict=True))
        return {list: list, set: set, Set: set}.get(origin, tuple)(_decode(args[0], item, attached) for item in data)
    if origin in (dict, Mapping):
        if not isinstance(data, Mapping):
            raise ValueError(f"expected an object, found {data!r}")
        return {_decode(args[0], key, attached): _decode(args[1], item, attached) for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        if not isinstance(data, Mapping):
            raise ValueError(f"expected an object, found {data!r}")
        hints = _hints(typing.cast(type, kind))
        fields = {name: _decode(hint, data[name], attached) for name, hint in hints.items() if name in data}
        try:
            return typing.cast(Any, kind)(**fields)
        except TypeError as error:
            raise ValueError(str(error)) from None
    if isinstance(kind, type) and issubclass(kind, tuple):  # a named one
        return kind(*_decode(tuple[*_types(kind)], data, attached))  # type: ignore[misc]
    if kind is bytes and type(data) is int and 0 <= data < len(attached):
        return attached[data]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(data)
    if kind is datetime and isinstance(data, str):
        return datetime.fromisoformat(data)
    if isinstance(kind, type) and issubclass(kind, str) and hasattr(kind, "parse"):
        return kind.parse(data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if type(data) is kind:
        return data
    raise ValueError(f"expected {getattr(kind, '__name__', kind)}, found {data!r}")
