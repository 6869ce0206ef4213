"""The work that is unfinished in a worktree, in words: a test run that lives has it, or a killed command left something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dm_compose.core.commit import COMMIT, RESTORE, SESSION, SWITCH, JournalEntry
from dm_compose.core.names import DotName, WorktreeName, session_lock
from dm_compose.errors import InUseError
from dm_compose.store.api import Store

BEFORE_RECOVERY = "before recovery"  # the reflog's word for what was live when recovery began


@dataclass(frozen=True)
class Left:
    """One unfinished operation.

    If `in_use`, a test run that lives has the worktree, or a command is at work, and nothing is wrong. `owner` describes the
    process of a test run, and `since` is its begin, if known. Otherwise a killed command left the operation. `short` says so,
    `then` what the next command that writes does, and `text` both.
    """

    operation: str
    in_use: bool
    short: str
    text: str
    owner: str | None = None
    since: datetime | None = None

    @property
    def then(self) -> str:
        return self.text.removeprefix(f"{self.short}; ")


def entries_of(store: Store, dot: DotName, worktree: WorktreeName) -> list[JournalEntry]:
    """Return the journal's entries that are about a worktree. Those of commits and switches are about the whole dot."""
    return [e for e in store.unfinished(dot) if e.operation in (COMMIT, SWITCH) or e.worktree == worktree]


def is_alive(store: Store, session: JournalEntry) -> bool:
    """Whether the test run of a session's entry lives.

    It holds the session's lock then. If a test run of another worktree holds that, it describes itself otherwise.
    """
    holder = store.holder(session_lock(session.dot))
    return holder is not None and (not holder or session.owner in (None, holder))


def in_use(store: Store, session: JournalEntry) -> InUseError:
    """Return the error for a worktree that a live test run has."""
    hint = "Wait until it has ended, or end it. `pytest --dm-isolate` leaves the stack free."
    return InUseError(_using(store, session), hint=hint)


def seen_left(store: Store, dot: DotName, worktree: WorktreeName) -> tuple[Left, ...]:
    """Return what is unfinished in a worktree, for a caller that holds no lock. A command that is at work now is one, in use."""
    found = what_is_left(store, dot, worktree) if store.has_dot(dot) else []
    holder = store.holder(dot) if found else None
    if holder is None:
        return tuple(found)
    at_work = f"a command is at work on dot {dot}: {holder}" if holder else f"a command is at work on dot {dot}"
    return tuple(left if left.in_use else replace(left, in_use=True, short=at_work, text=at_work) for left in found)


def what_is_left(store: Store, dot: DotName, worktree: WorktreeName) -> list[Left]:
    """Return what is unfinished in a worktree. The caller holds the dot's lock, so that no other command is at work."""
    found = []
    for entry in nearest(entries_of(store, dot, worktree)):
        if entry.operation == SESSION and is_alive(store, entry):
            text = _using(store, entry)
            found.append(Left(SESSION, True, text, text, entry.owner, entry.began))
        elif entry.operation == SESSION:
            assert entry.target is not None
            short = in_words(entry)
            does = f"keeps what is live now and puts back the state from before the tests ({entry.target.short})"
            found.append(Left(SESSION, False, short, _told(short, does), entry.owner, entry.began))
        else:
            short = in_words(entry)
            does = "puts its containers back"
            if entry.operation == SWITCH:
                does = f"finishes it: the volumes follow worktree {entry.worktree}"
            elif entry.target is not None:
                does = f"keeps what is live now and finishes it ({entry.target.short})"
            found.append(Left(entry.operation, False, short, _told(short, does)))
    return found


def in_words(entry: JournalEntry) -> str:
    """Say of a killed command's entry what was killed."""
    if entry.operation == SESSION:
        return f"a test run that had dot {entry.dot} was killed"
    action = entry.move.action if entry.move is not None else entry.operation
    return f"an earlier {action} of dot {entry.dot} was interrupted"


def nearest(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Return the entries without the restores that belong to a test run, because its own end makes up for them."""
    tested = any(entry.operation == SESSION for entry in entries)
    return [e for e in entries if not (tested and e.operation == RESTORE and e.move is None)]


def _told(short: str, does: str) -> str:
    return f"{short}; `dm-compose prune`, or the next command that writes, {does}"


def _using(store: Store, session: JournalEntry) -> str:
    since = f" since {session.began.astimezone():%H:%M}" if session.began is not None else ""
    owner = session.owner or store.holder(session_lock(session.dot)) or "a process that could not say its name"
    return f"dot {session.dot} is in use by a test run{since}: {owner}"
