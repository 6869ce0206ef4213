"""The mutable part of a store: dots, refs, worktrees, reflog and journal, in one SQLite file."""

from dm_compose.state.database import Database

__all__ = ["Database"]
