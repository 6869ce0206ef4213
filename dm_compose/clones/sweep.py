"""Remove clones: those that their owners have finished with, and those whose owners have gone."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

from dm_compose.core.at_once import at_once
from dm_compose.core.containers import Resource
from dm_compose.core.events import Event, Listener
from dm_compose.core.labels import CLONE_LABEL
from dm_compose.core.names import DotName, session_lock
from dm_compose.core.variables import Variables
from dm_compose.engine import Engine, abandoned
from dm_compose.errors import DmError, InUseError, UsageError
from dm_compose.live.locks import locked, who_am_i
from dm_compose.store.api import Store
from dm_compose.up.run import forget_generated_files

REMOVED_AT_ONCE = 8


@dataclass(frozen=True)
class Leftover:
    """A clone whose owner has gone, with everything of it that is still on the engine."""

    name: DotName
    resources: tuple[Resource, ...]


def sweep(
    engine: Engine, store: Store, variables: Variables, listener: Listener, *, thorough: bool = False, dry_run: bool = False
) -> list[Leftover]:
    """Remove the clones whose owners have gone, and return them. Several processes may sweep at once.

    If the store knows a clone, the clone's lock shows whether its owner lives, because the kernel frees the lock of a dead
    process. For any other clone, for example of another store, the labels name the owner. If only volumes of such a clone are
    left, only a `thorough` sweep finds them. Containers that killed commands had made for a moment are removed as well. With
    `dry_run` nothing is removed.
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
                remove_clone(engine, store, variables, listener, name, resources)
    return found


def remove_clone(
    engine: Engine, store: Store, variables: Variables, listener: Listener, name: DotName, resources: list[Resource]
) -> None:
    """Remove a clone. Warn of anything that cannot be removed; the store then still knows the clone, for the next sweep."""

    def remove(resource: Resource) -> bool:
        try:
            engine.remove(resource)
        except DmError as error:
            listener(Event("warning", error.message))
            return False
        return True

    done = True
    for _, kind in groupby(resources, key=lambda resource: resource.kind):
        done = all(at_once(remove, list(kind), most=REMOVED_AT_ONCE)) and done
    forget_generated_files(variables.state_directory, name)
    if done and name in store.clones():
        with locked(store, name, listener):
            store.delete_dot(name)
