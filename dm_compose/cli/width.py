"""The columns that text takes on a terminal."""

from __future__ import annotations

import unicodedata

_WIDE = ("W", "F")
_NO_COLUMN = ("Mn", "Me", "Cf")
_EMOJI = "\ufe0f"  # the character before it may be drawn two columns wide


def width_of(text: str) -> int:
    """Return how many columns text takes, at most. The text has no control characters."""
    return sum(_columns(character) for character in text)


def cut(text: str, columns: int) -> str:
    """Return as much of the beginning of text as fits into so many columns. Text that is cut ends with `…`."""
    if width_of(text) <= columns:
        return text
    used, kept = 1, 0
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept += 1
    return f"{text[:kept]}…" if columns > 0 else ""


def pad(text: str, columns: int) -> str:
    """Return text with spaces after it, so that it takes so many columns."""
    return text + " " * (columns - width_of(text))


def _columns(character: str) -> int:
    if character == _EMOJI:
        return 1
    if unicodedata.category(character) in _NO_COLUMN:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
