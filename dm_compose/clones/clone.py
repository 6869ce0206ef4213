"""Clones: stacks beside a stack for test runs, each with its own copy of a commit.

A clone is a Compose project and a dot of the same name. The dot knows one commit of the original, over the same objects. It has a
lock, a journal and a worktree of its own, so that clones wait neither for each other nor for the original. The original's dot
does not change. A clone goes with the process that made it, which holds the lock `CLONE.session`. If that process is killed,
`sweep` removes everything that belongs to the clone by the store or by its labels.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dm_compose.clones.project_file import Original, clone_document, clone_plan
from dm_compose.clones.sweep import remove_clone, sweep
from dm_compose.core.commit import Commit, Move
from dm_compose.core.containers import Image
from dm_compose.core.events import Event
from dm_compose.core.labels import CLONE_LABEL, RUN_LABEL
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, DotName, SubdotName, WorktreeName, session_lock
from dm_compose.core.project import Project
from dm_compose.discovery.stack_plan import StackPlan
from dm_compose.dots.stack import OpenStack, Stack
from dm_compose.engine import OWNER_LABEL, Engine, Owner
from dm_compose.errors import ComposeError, NotFoundError
from dm_compose.live.access import open_access
from dm_compose.live.facts import StackFacts
from dm_compose.live.locks import locked
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.budget import keep_to_budget
from dm_compose.operations.fill import fill_volumes
from dm_compose.store.api import Store
from dm_compose.up.run import get_images

_LONGEST_PROJECT = 60


def clone_name(project: str, run: str, worker: str) -> DotName:
    """Return the name of a clone: that of a project, for one worker of a test run."""
    run, worker = (re.sub(r"[^a-z0-9]", "", word.lower())[:12] for word in (run, worker))
    return DotName.parse(f"{project[:_LONGEST_PROJECT]}-t{run}-{worker}")


class CloneFacts(StackFacts):
    """The facts of a clone. They are the original's, as another Compose project on volumes of its own."""

    def __init__(self, original: StackFacts, name: DotName) -> None:
        super().__init__(original.compose)
        self._original = original
        self._name = name

    @functools.cached_property
    def project(self) -> Project:
        return replace(self._original.project, name=str(self._name))

    @property
    def engine(self) -> Engine:
        return self._original.engine

    @property
    def images(self) -> Mapping[str, Image]:
        return self._original.images

    @functools.cached_property
    def plan(self) -> StackPlan:
        return clone_plan(self._original.plan, self._name)


class Clone(Stack):
    """A clone of a stack: the same services and subdots as another Compose project, on volumes of its own and no others.

    The object may stand for a clone that exists or for one that does not. Only `made` makes the clone itself.
    """

    def __init__(self, original: Stack, name: DotName, run: str) -> None:
        super().__init__(replace(original.compose.options, project_name=str(name)), original.variables, original.listener)
        self.facts = CloneFacts(original.facts, name)
        self.original = original
        self.run = run
        self.rewrites = (self._rewrite,)
        self._name = name

    @property
    def name(self) -> DotName:
        return self._name

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that this process makes for the clone."""
        return {CLONE_LABEL: str(self._name), RUN_LABEL: self.run, OWNER_LABEL: str(Owner.me())}

    def _rewrite(self, document: dict[str, Any]) -> None:
        self.problems(document)

    def problems(self, document: dict[str, Any]) -> list[str]:
        """Turn a document of the original into this clone's. Return warnings. See project_file.clone_document."""
        original = Original(self.original.facts.project, self.original.facts.plan)
        return clone_document(document, original, self.facts.plan, self.labels)

    def identity(self, store: Store) -> tuple[DotName, WorktreeName]:
        return self._name, MAIN_WORKTREE

    def lasting_dot(self, store: Store) -> DotName:
        return self.original.lasting_dot(store)

    def find(self, store: Store, ref: str) -> Commit:
        """Return the commit that REF means in the original, else the commit with that id that was kept in this clone."""
        dot, worktree = self.original.identity(store)
        try:
            return store.share_commit(dot, store.resolve(dot, worktree, ref), self._name)
        except NotFoundError as unknown:
            with contextlib.suppress(NotFoundError):
                return super().find(store, ref)
            raise unknown from None  # it names the dot that people know

    def keep(self, live: LiveWorktree, message: str) -> Commit:
        """Commit the live state without moving a branch or the reflog. The original's dot gets the commit too."""
        commit = super().keep(live, message)
        live.store.share_commit(self._name, commit.id, self.lasting_dot(live.store))
        return commit

    def places(self, *, make_volumes: bool) -> dict[SubdotName, str]:
        """Return the clone's own volumes, also if a container has others mounted. No volume is made."""
        return {s.name: s.volume for s in self.facts.plan.subdots if s.volume is not None}

    def open(self, *, make_volumes: bool) -> OpenStack:
        places = self.places(make_volumes=False)
        return OpenStack(self, open_access(self.facts.engine, places.values(), self.variables, self.listener), places)


@contextlib.contextmanager
def made(clone: Clone, ref: str) -> Iterator[Commit]:
    """Make a clone, without containers, of the commit that `ref` means in the original. Remove it when the block ends.

    Everything that belongs to the clone by then is removed. Yields the commit as the clone's dot has it. Clones whose owners have
    gone are swept first. UsageError for a stack that cannot be cloned, NotFoundError for a commit that does not exist,
    ExistsError for a clone of that name.
    """
    original, engine = clone.original, clone.facts.engine
    if code := get_images(original):
        raise ComposeError(f"getting the stack's images failed with exit code {code}", hint="Its own output says why.")
    for problem in clone.problems(copy.deepcopy(dict(original.facts.project.document))):
        clone.listener(Event("warning", problem))
    access = open_access(engine, [], clone.variables, clone.listener)
    store = access.store
    try:
        sweep(engine, store, clone.variables, clone.listener)
        found = original.find(store, ref)
        with locked(store, session_lock(clone.name), clone.listener, timeout_s=0):
            store.create_dot(clone.name, owner=str(Owner.me()))
            try:
                commit = store.share_commit(found.dot, found.id, clone.name)
                _make_volumes(clone, store, commit)
                # so that commits that tests put aside stay while the clone does
                store.begin_session(clone.name, MAIN_WORKTREE, commit.id, store.holder(session_lock(clone.name)))
                yield commit
            finally:
                mine = engine.labelled(f"{CLONE_LABEL}={clone.name}")
                remove_clone(engine, store, clone.variables, clone.listener, clone.name, mine)
        keep_to_budget(store, clone.listener)
    finally:
        store.close()


def _make_volumes(clone: Clone, store: Store, commit: Commit) -> None:
    places = clone.places(make_volumes=False)
    for subdot in clone.facts.plan.subdots:
        assert subdot.volume is not None
        clone.facts.engine.create_new_volume(subdot.volume, {**clone.facts.volume_labels(subdot), **clone.labels})
    store.set_places(clone.name, MAIN_WORKTREE, places)
    move = Move("clone", DEFAULT_BRANCH, commit.id)
    fill_volumes(clone.facts.engine, clone.variables, clone.listener, (clone.name, MAIN_WORKTREE), places, commit.id, move)
