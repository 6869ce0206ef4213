"""A dot as the store knows it. It needs no compose file, and if the store is a directory, no Docker Engine either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from dm_compose.core.commit import Worktree
from dm_compose.core.containers import Container
from dm_compose.core.events import Listener, ignore
from dm_compose.core.labels import PROJECT_LABEL
from dm_compose.core.names import DotName, RefName, SubdotName, WorktreeName, worktree_name
from dm_compose.core.variables import Variables
from dm_compose.discovery.stack_plan import StackPlan
from dm_compose.dots.dot import Dot
from dm_compose.engine import Engine
from dm_compose.errors import EngineError, NotFoundError
from dm_compose.live.access import Access, open_access
from dm_compose.live.locks import locked
from dm_compose.live.observe import make_member, observe_tree, subdots_of
from dm_compose.live.worktree import LiveWorktree, Member, mounted_subdots
from dm_compose.operations.budget import keep_to_budget
from dm_compose.operations.recovery import Use, look, recover
from dm_compose.operations.trees import add_tree
from dm_compose.store.api import Store


class StoredDot(Dot):
    """A dot by its name, at its current worktree or at the one that stands on `branch`."""

    def __init__(
        self,
        name: DotName,
        engine: Engine | None,
        variables: Variables,
        listener: Listener = ignore,
        *,
        branch: RefName | None = None,
    ) -> None:
        super().__init__(variables, listener)
        self._name = name
        self.branch = branch
        self.engine = engine

    @property
    def name(self) -> DotName:
        return self._name

    @contextlib.contextmanager
    def live(
        self, *, lock: bool, use: Use = Use.WRITE, create: bool = False, make_volumes: bool = False
    ) -> Iterator[LiveWorktree]:
        """See Dot.live. A stored dot must exist, and no volume is made for it. NotFoundError."""
        with self._access() as access:

            def observe() -> LiveWorktree:
                return self._observe(access)

            if lock:
                self.require_engine(access.store)
                with locked(access.store, self.name, self.listener):
                    yield recover(observe(), observe, self.variables, use=use)
                keep_to_budget(access.store, self.listener)
            else:
                yield look(observe(), observe)

    def require_engine(self, store: Store) -> None:
        """Raise EngineError if no engine answers and containers may be at work on the dot's files.

        They live on without an engine, and nobody could freeze them, or take them down before their files are rewritten.
        """
        if (why := self._needs_engine(store)) is not None:
            raise EngineError(
                f"no Docker Engine answers, and containers may be at work on dot {self.name}: {why}",
                hint="Start Docker, or check DOCKER_HOST and your permissions on its socket (`docker info`).",
            )

    def _needs_engine(self, store: Store) -> str | None:
        """Say why containers may be at work on the dot. None if an engine answers, or if there can be no container."""
        if self.engine is not None or not store.has_dot(self.name):
            return None
        if volumes := sorted(name for name, dot in store.volumes().items() if dot == self.name):
            return f"Docker has its volume {volumes[0]}"
        if any(entry.paused or entry.stopped for entry in store.unfinished(self.name)):
            return "a command that was interrupted had taken some down"
        projects = [w.project for w in store.worktrees(self.name).values() if w.project is not None]
        return f"it belongs to the Compose project {projects[0]}" if projects else None

    @contextlib.contextmanager
    def _access(self) -> Iterator[Access]:
        """Open the store. If a helper is needed, it mounts the volumes of the worktree too."""
        access = open_access(self.engine, [], self.variables, self.listener)
        try:
            worktree = self._worktree(access)
            if not worktree.tree:
                access.store.close()
                access = open_access(self.engine, self._present(worktree).values(), self.variables, self.listener)
            yield access
        finally:
            access.store.close()

    def _worktree(self, access: Access) -> Worktree:
        store = access.store
        if not store.has_dot(self.name):
            raise NotFoundError(f"there is no dot {self.name}", hint="`dm list` shows what there is.")
        if self.branch is None:
            return store.worktree(self.name, store.current(self.name))
        worktrees = store.worktrees(self.name)
        found = next((w for w in worktrees.values() if w.branch == self.branch), None)
        if found is None:
            if self.branch not in store.branches(self.name):
                raise NotFoundError(
                    f"branch {self.branch} of dot {self.name} does not exist", hint="`dm branch` lists what there is."
                )
            add = f"dm worktree add {worktree_name(self.branch, worktrees)} {self.branch}"
            raise NotFoundError(
                f"branch {self.branch} of dot {self.name} is not checked out",
                hint=f"Check it out: {add}; or go there: dm checkout {self.branch}",
            )
        return found

    def _present(self, worktree: Worktree) -> dict[SubdotName, str]:
        """Return the places of a worktree that exist."""
        return {
            subdot: place
            for subdot, place in worktree.places.items()
            if place.startswith("/") or (self.engine is not None and self.engine.volume(place) is not None)
        }

    def describe(self, container: Container, mounts: Mapping[SubdotName, bool], pinned: bool) -> Member:
        assert self.engine is not None
        return make_member(self.engine, container, mounts, pinned=pinned)

    def at_worktree(self, worktree: Worktree) -> Dot:
        return StoredDot(worktree.dot, self.engine, self.variables, self.listener, branch=worktree.branch)

    def add_worktree(self, name: WorktreeName, ref: str | None) -> Worktree:
        with self.live(lock=True, use=Use.RECORD) as live:
            return add_tree(live, name, ref)

    def _observe(self, access: Access) -> LiveWorktree:
        worktree = self._worktree(access)
        if worktree.tree:
            return observe_tree(access, self.engine, worktree, self.listener, self.describe)
        places = self._present(worktree)
        project = worktree.project or self._project(places)
        members: list[Member] = []
        if self.engine is not None:
            for container in self.engine.containers(project, places=places.values(), overlapping=True):
                members.append(self.describe(container, mounted_subdots(self.engine, container, places), pinned=False))
        head = access.store.commit(self.name, worktree.head) if worktree.head is not None else None
        return LiveWorktree(
            access=access,
            engine=self.engine,
            dot=self.name,
            worktree=worktree.name,
            project=project,
            plan=StackPlan(self.name, project or str(self.name), subdots_of({**worktree.places, **places}, head)),
            members=tuple(members),
            places=places,
            listener=self.listener,
        )

    def _project(self, places: Mapping[SubdotName, str]) -> str | None:
        """Return the Compose project to which the places belong by the labels of their volumes, if any."""
        for place in places.values():
            volume = self.engine.volume(place) if self.engine is not None and not place.startswith("/") else None
            if volume is not None and (project := volume.labels.get(PROJECT_LABEL)):
                return project
        return None
