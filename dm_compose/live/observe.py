"""Look at containers and worktrees, and return them as data: members, and live worktrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from dm_compose.core.commit import Commit, Worktree
from dm_compose.core.containers import Container
from dm_compose.core.events import Listener
from dm_compose.core.names import ROOT_SUBDOT, SubdotName
from dm_compose.core.volumes import VolumeName
from dm_compose.datastores import ServiceFacts
from dm_compose.datastores.registry import registry
from dm_compose.discovery.stack_plan import Kind, PlannedService, StackPlan, Subdot
from dm_compose.discovery.subdots import running_datastore
from dm_compose.engine import Engine
from dm_compose.errors import UsageError
from dm_compose.live.access import Access
from dm_compose.live.worktree import LiveWorktree, Member

Describe = Callable[[Container, Mapping[SubdotName, bool], bool], Member]


def make_member(
    engine: Engine,
    container: Container,
    mounts: Mapping[SubdotName, bool],
    *,
    planned: PlannedService | None = None,
    pinned: bool = False,
) -> Member:
    """Find out what a container runs and return it as a member of the dot.

    `planned` is the container's service, if it has one; without it the container's image and command tell.
    """
    if planned is not None and planned.facts.image.digest == container.image.digest:
        service = ServiceFacts(planned.facts.image, container.environment, container.command)
        datastore = planned.datastore
    else:
        image = engine.image(container.image.digest) or container.image
        service = ServiceFacts(replace(image, reference=container.image.reference), container.environment, container.command)
        if planned is None:
            before = len(service.image.entrypoint)
            own = service.command[before:] if service.command[:before] == service.image.entrypoint else service.command
            datastore = running_datastore(replace(service, command=own), registry())
        elif planned.told:
            datastore = planned.datastore
        else:  # the container was made of another image than the service has now
            datastore = running_datastore(replace(planned.facts, image=service.image), registry(), planned.port)
    port = datastore.port_of(service) if datastore is not None else 0
    return Member(container, service, datastore, mounts, port, pinned, engine.lifeline(container))


def observe_tree(
    access: Access,
    engine: Engine | None,
    worktree: Worktree,
    listener: Listener,
    describe: Describe,
    *,
    project: str | None = None,
    compose_digest: str | None = None,
) -> LiveWorktree:
    """Observe a worktree whose files are directories of the store, with the containers that use it through the volume driver.

    Every container that uses the worktree is a member, and so are the other containers of the Compose `project`, if any.
    """
    dot, store = worktree.dot, access.store
    places = dict(store.tree(dot, worktree.name))
    volumes = _volumes_of(access, worktree)
    members = []
    for container in engine.containers(project, places=volumes) if engine is not None else []:
        mounts: dict[SubdotName, bool] = {}
        pinned = True
        for mount in container.mounts:
            if (volume := volumes.get(mount.place)) is None:
                continue
            pinned = pinned and volume.branch is not None
            for subdot in places if volume.subdot == ROOT_SUBDOT else (volume.subdot,):
                mounts[subdot] = mounts.get(subdot, False) or mount.writable
        members.append(describe(container, mounts, bool(mounts) and pinned))
    head = store.commit(dot, worktree.head) if worktree.head is not None else None
    return LiveWorktree(
        access=replace(access, directories={**access.directories, **{d: d for d in places.values()}}),
        engine=engine,
        dot=dot,
        worktree=worktree.name,
        project=None,
        plan=StackPlan(dot, project or str(dot), subdots_of(places, head)),
        members=tuple(members),
        places=places,
        listener=listener,
        compose_digest=compose_digest,
        tree=True,
    )


def _volumes_of(access: Access, worktree: Worktree) -> dict[str, VolumeName]:
    """Return, by name, the volumes of a worktree that Docker knows from the volume driver."""
    store = access.store
    current = store.current(worktree.dot) == worktree.name
    found = {}
    for name, dot in store.volumes().items():
        try:
            volume = VolumeName.parse(name)
        except UsageError:
            continue
        if dot == worktree.dot and (volume.branch == worktree.branch or (volume.branch is None and current)):
            found[name] = volume
    return found


def subdots_of(places: Mapping[SubdotName, str], head: Commit | None) -> tuple[Subdot, ...]:
    """Return a dot's subdots as the store knows them. No compose file is needed."""
    states = head.subdots if head is not None else {}
    found = []
    for name in sorted({*places, *states}):
        state, place = states.get(name), places.get(name, "")
        bind = place.startswith("/")
        found.append(
            Subdot(
                name=name,
                services=(state.service,) if state is not None and state.service else (),
                path=(state.path if state is not None else None) or "",
                kind=Kind.BIND if bind else Kind.NAMED,
                volume=None if bind else place or None,
                source=place,
                engine=state.engine if state is not None else None,
                reason="in the store",
            )
        )
    return tuple(found)
