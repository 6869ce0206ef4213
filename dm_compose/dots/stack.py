"""A Compose project whose state is a dot: what `dm-compose` and the pytest plugin work with."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.commit import Commit, Worktree
from dm_compose.core.containers import Container, Image
from dm_compose.core.events import Listener, ignore
from dm_compose.core.names import MAIN_WORKTREE, DotName, SubdotName, WorktreeName
from dm_compose.core.project import Project
from dm_compose.core.stack import Kind, StackPlan, Subdot
from dm_compose.datastores import Datastore
from dm_compose.datastores.registry import registry
from dm_compose.discovery.naming import ANCESTOR_DRIVER
from dm_compose.discovery.settings import Settings, read_settings
from dm_compose.discovery.subdots import datastore_of, make_plan
from dm_compose.dots.dot import Dot
from dm_compose.dots.stored_dot import StoredDot
from dm_compose.engine import Engine
from dm_compose.errors import EngineError, InUseError, NotFoundError
from dm_compose.live.access import Access, locked, open_access
from dm_compose.live.observe import make_member, observe_tree
from dm_compose.live.worktree import LiveWorktree, Member, find_places, mounted_subdots
from dm_compose.operations.recovery import recover, recover_if_left
from dm_compose.operations.restore import keep_aside
from dm_compose.operations.worktrees import add_tree, add_volumes
from dm_compose.store.api import Store

VOLUME_LABELS = "com.docker.compose"


Rewrite = Callable[[dict[str, Any]], None]
"""Changes the project document that Compose is given, in place. In its texts `$` is written `$$`."""


class Stack(Dot):
    """A Compose project whose state is a dot.

    Every method may raise ComposeError too.
    """

    def __init__(self, options: ComposeOptions, listener: Listener = ignore) -> None:
        super().__init__(listener)
        self.compose = Compose(options)
        self.rewrites: tuple[Rewrite, ...] = ()  # what has to be changed in the project before Compose gets it

    @functools.cached_property
    def project(self) -> Project:
        """The project as Compose resolves it."""
        return self.compose.project()

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine, connected on first use."""
        return Engine()

    @functools.cached_property
    def settings(self) -> Settings:
        """The checked `x-dotmesh` settings."""
        return read_settings(self.project, registry().names())

    @functools.cached_property
    def images(self) -> Mapping[str, Image]:
        """The images of the services that the engine has, by service; none without an engine."""
        # The engine is asked while Compose resolves the project: both take a tenth of a second.
        with ThreadPoolExecutor(1) as pool:
            connected = pool.submit(lambda: self.engine)
            services = self.project.services.values()
            try:
                connected.result()
            except EngineError:
                return {}
        found = {service.name: self.engine.image(service.image.reference) for service in services}
        return {name: image for name, image in found.items() if image is not None}

    @functools.cached_property
    def plan(self) -> StackPlan:
        """Which directories are the stack's state. Works without an engine, and then knows only images that datastore modules
        know.
        """
        images = self.images
        return make_plan(self.project, images, registry())

    @property
    def name(self) -> DotName:
        return self.plan.dot

    def datastores(self) -> dict[str, Datastore]:
        """Return the datastores that services run, by service."""
        known, services = registry(), self.project.services
        found = {n: datastore_of(s, self.images.get(n, s.image), self.settings, known) for n, s in services.items()}
        return {name: datastore for name, datastore in found.items() if datastore is not None}

    def stateful_services(self) -> set[str]:
        """Return the services that have state: a subdot, or a datastore's data in memory."""
        in_memory = {name for name, datastore in self.datastores().items() if datastore.in_memory}
        return in_memory | {name for subdot in self.plan.subdots for name in subdot.services}

    def look_at_images_again(self) -> None:
        """Forget what the engine had, and the plan made of it: images have been pulled or built."""
        for name in ("images", "plan"):
            self.__dict__.pop(name, None)

    # Observing

    def _describe(self, container: Container, mounts: Mapping[SubdotName, bool], pinned: bool = False) -> Member:
        service = self.project.services.get(container.service) if container.project == self.project.name else None
        compose = (service, self.settings) if service is not None else None
        image = self.images.get(container.service) if service is not None else None
        return make_member(self.engine, container, mounts, compose=compose, image=image, pinned=pinned)

    def containers(self, places: Sequence[str] = ()) -> list[Container]:
        """Return the project's containers and those that mount one of `places`, running or not."""
        return self.engine.containers(self.project.name, places=places)

    def identity(self, store: Store) -> tuple[DotName, WorktreeName]:
        """Return the dot and the worktree that the project's state is: its own dot's main one, unless the store knows better."""
        if (owner := store.worktree_of(self.project.name)) is not None:
            return owner.dot, owner.name
        dot = self.plan.dot
        return dot, store.current(dot) if dot in store.dots() else MAIN_WORKTREE

    def lasting_dot(self, store: Store) -> DotName:
        """Return the dot for what is to outlive a test run."""
        return self.identity(store)[0]

    def find(self, store: Store, ref: str) -> Commit:
        """Return the commit that REF means, for tests to start from; NotFoundError, also where there is no dot yet."""
        dot, worktree = self.identity(store)
        if dot not in store.dots():
            raise NotFoundError(f"dot {dot} has no commit to test from", hint='Make one: dm-compose commit -m "seed".')
        return store.commit(dot, store.resolve(dot, worktree, ref))

    def keep(self, live: LiveWorktree, message: str) -> Commit:
        """Commit the live state without moving a branch or the reflog."""
        return keep_aside(live, message)

    def _observe(self, access: Access, places: Mapping[SubdotName, str] | None) -> LiveWorktree:
        dot, name = self.identity(access.store)
        worktree = access.store.worktree(dot, name) if dot in access.store.dots() else None
        if places is None:
            assert worktree is not None
            return observe_tree(
                access,
                self.engine,
                worktree,
                self.listener,
                self._describe,
                project=self.project.name,
                compose_digest=self.project.digest,
            )
        if worktree is not None and worktree.tree:
            raise InUseError(
                f"dot {dot} keeps its files in the store, and this stack keeps its in Docker's volumes",
                hint="Give the stack's dot another name in the compose file: x-dotmesh: {dot: NAME}.",
            )
        containers = self.containers(list(places.values()))
        return LiveWorktree(
            access=access,
            engine=self.engine,
            dot=dot,
            worktree=name,
            project=self.project.name,
            plan=self.plan,
            members=tuple(self._describe(c, mounted_subdots(c, places)) for c in containers),
            places=places,
            listener=self.listener,
            compose_digest=self.project.digest,
        )

    def observe_worktree(self, live: LiveWorktree, worktree: Worktree) -> LiveWorktree:
        return observe_tree(live.access, self.engine, worktree, self.listener, self._describe)

    def at_worktree(self, worktree: Worktree) -> Dot:
        return StoredDot(worktree.dot, self.engine, self.listener, branch=worktree.branch)

    def add_worktree(self, name: WorktreeName, ref: str | None) -> Worktree:
        with self.opened(lock=True) as live:
            if live.tree:
                return add_tree(live, name, ref)
            return add_volumes(live, self.engine, self.plan, name, ref)

    def recorded_places(self) -> Mapping[SubdotName, str]:
        """Return the places that the store has on record; asked only where an anonymous volume may have lost its container."""
        if not any(s.kind in (Kind.ANONYMOUS, Kind.IMAGE) for s in self.plan.subdots):
            return {}
        access = open_access(self.engine, [], self.listener)
        try:
            return access.store.worktree(*self.identity(access.store)).places
        except NotFoundError:
            return {}
        finally:
            access.store.close()

    def open(self, *, make_volumes: bool) -> tuple[Access, Mapping[SubdotName, str] | None]:
        """Open the store and return it with the places of the subdots; None for these where they are directories of the store,
        which containers reach through the volume driver. `make_volumes` makes the volumes of subdots that have none.
        """
        driven = [v.name for v in self.project.volumes.values() if v.driver == ANCESTOR_DRIVER]
        if driven:
            access = open_access(self.engine, [], self.listener)
            dot, name = self.identity(access.store)
            is_tree = dot in access.store.dots() and access.store.worktree(dot, name).tree
            if is_tree and not any((v := self.engine.volume(n)) is not None and v.driver != ANCESTOR_DRIVER for n in driven):
                return access, None
            access.store.close()
        places = self.places(make_volumes=make_volumes)
        return open_access(self.engine, places.values(), self.listener), places

    @contextlib.contextmanager
    def opened(self, *, lock: bool, create: bool = False, make_volumes: bool = False) -> Iterator[LiveWorktree]:
        """See Dot.opened."""
        access, places = self.open(make_volumes=make_volumes)
        try:
            if create and self.identity(access.store)[0] not in access.store.dots():
                access.store.create_dot(self.plan.dot)
            with self.observed(access, places, lock=lock) as live:
                yield live
        finally:
            access.store.close()

    @contextlib.contextmanager
    def observed(
        self, access: Access, places: Mapping[SubdotName, str] | None, *, lock: bool, new_session: bool = False
    ) -> Iterator[LiveWorktree]:
        """Observe the stack over an open store, after what killed commands left has been finished; see `recover`."""

        def observe() -> LiveWorktree:
            return self._observe(access, places)

        if lock:
            with locked(access.store, self.identity(access.store)[0], self.listener):
                yield recover(observe(), observe, new_session=new_session)
        else:
            yield recover_if_left(observe(), observe)

    def places(self, *, make_volumes: bool) -> dict[SubdotName, str]:
        """Return where each subdot is now; `make_volumes` makes the volumes of those that are nowhere."""
        containers = self.containers()
        found = find_places(self.plan, containers, {}, self.engine)
        # Without a container only the store knows of an anonymous volume; asking it may cost a helper's start.
        seen = {c.service for c in containers if c.project == self.plan.project and not c.one_off}
        unseen = [s for s in self.plan.subdots if s.kind in (Kind.ANONYMOUS, Kind.IMAGE) and not seen & set(s.services)]
        if unseen or any(s.name not in found for s in self.plan.subdots):
            found = find_places(self.plan, containers, self.recorded_places(), self.engine)
        return {**self._make_volumes(containers, found), **found} if make_volumes else found

    def _make_volumes(self, containers: Sequence[Container], places: Mapping[SubdotName, str]) -> dict[SubdotName, str]:
        made = {}
        services = {c.service for c in containers}
        for subdot in self.plan.subdots:
            if subdot.name not in places and subdot.volume is not None and subdot.services[0] not in services:
                named = self.project.volumes.get(subdot.source)
                options = named.options if named is not None and named.driver == "local" else {}
                made[subdot.name] = self.engine.create_volume(subdot.volume, self.volume_labels(subdot), options).name
        return made

    def volume_labels(self, subdot: Subdot) -> dict[str, str]:
        """Return the labels by which Compose knows a subdot's volume as its own."""
        assert subdot.volume is not None
        key = subdot.source or subdot.volume.removeprefix(f"{self.project.name}_")
        return {f"{VOLUME_LABELS}.project": self.project.name, f"{VOLUME_LABELS}.volume": key}
