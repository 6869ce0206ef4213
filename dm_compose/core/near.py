"""The known word that a mistyped one is nearest to, for hints. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, None if none is like it. Case and the dashes of options do not count.

    A word of the same letters goes before any other: `stauts` is nearer to `status` than to `stats`.
    """
    plain: dict[str, str] = {}
    for name in known:
        plain.setdefault(_plain(name), name)
    found = get_close_matches(_plain(word), list(plain))
    same = (name for name in found if sorted(name) == sorted(_plain(word)))
    return plain[next(same, found[0])] if found else None


def _plain(word: str) -> str:
    return word.lstrip("-").casefold()


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that asks for the known word that was probably meant, None if none is like it."""
    found = nearest(word, known)
    return None if found is None else f"Did you mean {found!r}?"
