"""Numbers as people read them."""

from __future__ import annotations

_UNITS = ("B", "kiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Return a number of bytes as people read it, for example `12.3 MiB`."""
    for unit in _UNITS:
        if abs(count) < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def remaining(count: float) -> str:
    """Return a number of seconds to wait in whole units, for example `8 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(count)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def seconds(count: float) -> str:
    """Return a number of seconds as people read it, for example `38 ms`, `6.1 s` or `2 min 6 s`."""
    if count < 0.9995:
        return f"{count * 1000:.0f} ms"
    return f"{count:.1f} s" if count < 59.95 else remaining(count)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, for example `1 file` or `2 files`. The plural is the noun and an s, unless it is given."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
