"""The stack as its last restore left it. The next restore leaves alone the subdots that nothing has touched since.

A subdot is left alone if both of these hold:

1. Every container that may write to it is proven untouched (witness.Witness). So nothing in an engine's memory can have changed.
2. None of its files was written to since then. Files that its datastore's module lists as volatile or as the running server's own
   do not count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dm_compose.core.at_once import at_once
from dm_compose.core.commit import Commit
from dm_compose.core.containers import Container
from dm_compose.core.names import CommitId, SubdotName
from dm_compose.core.plan import Action, Plan
from dm_compose.engine import Engine
from dm_compose.live.quiesce import save
from dm_compose.live.worktree import LiveWorktree, mounted_subdots
from dm_compose.untouched.witness import UNKNOWN, Witness


@dataclass(frozen=True)
class Touched:
    """Everything that may have changed since the last restore. It is false if nothing has.

    `everything` says that nothing can be ruled out, for example before the first restore or for another commit. Otherwise
    `containers` has the containers that may have been reached (ids) with the reason, and `subdots` those whose files were written
    to. `paused` are the containers (ids) that somebody has paused and not thawed. Time stands still in them: no change.
    `known` are the containers that were watched; any other one was started since. `others_started` says that a container of the
    stack, or one that mounts a subdot, was started since.
    """

    containers: Mapping[str, str] = field(default_factory=dict)
    subdots: Collection[SubdotName] = ()
    known: Set[str] = frozenset()
    others_started: bool = False
    everything: bool = False
    paused: Set[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.everything or self.containers or self.subdots or self.others_started or self.paused)

    def causes(self, live: LiveWorktree) -> dict[str, str]:
        """Return the containers (ids) that may have changed, with the reason; '' where no reason is known."""
        if self.everything:
            return {m.container.id: "" for m in live.members}
        new = {m.container.id: "it was started since" for m in live.members if m.container.id not in self.known}
        return {**new, **self.containers}

    def reasons(self, live: LiveWorktree) -> dict[str, str]:
        """Return the services with state that may have changed, each with the reason as people read it."""
        causes = self.causes(live)
        found = {
            m.container.label: causes[m.container.id] or UNKNOWN
            for m in live.members
            if m.container.id in causes and m.has_state and (m.container.running or m.container.id in self.known)
        }
        for subdot in self.subdots:
            for member in live.users(subdot):
                if member.mounts[subdot]:
                    found.setdefault(member.container.label, f"files of {subdot} were written to")
        for member in live.members:
            if member.container.id in self.paused:
                found.setdefault(member.container.label, "it was left paused")
        return found

    def untouched_subdots(self, live: LiveWorktree) -> list[SubdotName]:
        """Return the subdots that a restore to the same commit may leave alone."""
        if self.everything:
            return []
        causes = self.causes(live)
        return [
            subdot
            for subdot in live.places
            if subdot not in self.subdots
            and all(m.container.id not in causes for m in live.users(subdot) if m.writes and m.mounts[subdot])
        ]


EVERYTHING = Touched(everything=True)


class LastRestore:
    """The stack as a restore left it. Not thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._witness = Witness(engine)
        self._live: LiveWorktree | None = None
        self._watched: list[Container] = []
        self._commit: CommitId | None = None
        self.arrived_at = datetime.min.replace(tzinfo=UTC)

    def touched(self, commit: CommitId | None = None) -> Touched:
        """Return what may have changed since the last restore. Takes no lock.

        Everything may have, before the first restore, after a restore that did not end, and if `commit` is given and the last
        restore was to another one.
        """
        if self._live is None or self._commit is None or commit not in (None, self._commit):
            return EVERYTHING
        containers = self._witness.touches(self._watched)
        written = self._live.store.written_files(self._live.directories)
        known = {c.id for c in self._watched}
        return Touched(containers, written, known, self._others_started(self._live), paused=known & self._witness.paused)

    def _others_started(self, live: LiveWorktree) -> bool:
        return any(c.project == live.project or mounted_subdots(self._engine, c, live.places) for c in self._witness.others)

    def still(self) -> LiveWorktree | None:
        """Return the live worktree as it was observed last, None if that is out of date.

        It is so if a container has come or gone, was stopped, started or paused, or joined or left a network since.
        """
        if self._commit is None or self._live is None:
            return None
        self._witness.touches(())  # makes the witness look at the engine's events
        return None if self._witness.moved or self._others_started(self._live) else self._live

    def leaves(self, live: LiveWorktree) -> None:
        """Say that a restore begins. Until one has `arrived`, everything counts as touched."""
        self._commit = None
        self._witness.restoring(m.container for m in live.members if m.container.running and m.has_state)

    def arrived(self, live: LiveWorktree, commit: Commit, touched: Touched, plan: Plan) -> None:
        """Say that a restore has put the stack to a commit, and that all of it answers.

        `touched` says what may have changed before the restore. `plan` has the steps that the restore did.
        """
        self._commit = None
        down = set(plan.targets(Action.KILL))
        kept = touched.known - touched.containers.keys() - down
        watched = [m.container for m in live.members if m.container.running and m.has_state]
        anew = [c.id for c in watched if c.id not in kept]
        now = {c.id: c for c in at_once(self._engine.container, anew)}
        self._witness.members = {m.container.id for m in live.members}
        self._witness.remember(now.values(), down)  # before anything else: from here on everything is seen
        alone = touched.untouched_subdots(live)
        self.arrived_at = datetime.now(UTC)  # before the look, which lasts until the file system's clock has gone on
        live.store.watch_files(live.directories, live.own_patterns(), commit.created, alone)
        self._watched = [now.get(c.id, c) for c in watched]
        members = tuple(replace(m, container=now.get(m.container.id, m.container)) for m in live.members)
        self._live, self._commit = replace(live, members=members, left=()), commit.id  # the restore has superseded what was left

    def touched_containers(self) -> Mapping[str, str]:
        """Return the containers (ids) that may have been touched, with the reason. Looks at no file.

        Call it now and then during a long test, so that no event of the engine is lost.
        """
        return self._witness.touches(self._watched)

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """Say that in the block we ask datastores to save. Nothing of that is a touch.

        A container that somebody else may have reached meanwhile counts as touched.
        """
        self._witness.visiting(self._watched)
        try:
            yield
        finally:
            self._witness.visited()

    def thawed(self) -> None:
        """Say that we have just unpaused all containers, and asked them whether they answer."""
        self._witness.thawed(self._watched)


def written_subdots(live: LiveWorktree, touched: Touched, since: datetime) -> set[SubdotName]:
    """Return the subdots whose files were written to since an instant. Subdots that nothing has touched are left out.

    Datastores of the other subdots write what they hold in memory to their files first.
    """
    left = touched.untouched_subdots(live)
    asked = {s for s in live.places if s not in left}
    save(live, [m for m in live.writers() if not m.mounts.keys().isdisjoint(asked)])
    found = live.store.files_written_since(live.directories, live.ignore_patterns(), since)
    return asked & set(found)
