"""Names as types: a string that has passed `parse` is safe to use in paths, queries and messages."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Collection, Iterable
from typing import Self

from dm_compose.errors import UsageError


class _Name(str):
    """A checked string. Subclasses give the pattern, and the words that messages use."""

    __slots__ = ()
    what = "name"
    allowed = "letters, digits, '_', '-' and '.'"
    longest = 100
    pattern = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

    @classmethod
    def parse(cls, text: str, *, what: str | None = None) -> Self:
        """Return `text` as this type, or raise UsageError, which calls it `what` it is to be."""
        if not isinstance(text, str) or not cls.pattern.fullmatch(text):
            raise UsageError(f"invalid {what or cls.what} {text!r}", hint=f"Use up to {cls.longest} {cls.allowed}.")
        return cls(text)


class DotName(_Name):
    """Name of a dot. Every name of a Compose project is allowed, so that a project can name its dot."""

    __slots__ = ()
    what = "dot name"
    allowed = "letters, digits, '_' and '-' (these two not first)"
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class SubdotName(_Name):
    """Name of a subdot within its dot.

    A volume named after the dot alone holds the subdot `__default__`. The subdot `__root__` holds the files of a tree that are
    in no other subdot. No other name begins with `_`.
    """

    __slots__ = ()
    what = "subdot name"
    allowed = "letters, digits, '_', '-' and '.' (a letter or digit first)"
    pattern = re.compile(r"__default__|__root__|[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class WorktreeName(_Name):
    """Name of a worktree within its dot. The stack's own volumes are the worktree `main`."""

    __slots__ = ()
    what = "worktree name"
    allowed = "letters, digits, '_', '-' and '.' (a letter or digit first)"
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class RefName(_Name):
    """Name of a branch or tag. Slashes group names, as in git. `HEAD` is reserved."""

    __slots__ = ()
    what = "branch name"
    allowed = "letters, digits, '_', '-', '.' and '/' (a letter or digit first; no '..', no '/' at an end)"
    longest = 200
    pattern = re.compile(r"(?!HEAD$)(?!.*(\.\.|//|/\.))[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,198}[A-Za-z0-9_-])?")


class _Id(_Name):
    """A random identity: 32 lower-case hex digits."""

    __slots__ = ()
    allowed = "32 hex digits"
    pattern = re.compile(r"[0-9a-f]{32}")

    @classmethod
    def new(cls) -> Self:
        """Return a new random id, unique on all machines."""
        return cls(uuid.uuid4().hex)

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self[:12]


class CommitId(_Id):
    """Identity of a commit. It is the same on every machine that the commit reaches."""

    __slots__ = ()
    what = "commit id"


class EntryId(_Id):
    """Identity of an entry in a store's journal, which stands for one operation."""

    __slots__ = ()
    what = "operation id"


DEFAULT_BRANCH = RefName("master")
MAIN_WORKTREE = WorktreeName("main")
DEFAULT_SUBDOT = SubdotName("__default__")
ROOT_SUBDOT = SubdotName("__root__")
FAILED_BRANCHES = "failed"  # the state that a failed test has left is the branch failed/RUN/TEST
SEED_BRANCHES = "seed"  # a seed is the branch seed/KEY


LONGEST_NAME = 100


def free_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or the name with the first number at its end that is not taken."""
    numbered = (f"{name[: LONGEST_NAME - 4]}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def worktree_name(branch: RefName, taken: Collection[str]) -> WorktreeName:
    """Return a free name for a worktree of a branch."""
    return WorktreeName.parse(free_name(branch.replace("/", "-")[:LONGEST_NAME], taken))


def session_lock(dot: DotName) -> str:
    """Return the name of the lock that a test session of a dot holds while it lives."""
    return f"{dot}.session"


def settle_lock(dot: DotName) -> str:
    """Return the name of the lock that a process holds while it makes the settled form of one of a dot's commits."""
    return f"{dot}.settle"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, None if none is like it. Case and the dashes of options do not count.

    A word of the same letters goes before any other: `stauts` is nearer to `status` than to `stats`.
    """
    from difflib import get_close_matches  # takes a millisecond, and is needed for mistakes only

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
