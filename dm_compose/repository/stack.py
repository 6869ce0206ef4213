"""The façade: one Compose project and its dot. Every verb of `dm-compose` and of the pytest plugin is a method here."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.commit import Commit, ReflogEntry
from dm_compose.core.containers import Container, Image
from dm_compose.core.events import Listener, ignore
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName
from dm_compose.core.plan import Plan
from dm_compose.core.project import Project
from dm_compose.core.stack import Kind, StackPlan, Subdot
from dm_compose.core.tree import TreeDiff
from dm_compose.datastores import Service
from dm_compose.datastores.registry import registry
from dm_compose.engine import Engine
from dm_compose.errors import EngineError, NotFoundError
from dm_compose.repository.access import Access, locked, open_access
from dm_compose.repository.checkout import Checkout, Member, find_places, mounted_subdots
from dm_compose.repository.committing import CommitReport, make_commit
from dm_compose.repository.ready import DEFAULT_TIMEOUT_S
from dm_compose.repository.recovery import recover, recover_if_left
from dm_compose.repository.restore_plan import plan_restore
from dm_compose.repository.restoring import (
    RestoreReport,
    Uncommitted,
    check_versions,
    move_to,
    refuse_to_lose,
    save_uncommitted,
    uncommitted,
)
from dm_compose.repository.settings import Settings, read_settings
from dm_compose.repository.subdots import datastore_of, make_plan

VOLUME_LABELS = "com.docker.compose"


@dataclass(frozen=True)
class SubdotStatus:
    """One subdot now. `place` is its volume or host path, None where it does not exist; `diff` is against the head.

    `dirty` is false where there is no difference, or only what the engine's own start has written since a restore.
    """

    name: SubdotName
    engine: str | None
    place: str | None
    diff: TreeDiff
    dirty: bool


@dataclass(frozen=True)
class Status:
    """A dot now. `head` is None before the first commit."""

    dot: DotName
    project: str
    branch: RefName
    head: Commit | None
    subdots: tuple[SubdotStatus, ...]

    @property
    def dirty(self) -> bool:
        return any(s.dirty for s in self.subdots)


class Stack:
    """A Compose project whose state is a dot. Observes anew for every call; holds no lock and no connection to the store
    between calls.

    Every method may raise ComposeError, EngineError and StoreError, and finishes first what an earlier, killed command left.
    """

    def __init__(self, options: ComposeOptions, listener: Listener = ignore) -> None:
        self.compose = Compose(options)
        self.listener = listener

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

    def look_at_images_again(self) -> None:
        """Forget what the engine had, and the plan made of it: images have been pulled or built."""
        for name in ("images", "plan"):
            self.__dict__.pop(name, None)

    # Observing

    def _member(self, container: Container, places: Mapping[SubdotName, str]) -> Member:
        compose = self.project.services.get(container.service) if container.project == self.project.name else None
        image = self.images.get(container.service) or container.image
        if compose is None or container.image.digest != image.digest:
            image = self.engine.image(container.image.digest) or container.image
        service = Service(image, container.environment, container.command)
        datastore = datastore_of(compose, image, self.settings, registry()) if compose is not None else registry().find(service)
        port = datastore.port_of(service) if datastore is not None else 0
        return Member(container, service, datastore, mounted_subdots(container, places), port)

    def containers(self, places: Sequence[str] = ()) -> list[Container]:
        """Return the project's containers and those that mount one of `places`, running or not."""
        return self.engine.containers(self.project.name, places=places)

    def _observe(self, access: Access, places: Mapping[SubdotName, str]) -> Checkout:
        containers = self.containers(list(places.values()))
        return Checkout(
            access=access,
            engine=self.engine,
            dot=self.plan.dot,
            worktree=MAIN_WORKTREE,
            project=self.project.name,
            plan=self.plan,
            members=tuple(self._member(c, places) for c in containers),
            places=places,
            listener=self.listener,
            compose_digest=self.project.digest,
        )

    def recorded_places(self) -> Mapping[SubdotName, str]:
        """Return the places that the store has on record; asked only where an anonymous volume may have lost its container."""
        if not any(s.kind in (Kind.ANONYMOUS, Kind.IMAGE) for s in self.plan.subdots):
            return {}
        access = open_access(self.engine, [], self.listener)
        try:
            return access.store.worktree(self.plan.dot, MAIN_WORKTREE).places
        except NotFoundError:
            return {}
        finally:
            access.store.close()

    @contextlib.contextmanager
    def checkout(self, *, lock: bool, create: bool = False, make_volumes: bool = False) -> Iterator[Checkout]:
        """Open the store and observe the stack; with `lock` hold the dot's lock meanwhile.

        `create` makes the dot when it does not exist, `make_volumes` the volumes of subdots that have none.
        """
        plan = self.plan
        places = self.places(make_volumes=make_volumes)
        access = open_access(self.engine, places.values(), self.listener)
        try:
            if create and plan.dot not in access.store.dots():
                access.store.create_dot(plan.dot)
            with self.observed(access, places, lock=lock) as checkout:
                yield checkout
        finally:
            access.store.close()

    @contextlib.contextmanager
    def observed(
        self, access: Access, places: Mapping[SubdotName, str], *, lock: bool, new_session: bool = False
    ) -> Iterator[Checkout]:
        """Observe the stack over an open store, after what killed commands left has been finished; see `recover`."""

        def observe() -> Checkout:
            return self._observe(access, places)

        if lock:
            with locked(access.store, self.plan.dot, self.listener):
                yield recover(observe(), observe, new_session=new_session)
        else:
            yield recover_if_left(observe(), observe)

    def places(self, *, make_volumes: bool) -> dict[SubdotName, str]:
        """Return where each subdot is now; `make_volumes` makes the volumes of those that are nowhere."""
        containers = self.containers()
        found = find_places(self.plan, containers, {}, self.engine)
        if any(s.name not in found for s in self.plan.subdots):
            found = find_places(self.plan, containers, self.recorded_places(), self.engine)
        return {**self._make_volumes(containers, found), **found} if make_volumes else found

    def _make_volumes(self, containers: Sequence[Container], places: Mapping[SubdotName, str]) -> dict[SubdotName, str]:
        made = {}
        services = {c.service for c in containers}
        for subdot in self.plan.subdots:
            if subdot.name not in places and subdot.volume is not None and subdot.services[0] not in services:
                made[subdot.name] = self.engine.create_volume(subdot.volume, self.volume_labels(subdot)).name
        return made

    def volume_labels(self, subdot: Subdot) -> dict[str, str]:
        """Return the labels by which Compose knows a subdot's volume as its own."""
        assert subdot.volume is not None
        key = subdot.source or subdot.volume.removeprefix(f"{self.project.name}_")
        return {f"{VOLUME_LABELS}.project": self.project.name, f"{VOLUME_LABELS}.volume": key}

    # Verbs

    def commit(self, message: str, metadata: Mapping[str, str], *, stop: bool = False) -> CommitReport:
        """Commit all subdots atomically; see committing.make_commit. Makes the dot on its first commit."""
        with self.checkout(lock=True, create=True) as checkout:
            return make_commit(checkout, message, metadata, stop=stop)

    def reset(self, ref: str, *, hard: bool, any_version: bool = False, timeout_s: float = DEFAULT_TIMEOUT_S) -> RestoreReport:
        """Put the state of a commit back and stand on it; see restoring.move_to.

        UncommittedError without `hard` when something would be lost; VersionMismatchError without `any_version`.
        """
        with self.checkout(lock=True, make_volumes=hard) as checkout:
            target = self._target(checkout, ref)
            checkout.refuse_strangers(readers_too=True)
            checkout.require_places()
            if not any_version:
                check_versions(checkout, target)
            if not hard:
                refuse_to_lose(checkout)
            return move_to(checkout, target, "reset", timeout_s=timeout_s)

    def plan_reset(self, ref: str) -> Plan:
        """Return what `reset` would do now; takes no lock and does nothing."""
        with self.checkout(lock=False) as checkout:
            target = self._target(checkout, ref)
            differing = checkout.store.differing(checkout.dot, checkout.worktree, checkout.directories, target.id)
            return plan_restore(checkout.members, differing, [s for s in checkout.places if s in target.subdots])

    def save(self, why: str) -> CommitId | None:
        """Keep what is uncommitted as a hidden commit that the reflog names; None when there is nothing to keep."""
        with self.checkout(lock=True) as checkout:
            checkout.refuse_strangers(readers_too=False)
            return save_uncommitted(checkout, why)

    def undo(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> RestoreReport:
        """Go back to before the last reset, uncommitted changes included; undoing an undo brings it back."""
        with self.checkout(lock=True) as checkout:
            moves = [e for e in checkout.store.reflog(checkout.dot, checkout.worktree) if e.action in ("reset", "undo")]
            if not moves or moves[0].old is None:
                raise NotFoundError("there is nothing to undo", hint="`dm-compose reflog` lists what has happened.")
            checkout.refuse_strangers(readers_too=True)
            checkout.require_places()
            target = checkout.store.commit(checkout.dot, moves[0].saved or moves[0].old)
            return move_to(checkout, target, "undo", head=moves[0].old, timeout_s=timeout_s)

    def status(self) -> Status:
        """Return what differs from the head, without stopping anything; sizes of large changes are upper bounds (`exact`)."""
        with self.checkout(lock=False) as checkout:
            state = checkout.state()
            head = checkout.store.commit(checkout.dot, state.head) if state.head else None
            found = uncommitted(checkout)
            nothing = Uncommitted(TreeDiff(), by_user=False)
            subdots = tuple(
                SubdotStatus(s.name, s.engine, checkout.places.get(s.name), changes.diff, changes.by_user)
                for s in self.plan.subdots
                if (changes := found.get(s.name, nothing))
            )
            return Status(checkout.dot, self.project.name, state.branch, head, subdots)

    def diff(self, base: str, other: str | None) -> Mapping[SubdotName, TreeDiff]:
        """Return what changed from `base` to `other`, or to the live state; every byte is compared."""
        with self.checkout(lock=False) as checkout:
            patterns = checkout.ignore_patterns()
            first = self._target(checkout, base).id
            if other is not None:
                return checkout.store.diff_commits(checkout.dot, first, self._target(checkout, other).id, patterns)
            return checkout.store.diff_live(checkout.dot, checkout.worktree, checkout.directories, first, patterns, None)

    def log(self, ref: str = "HEAD") -> list[Commit]:
        """Return a commit and its ancestors, newest first; the result is empty for a dot without commits."""
        with self.checkout(lock=False) as checkout:
            if ref == "HEAD" and checkout.state().head is None:
                return []
            return checkout.store.log(checkout.dot, self._target(checkout, ref).id)

    def reflog(self) -> list[ReflogEntry]:
        """Return the moves of the worktree, newest first."""
        with self.checkout(lock=False) as checkout:
            return checkout.store.reflog(checkout.dot, checkout.worktree)

    def _target(self, checkout: Checkout, ref: str) -> Commit:
        commit_id: CommitId = checkout.store.resolve(checkout.dot, checkout.worktree, ref)
        return checkout.store.commit(checkout.dot, commit_id)
