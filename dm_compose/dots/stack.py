"""A Compose project whose state is a dot. `dm-compose` and the pytest plugin work with one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.commit import Commit, Worktree
from dm_compose.core.containers import Container
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import MAIN_WORKTREE, DotName, SubdotName, WorktreeName
from dm_compose.core.variables import Variables
from dm_compose.core.volumes import DRIVER
from dm_compose.discovery.stack_plan import Kind
from dm_compose.dots.dot import Dot, require_dot
from dm_compose.dots.stored_dot import StoredDot
from dm_compose.errors import DmError, EngineError, InUseError, NotFoundError
from dm_compose.live.access import Access, open_access, store_exists
from dm_compose.live.facts import StackFacts
from dm_compose.live.locks import locked
from dm_compose.live.observe import make_member, observe_tree
from dm_compose.live.worktree import LiveWorktree, Member, find_places, mounted_subdots
from dm_compose.operations.budget import keep_to_budget
from dm_compose.operations.left import Left, seen_left
from dm_compose.operations.recovery import Use, look, recover
from dm_compose.operations.trees import add_tree
from dm_compose.operations.uncommitted import keep_aside
from dm_compose.operations.worktrees import add_volumes
from dm_compose.store.api import Store

Rewrite = Callable[[dict[str, Any]], None]
"""A function that changes, in place, the project document that Compose is given. In the document `$` is written `$$`."""


class Stack(Dot):
    """A Compose project whose state is a dot. Every method may raise ComposeError too."""

    def __init__(self, options: ComposeOptions, variables: Variables, listener: Listener = ignore) -> None:
        super().__init__(variables, listener)
        self.compose = Compose(options, variables.compose_files)
        self.facts = StackFacts(self.compose)
        self.rewrites: tuple[Rewrite, ...] = ()  # changes to the project before Compose gets it

    @property
    def name(self) -> DotName:
        return self.facts.plan.dot

    # Observing

    def describe(self, container: Container, mounts: Mapping[SubdotName, bool], pinned: bool) -> Member:
        mine = container.project == self.facts.project.name
        planned = self.facts.plan.services.get(container.service) if mine else None
        return make_member(self.facts.engine, container, mounts, planned=planned, pinned=pinned)

    def containers(self, places: Sequence[str] = ()) -> list[Container]:
        """Return the project's containers and those that have one of `places`, running or not. See Engine.containers."""
        return self.facts.engine.containers(self.facts.project.name, places=places, overlapping=True)

    def identity(self, store: Store) -> tuple[DotName, WorktreeName]:
        """Return the dot and the worktree with the project's state.

        If the store knows a worktree of the project, it is that one. Otherwise it is the current worktree of the plan's dot.
        """
        if (owner := store.worktree_of(self.facts.project.name)) is not None:
            return owner.dot, owner.name
        dot = self.facts.plan.dot
        return dot, store.current(dot) if store.has_dot(dot) else MAIN_WORKTREE

    def lasting_dot(self, store: Store) -> DotName:
        """Return the dot that keeps states which outlive a test run."""
        return self.identity(store)[0]

    def find(self, store: Store, ref: str) -> Commit:
        """Return the commit that REF means, for tests to start from. NotFoundError, also if there is no dot yet."""
        dot, worktree = self.identity(store)
        if not store.has_dot(dot):
            raise NotFoundError(f"dot {dot} has no commit to test from", hint='Make one: dm-compose commit -m "seed".')
        return store.commit(dot, store.resolve(dot, worktree, ref))

    def keep(self, live: LiveWorktree, message: str) -> Commit:
        """Commit the live state without moving a branch or the reflog."""
        return keep_aside(live, message)

    def observe(self, access: Access, places: Mapping[SubdotName, str] | None) -> LiveWorktree:
        """Look at the stack over an open store, with its files at `places` (see OpenStack). Takes no lock."""
        dot, name = self.identity(access.store)
        worktree = access.store.worktree(dot, name) if access.store.has_dot(dot) else None
        if places is None:
            assert worktree is not None
            return observe_tree(
                access,
                self.facts.engine,
                worktree,
                self.listener,
                self.describe,
                project=self.facts.project.name,
                compose_digest=self.facts.project.digest,
            )
        if worktree is not None and worktree.tree:
            raise InUseError(
                f"dot {dot} keeps its files in the store, and this stack keeps its in Docker's volumes",
                hint="Give the stack's dot another name in the compose file: x-dotmesh: {dot: NAME}.",
            )
        containers = self.containers(list(places.values()))
        return LiveWorktree(
            access=access,
            engine=self.facts.engine,
            dot=dot,
            worktree=name,
            project=self.facts.project.name,
            plan=self.facts.plan,
            members=tuple(self.describe(c, mounted_subdots(self.facts.engine, c, places), pinned=False) for c in containers),
            places=places,
            listener=self.listener,
            compose_digest=self.facts.project.digest,
        )

    def at_worktree(self, worktree: Worktree) -> Dot:
        return StoredDot(worktree.dot, self.facts.engine, self.variables, self.listener, branch=worktree.branch)

    def add_worktree(self, name: WorktreeName, ref: str | None) -> Worktree:
        with self.live(lock=True, use=Use.RECORD) as live:
            if live.tree:
                return add_tree(live, name, ref)
            made = add_volumes(live, self.facts.engine, self.variables, self.facts.plan, name, ref)
        if ports := self.facts.fixed_ports():
            listed = ", ".join(f"{service} {', '.join(fixed)}" for service, fixed in ports.items())
            text = f"the compose file fixes ports of the host ({listed}), so only one of the two stacks can run at a time"
            files = [Path(os.path.relpath(file)) for file in self.compose.files()] or [Path("compose.yaml")]
            further = files[0].with_name(f"compose.{name}.yaml")
            how = f"to run both, write `ports: !override [...]` with other ports into a file {further}"
            words = " ".join(f"-f {file}" for file in (*files, further))
            command = f"`dm-compose {words} -p {made.project} up -d`"
            self.listener(Event("warning", f"{text}; {how}, and bring the worktree up with {command}"))
        return made

    def recorded_places(self) -> Mapping[SubdotName, str]:
        """Return the recorded places of the worktree. The store is asked only if the plan has an anonymous volume.

        Only such a volume may have lost its container, and so be found nowhere else.
        """
        if not any(s.kind in (Kind.ANONYMOUS, Kind.IMAGE) for s in self.facts.plan.subdots):
            return {}
        access = open_access(self.facts.engine, [], self.variables, self.listener)
        try:
            return access.store.worktree(*self.identity(access.store)).places
        except NotFoundError:
            return {}
        finally:
            access.store.close()

    def left(self) -> tuple[Left, ...]:
        """Return what is unfinished in the stack's worktree. Without an engine or a store nothing is known, so it is nothing."""
        try:
            if not store_exists(self.facts.engine, self.variables):
                return ()
            with contextlib.closing(open_access(self.facts.engine, [], self.variables, self.listener).store) as store:
                return seen_left(store, *self.identity(store))
        except DmError:
            return ()

    def open(self, *, make_volumes: bool) -> OpenStack:
        """Open the store for several operations. `make_volumes` makes the volumes of subdots that have none."""
        driven = [v.name for v in self.facts.project.volumes.values() if v.driver == DRIVER]
        if driven:
            access = open_access(self.facts.engine, [], self.variables, self.listener)
            dot, name = self.identity(access.store)
            is_tree = access.store.has_dot(dot) and access.store.worktree(dot, name).tree
            volumes = [self.facts.engine.volume(n) for n in driven]
            if is_tree and all(v is None or v.driver == DRIVER for v in volumes):
                return OpenStack(self, access, None)
            access.store.close()
        found = self.places(make_volumes=False)
        made = self._make_volumes(found) if make_volumes else {}
        places = {**made, **found}
        access = open_access(self.facts.engine, places.values(), self.variables, self.listener)
        return OpenStack(self, access, places, tuple(made.values()))

    @contextlib.contextmanager
    def live(
        self, *, lock: bool, use: Use = Use.WRITE, create: bool = False, make_volumes: bool = False
    ) -> Iterator[LiveWorktree]:
        """See Dot.live. Volumes that were made for a command that then put nothing in place are removed again."""
        opened = self.open(make_volumes=make_volumes)
        before = self._last_move(opened.store) if opened.made else None
        try:
            if create:
                self.ensure_dot(opened.store)
            elif lock:
                require_dot(opened.store, self.identity(opened.store)[0])
            with opened.live(lock=lock, use=use) as live:
                yield live
            if lock:
                keep_to_budget(opened.store, self.listener)
        except BaseException:
            if opened.made and self._last_move(opened.store) == before:
                for volume in opened.made:
                    with contextlib.suppress(EngineError):  # somebody has come to use it
                        self.facts.engine.remove_volume(volume)
            raise
        finally:
            opened.close()

    def _last_move(self, store: Store) -> tuple[int, int]:
        """Return what any move of the worktree changes: the number of its last entry, and of its unfinished operations."""
        dot, worktree = self.identity(store)
        if not store.has_dot(dot):
            return 0, 0
        last = next((entry.number for entry in store.reflog(dot, worktree)), 0)
        return last, len(store.unfinished(dot))

    def ensure_dot(self, store: Store) -> None:
        """Make the stack's dot if there is none yet. If several processes want that at once, one makes it and the others wait."""
        dot = self.identity(store)[0]
        if not store.has_dot(dot):
            with locked(store, dot, self.listener):
                if not store.has_dot(dot):
                    store.create_dot(dot)

    def seen_places(self) -> dict[SubdotName, str]:
        """Return the place of each subdot as far as the engine knows it, without the store. Without an engine there are none."""
        if self.facts.no_engine is not None:
            return {}
        return find_places(self.facts.plan, self.containers(), {}, self.facts.engine)

    def places(self, *, make_volumes: bool) -> dict[SubdotName, str]:
        """Return the place of each subdot. `make_volumes` makes the volumes of subdots that have no place."""
        found = self._find_places()
        return {**self._make_volumes(found), **found} if make_volumes else found

    def _find_places(self) -> dict[SubdotName, str]:
        containers = self.containers()
        found = find_places(self.facts.plan, containers, {}, self.facts.engine)
        # Without a container only the store knows an anonymous volume. To ask it may cost the start of a helper.
        seen = {c.service for c in containers if c.project == self.facts.plan.project and not c.one_off}
        unseen = [s for s in self.facts.plan.subdots if s.kind in (Kind.ANONYMOUS, Kind.IMAGE) and not seen & set(s.services)]
        if unseen or any(s.name not in found for s in self.facts.plan.subdots):
            found = find_places(self.facts.plan, containers, self.recorded_places(), self.facts.engine)
        return found

    def _make_volumes(self, places: Mapping[SubdotName, str]) -> dict[SubdotName, str]:
        missing = [s for s in self.facts.plan.subdots if s.name not in places and s.volume is not None]
        services = {c.service for c in self.containers() if not c.one_off} if missing else set()
        made = {}
        for subdot in missing:
            if subdot.volume is not None and subdot.services[0] not in services:
                named = self.facts.project.volumes.get(subdot.source)
                options = named.options if named is not None and named.driver == "local" else {}
                made[subdot.name] = self.facts.engine.create_volume(subdot.volume, self.facts.volume_labels(subdot), options).name
        return made


@dataclass(frozen=True)
class OpenStack:
    """A stack with its store open, for a test run, which does many things one after the other.

    `places` says where the subdots are. It is None where they are directories of the store, which containers reach through the
    volume driver. `made` are the volumes that were made for this.
    """

    stack: Stack
    access: Access
    places: Mapping[SubdotName, str] | None
    made: tuple[str, ...] = ()

    @property
    def store(self) -> Store:
        return self.access.store

    @contextlib.contextmanager
    def live(self, *, lock: bool = True, use: Use = Use.SESSION) -> Iterator[LiveWorktree]:
        """Look at the stack, by default as the test run that has it. See Dot.live."""

        def observe() -> LiveWorktree:
            return self.stack.observe(self.access, self.places)

        if lock:
            with locked(self.store, self.stack.identity(self.store)[0], self.stack.listener):
                yield recover(observe(), observe, self.stack.variables, use=use)
        else:
            yield look(observe(), observe)

    def close(self) -> None:
        """Close the store."""
        self.store.close()
