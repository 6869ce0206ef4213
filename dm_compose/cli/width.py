"""The columns that text takes on a terminal."""

from __future__ import annotations

import re
import unicodedata

import click

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


def wrap(text: str, columns: int) -> list[str]:
    """Return a line of text as lines of so many columns. It breaks between words, and a command in `backticks` stays whole.

    A word that is too long has a line of its own, which is then longer. The later lines are indented by two columns more.
    """
    indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
    lines = [""]
    for word in _words(text, columns - len(indent)):
        begun = bool(lines[-1].strip())
        if begun and width_of(click.unstyle(lines[-1] + word)) > columns:
            lines.append(indent + word.lstrip())
        else:
            lines[-1] += word
    return lines


def _words(text: str, room: int) -> list[str]:
    """Return the words of a text, each with the spaces before it."""
    found: list[str] = []
    for word in re.findall(r" *`[^`]*`[^ ]*| *[^ ]+", text):
        found += [word] if width_of(word.strip()) <= room else re.findall(r" *[^ ]+", word)
    return found


def _columns(character: str) -> int:
    if character == _EMOJI:
        return 1
    if unicodedata.category(character) in _NO_COLUMN:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
