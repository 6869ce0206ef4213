"""Uncommitted changes that go along to another commit: with `checkout --carry`, and when a stash is put back.

A subdot is the smallest part that can go along, because the files of a datastore make sense as a whole only.
"""

from __future__ import annotations

from collections.abc import Collection

from dm_compose.core.commit import Commit
from dm_compose.core.names import SubdotName
from dm_compose.errors import UncommittedError


def changed_subdots(before: Commit, after: Commit) -> list[SubdotName]:
    """Return the subdots of `after` that are not the same in `before`. Pure."""
    return [s for s, state in after.subdots.items() if s not in before.subdots or before.subdots[s].manifest != state.manifest]


def refuse_to_mix(changed: Collection[SubdotName], base: Commit, target: Commit, *, hint: str) -> None:
    """Raise UncommittedError if a subdot that has changed since `base` differs in `target`, because both are wanted."""
    differing = {*changed_subdots(base, target), *(base.subdots.keys() - target.subdots.keys())}
    if both := sorted(differing.intersection(changed)):
        raise UncommittedError(
            f"uncommitted changes in {', '.join(both)} cannot be carried along, because {base.id.short} and {target.id.short}"
            " differ there too",
            hint=hint,
        )
