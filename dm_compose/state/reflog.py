"""The table of moves of worktrees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from dm_compose.core.commit import ReflogEntry
from dm_compose.core.names import DotName, WorktreeName
from dm_compose.core.plain import from_plain
from dm_compose.state.connection import Connection

_COLUMNS = ("number", "at", "action", "branch", "old", "new", "saved", "left")


class Reflog(Connection):
    """Typed access to the reflog. See Connection for threads, transactions and errors."""

    def add_reflog(self, dot: DotName, worktree: WorktreeName, entry: ReflogEntry) -> None:
        """Append an entry. The database gives it its number."""
        self._write(
            "INSERT INTO reflog (dot, worktree, at, action, branch, old, new, saved, left) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(dot, worktree, entry.at.isoformat(), entry.action, entry.branch, entry.old, entry.new, entry.saved, entry.left),
        )

    def forget_moves(self, numbers: Iterable[int]) -> None:
        """Forget reflog entries. Idempotent."""
        with self.transaction():
            for number in numbers:
                self._write("DELETE FROM reflog WHERE number = ?", number)

    def reflog(self, dot: DotName, worktree: WorktreeName | None = None) -> list[ReflogEntry]:
        """Return the reflog entries of a worktree, by default of all of them and of those that were removed.

        The newest comes first.
        """
        return [entry for _, _, entry in self.moves(dot, worktree)]

    def moves(
        self, dot: DotName | None = None, worktree: WorktreeName | None = None
    ) -> list[tuple[DotName, WorktreeName, ReflogEntry]]:
        """Return the entries of a worktree, of a dot or of the whole store, with dot and worktree. The newest comes first.

        The name of a worktree that was removed is ''.
        """
        rows = self._all(
            "SELECT number, at, action, branch, old, new, saved, left, dot, worktree FROM reflog"
            " WHERE (? IS NULL OR dot = ?) AND (? IS NULL OR worktree = ?) ORDER BY number DESC",
            *(dot, dot, worktree, worktree),
        )
        return [(DotName(of), WorktreeName(name), _entry(columns)) for *columns, of, name in rows]

    def has_moves_before(self, instant: datetime) -> bool:
        """Return whether a reflog entry of any dot is older than an instant."""
        return bool(self._all("SELECT 1 FROM reflog WHERE at < ? LIMIT 1", instant.astimezone(UTC).isoformat()))


def _entry(columns: Sequence[object]) -> ReflogEntry:
    return from_plain(ReflogEntry, dict(zip(_COLUMNS, columns, strict=True)))
