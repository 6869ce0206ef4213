"""The word that was probably meant."""

from __future__ import annotations

import pytest

from dm_compose.core.names import did_you_mean, nearest

VERBS = ("status", "stats", "start", "commit", "checkout", "reset", "restart", "--json", "--hard", "HEAD", "master")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("stauts", "status"),
        ("statu", "status"),
        ("comit", "commit"),
        ("chekout", "checkout"),
        ("rset", "reset"),
        ("Status", "status"),
        ("head", "HEAD"),
        ("mastre", "master"),
        ("--hrad", "--hard"),
        ("--soft", None),
        ("xyz", None),
        ("", None),
    ],
)
def test_the_nearest_word(word: str, meant: str | None) -> None:
    assert nearest(word, VERBS) == meant
    assert did_you_mean(word, VERBS) == (None if meant is None else f"Did you mean {meant!r}?")
