"""Clones: stacks beside a stack, each with a copy of a commit of its own, for test runs.

A clone is a Compose project and a dot of the same name. The dot knows one commit of the original, over the same objects, and
has a lock, a journal and a worktree of its own: clones do not wait for each other or for the original, and the original's dot
does not change. A clone goes with the process that made it, which holds the lock `CLONE.session`. Should that be killed, `sweep`
removes what the store and the labels say was its.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from dm_compose.clones.project_file import Original, clone_document, clone_plan
from dm_compose.core.commit import Commit, Move
from dm_compose.core.containers import Image, Resource
from dm_compose.core.events import Event, Listener
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, DotName, SubdotName, WorktreeName
from dm_compose.core.project import Project
from dm_compose.core.stack import StackPlan
from dm_compose.discovery.settings import Settings
from dm_compose.dots.stack import Stack
from dm_compose.engine import OWNER_LABEL, Engine, Owner, abandoned
from dm_compose.errors import ComposeError, DmError, InUseError, NotFoundError, UsageError
from dm_compose.live.access import Access, locked, open_access, who_am_i
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.recovery import session_lock
from dm_compose.operations.worktrees import fill
from dm_compose.store.api import Store
from dm_compose.up.run import forget_generated_files, get_images

CLONE_LABEL = "dev.dotmesh.clone"  # the clone's name, on all that is the clone's
RUN_LABEL = "dev.dotmesh.run"  # the test run's id
REMOVED_AT_ONCE = 8
_LONGEST_PROJECT = 60


def clone_name(project: str, run: str, worker: str) -> DotName:
    """Return the name of the clone of a project that a worker of a test run gets."""
    run, worker = (re.sub(r"[^a-z0-9]", "", word.lower())[:12] for word in (run, worker))
    return DotName.parse(f"{project[:_LONGEST_PROJECT]}-t{run}-{worker}")


class Clone(Stack):
    """A clone of a stack: the same services and subdots as another Compose project, on volumes of its own and no others.

    Making the object makes nothing and asks nobody, `made` makes the clone; the object stands for one that there is, too.
    """

    def __init__(self, original: Stack, name: DotName, run: str) -> None:
        super().__init__(replace(original.compose.options, project_name=str(name)), original.listener)
        self.original = original
        self.run = run
        self.rewrites = (self._rewrite,)
        self._name = name

    @property
    def name(self) -> DotName:
        return self._name

    @functools.cached_property
    def project(self) -> Project:
        return replace(self.original.project, name=str(self._name))

    @property
    def engine(self) -> Engine:
        return self.original.engine

    @property
    def settings(self) -> Settings:
        return self.original.settings

    @property
    def images(self) -> Mapping[str, Image]:
        return self.original.images

    @functools.cached_property
    def plan(self) -> StackPlan:
        return clone_plan(self.original.plan, self._name)

    @property
    def labels(self) -> dict[str, str]:
        """What tells that something is this clone's, when this process makes it."""
        return {CLONE_LABEL: str(self._name), RUN_LABEL: self.run, OWNER_LABEL: str(Owner.me())}

    def _rewrite(self, document: dict[str, Any]) -> None:
        self.problems(document)

    def problems(self, document: dict[str, Any]) -> list[str]:
        """Make a document of the original this clone's; return warnings. See cloning.clone_document."""
        original = Original(self.original.project, self.original.plan)
        return clone_document(document, original, self.plan, self.labels)

    def identity(self, store: Store) -> tuple[DotName, WorktreeName]:
        return self._name, MAIN_WORKTREE

    def lasting_dot(self, store: Store) -> DotName:
        return self.original.lasting_dot(store)

    def find(self, store: Store, ref: str) -> Commit:
        """Return the commit that REF means in the original, or the one that was kept here under that id."""
        dot, worktree = self.original.identity(store)
        try:
            return store.share_commit(dot, store.resolve(dot, worktree, ref), self._name)
        except NotFoundError:
            return super().find(store, ref)

    def keep(self, live: LiveWorktree, message: str) -> Commit:
        """Commit the live state without moving a branch or the reflog; the original's dot knows the commit too."""
        commit = super().keep(live, message)
        live.store.share_commit(self._name, commit.id, self.lasting_dot(live.store))
        return commit

    def places(self, *, make_volumes: bool) -> dict[SubdotName, str]:
        """Return the clone's own volumes, whatever is mounted where; nothing is made."""
        return {s.name: s.volume for s in self.plan.subdots if s.volume is not None}

    def open(self, *, make_volumes: bool) -> tuple[Access, Mapping[SubdotName, str] | None]:
        places = self.places(make_volumes=False)
        return open_access(self.engine, places.values(), self.listener), places


@contextlib.contextmanager
def made(clone: Clone, ref: str) -> Iterator[Commit]:
    """Make a clone of what `ref` means in the original, without containers; remove it with all it has got when the block ends.

    Yields the commit, as the clone's dot has it. UsageError for a stack that cannot be cloned, NotFoundError for a commit that
    there is not, ExistsError for a clone of that name. Clones whose owners have gone are swept first.
    """
    original, engine = clone.original, clone.engine
    if code := get_images(original):
        raise ComposeError(f"getting the stack's images failed with exit code {code}", hint="Its own output says why.")
    for problem in clone.problems(copy.deepcopy(dict(original.project.document))):
        clone.listener(Event("warning", problem))
    access = open_access(engine, [], clone.listener)
    store = access.store
    try:
        sweep(engine, store, clone.listener)
        found = original.find(store, ref)
        with locked(store, session_lock(clone.name), clone.listener, timeout_s=0):
            store.create_dot(clone.name, owner=str(Owner.me()))
            try:
                commit = store.share_commit(found.dot, found.id, clone.name)
                _fill(clone, store, commit)
                store.begin_session(clone.name, MAIN_WORKTREE, commit.id)  # what tests put aside stays for as long as the clone
                yield commit
            finally:
                _remove(engine, store, clone.listener, clone.name, engine.labelled(f"{CLONE_LABEL}={clone.name}"))
    finally:
        store.close()


def _fill(clone: Clone, store: Store, commit: Commit) -> None:
    places = clone.places(make_volumes=False)
    for subdot in clone.plan.subdots:
        assert subdot.volume is not None
        clone.engine.create_new_volume(subdot.volume, {**clone.volume_labels(subdot), **clone.labels})
    store.set_places(clone.name, MAIN_WORKTREE, places)
    move = Move("clone", DEFAULT_BRANCH, commit.id)
    fill(clone.engine, clone.listener, (clone.name, MAIN_WORKTREE), places, commit.id, move)


# What has outlived its owner


@dataclass(frozen=True)
class Leftover:
    """A clone whose owner has gone, and what of it the engine still has."""

    name: DotName
    resources: tuple[Resource, ...]


def sweep(engine: Engine, store: Store, listener: Listener, *, thorough: bool = False, dry_run: bool = False) -> list[Leftover]:
    """Remove the clones whose owners have gone, and nothing else; return them. Several may sweep at once.

    Of a clone that the store knows the kernel tells whether its owner lives: by its lock. Of others, of another store for
    example, the labels have to tell. Only a `thorough` sweep finds volumes of those, when nothing else of them is left.
    Containers that killed commands had made for a moment go as well.
    """
    if not dry_run:
        engine.remove_abandoned()
    known = store.clones()
    by_clone: dict[DotName, list[Resource]] = defaultdict(list)
    for resource in engine.labelled(CLONE_LABEL, volumes=thorough):
        with contextlib.suppress(UsageError):  # not a name that we gave
            by_clone[DotName.parse(resource.labels[CLONE_LABEL])].append(resource)
    found = []
    for name in sorted({*known, *by_clone}):
        if name not in known and not all(abandoned(r.labels) for r in by_clone[name]):
            continue
        with contextlib.ExitStack() as locks:
            if name in known:
                try:
                    locks.callback(store.unlock, store.lock(session_lock(name), who_am_i(), 0))
                except InUseError:
                    continue
            resources = engine.labelled(f"{CLONE_LABEL}={name}")
            if name not in store.clones() and not resources:
                continue  # somebody else has just done it
            found.append(Leftover(name, tuple(resources)))
            if not dry_run:
                _remove(engine, store, listener, name, resources)
    return found


def _remove(engine: Engine, store: Store, listener: Listener, name: DotName, resources: list[Resource]) -> None:
    """Remove a clone. What cannot be removed is told, and the clone stays known, so that the next sweep tries again."""

    def remove(resource: Resource) -> bool:
        try:
            engine.remove(resource)
        except DmError as error:
            listener(Event("warning", error.message))
            return False
        return True

    done = True
    with ThreadPoolExecutor(REMOVED_AT_ONCE) as pool:
        for _, kind in groupby(resources, key=lambda resource: resource.kind):
            done = all(list(pool.map(remove, kind))) and done
    forget_generated_files(name)
    if done and name in store.clones():
        with locked(store, name, listener):
            store.delete_dot(name)
