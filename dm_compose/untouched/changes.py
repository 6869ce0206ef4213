"""What has been written to since a stack was put to a commit, whatever engines write by themselves."""

from __future__ import annotations

from datetime import datetime

from dm_compose.core.names import SubdotName
from dm_compose.live.freeze import quiesce
from dm_compose.live.worktree import LiveWorktree
from dm_compose.untouched.last_restore import Touched

UNKNOWN = "nothing is known of it"


def reached(live: LiveWorktree, touched: Touched | None) -> dict[str, str]:
    """Return the services with state that anything may have reached, with the reason; all of them where nothing is known."""
    if touched is not None:
        return touched.reasons(live)
    return {m.container.label: UNKNOWN for m in live.members if m.mounts or (m.datastore and m.datastore.in_memory)}


def written(live: LiveWorktree, touched: Touched | None, since: datetime) -> set[SubdotName]:
    """Return the subdots whose files were written to since an instant, of those that may have been touched.

    Their datastores bring what they hold in memory to their files first.
    """
    left = touched.untouched_subdots(live) if touched is not None else []
    asked = {s for s in live.places if s not in left}
    for member in live.writers():
        if member.datastore is not None and member.datastore.quiesce is not None and not member.mounts.keys().isdisjoint(asked):
            resume = quiesce(live, member)
            if resume is not None:
                resume()
    found = live.store.files_written_since(live.directories, live.ignore_patterns(), since)
    return asked & set(found)
