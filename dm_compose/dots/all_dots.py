"""All dots of a store: list, choose, make and delete them, and look after the store."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dm_compose.core.commit import SESSION
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import DotName, RefName, WorktreeName
from dm_compose.core.upkeep import DEFAULTS, Checkup, Garbage, Holdings, UndoBudget
from dm_compose.core.variables import Variables
from dm_compose.dots.stored_dot import StoredDot
from dm_compose.engine import Engine
from dm_compose.errors import DamagedError, DmError, EngineError, InUseError, NotFoundError, UsageError
from dm_compose.live.access import open_access
from dm_compose.live.locks import LOCK_TIMEOUT_S, in_order, locked
from dm_compose.operations.left import Left, in_use, is_alive, seen_left
from dm_compose.operations.uncommitted import uncommitted
from dm_compose.store.api import Store
from dm_compose.store.history import Directories

CURRENT_DOT = "current-dot"
UPSTREAM = "upstream."
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Summary:
    """A dot at a glance.

    `size_bytes` is the size of its live files, and `dirty_bytes` of these are not as in the head. If the files cannot be reached
    from here, `size_bytes` is the size of the head, and `dirty_bytes` is 0. `commits` counts the commits of the current branch.
    `unfinished` is what killed commands have left.

    `problem` says why the dot cannot be looked at, for example damage. The numbers are then None, and no container is named.
    """

    dot: DotName
    current: bool
    branch: RefName
    server: str
    containers: tuple[str, ...]
    size_bytes: int | None
    commits: int | None
    dirty_bytes: int | None
    problem: str = ""
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unfinished:
    """Work that a killed command or test run has left in the worktree that stands on `branch`."""

    dot: DotName
    branch: RefName
    left: Left


class Dots:
    """The dots of the store that DM_HOME names. Holds no lock and no connection to the store between calls."""

    def __init__(self, variables: Variables, listener: Listener = ignore) -> None:
        self.variables = variables
        self.listener = listener

    @functools.cached_property
    def engine(self) -> Engine | None:
        """The engine. It is None if none answers and the store is a directory, which needs none. EngineError otherwise."""
        try:
            return Engine()
        except EngineError:
            if self.variables.home_is_directory:
                return None
            raise

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """Open the store alone, without the files of any dot."""
        access = open_access(self.engine, [], self.variables, self.listener)
        try:
            yield access.store
        finally:
            access.store.close()

    # Which dot

    def names(self) -> list[DotName]:
        """Return the names of all dots. Clones are left out, because they go with the test run that made them."""
        with self.store() as store:
            return _names(store)

    def current(self) -> DotName | None:
        """Return the dot that `switch` has chosen, or the only one that there is. None if there is no such dot."""
        with self.store() as store:
            return _current(store)

    def switch(self, dot: DotName) -> None:
        """Make a dot the current one. NotFoundError."""
        with self.store() as store:
            if not store.has_dot(dot):
                raise NotFoundError(f"dot {dot} doesn't exist", hint="`dm list` shows what there is.")
            store.set_setting(CURRENT_DOT, dot)

    def choose(self) -> DotName:
        """Return the current dot. NotFoundError lists all dots if none is selected.

        If there is only one dot, it is the current one from then on, also after another one is made.
        """
        with self.store() as store:
            found, names = _current(store), _names(store)
            if found is not None:
                if store.settings().get(CURRENT_DOT) != found:
                    store.set_setting(CURRENT_DOT, found)
                return found
        if not names:
            raise NotFoundError("No current dot is selected: there is none yet", hint="Make one: dm init NAME.")
        raise NotFoundError(
            f"No current dot is selected. There are: {', '.join(names)}", hint="Select one: dm switch NAME; or use --dot."
        )

    def dot(self, name: DotName, branch: RefName | None = None) -> StoredDot:
        """Return a dot to work with, at its current branch or at one that is checked out."""
        return StoredDot(name, self.engine, self.variables, self.listener, branch=branch)

    # Making and deleting

    def create(self, dot: DotName) -> None:
        """Make an empty dot whose files are directories of the store. ExistsError."""
        with self.store() as store, locked(store, dot, self.listener):  # so that nobody is still deleting a dot of that name
            store.create_dot(dot, tree=True)

    def delete(self, dot: DotName) -> None:
        """Delete a dot with its commits and, if they are in the store, its files. There is no way back.

        Docker's own volumes stay. Docker forgets the dot's volumes of the driver first, because it would ask the driver for them
        at each of its starts. NotFoundError. InUseError while a container runs on any of the dot's worktrees, and while any
        container, running or not, has a volume of the dot from the driver.
        """
        with self.store() as store:
            if not store.has_dot(dot):
                raise NotFoundError(f"No such filesystem: there is no dot {dot}", hint="`dm list` shows what there is.")
            self.dot(dot).require_engine(store)
            with locked(store, dot, self.listener):
                for entry in store.unfinished(dot):
                    if entry.operation == SESSION and is_alive(store, entry):
                        raise in_use(store, entry)
                for worktree in store.worktrees(dot).values():
                    users = self._users(StoredDot(dot, self.engine, self.variables, self.listener, branch=worktree.branch))
                    if users:
                        raise InUseError(
                            f"We cannot delete the volume {dot}: {', '.join(users)} still use it",
                            hint=f"Remove them first: docker rm -f {' '.join(users)}" if worktree.tree else "Stop them first.",
                        )
                self._have_docker_forget(name for name, owner in store.volumes().items() if owner == dot)
                store.delete_dot(dot)
                for key in store.settings():
                    if key.startswith(UPSTREAM) and key.endswith(f".{dot}"):
                        store.set_setting(key, None)
                if store.settings().get(CURRENT_DOT) == dot:
                    store.set_setting(CURRENT_DOT, None)
        with (
            contextlib.suppress(InUseError),
            self._all_locked(timeout_s=0) as store,
        ):  # if it does not happen now, the next gc frees the objects
            store.collect(_FIRST)

    def _users(self, dot: StoredDot) -> list[str]:
        with dot.live(lock=False) as live:
            return [m.container.name for m in live.members if m.mounts and (live.tree or m.container.running)]

    def _have_docker_forget(self, volumes: Iterable[str]) -> None:
        for name in volumes:
            try:
                if self.engine is not None:
                    self.engine.remove_volume(name)
            except EngineError as error:  # the driver does not run; its next reset does this, or `docker volume rm`
                self.listener(Event("warning", error.message))

    # Looking

    def summaries(self, meant: DotName | None = None) -> list[Summary]:
        """Return all dots at a glance, by name. `meant`, if given, counts as the current one.

        A dot that cannot be looked at has a `problem`, and hides no other.
        """
        with self.store() as store:
            names, current = _names(store), meant or _current(store)
            branches = {name: store.worktree(name, store.current(name)).branch for name in names}
        return [self._summary_or_problem(name, branches[name], current=name == current) for name in names]

    def _summary_or_problem(self, name: DotName, branch: RefName, *, current: bool) -> Summary:
        try:
            return self.summary(name, current=current)
        except DmError as error:
            self.listener(Event("warning", f"dot {name}: {error.message}"))
            return Summary(name, current, branch, socket.gethostname(), (), None, None, None, error.message)

    def summary(self, name: DotName, *, current: bool = False) -> Summary:
        """Return one dot at a glance. DamagedError if its files or its history cannot be read."""
        with self.dot(name).live(lock=False) as live:
            state = live.state()
            log = live.store.log(name, state.head) if state.head is not None else []
            found = live.diff(None, {}, 0)
            size = sum(change.size_bytes for diff in found.values() for change in diff.changes)
            try:
                dirty = sum(changes.diff.changed_bytes for changes in uncommitted(live).values() if changes.by_user)
            except DamagedError as error:  # the other dots must be shown all the same
                self.listener(Event("warning", f"dot {name}, all of it counted as dirty: {error.message}; see `dm fsck`"))
                dirty = size
            return Summary(
                dot=name,
                current=current,
                branch=state.branch,
                server=socket.gethostname(),
                containers=tuple(sorted(m.container.name for m in live.members if m.mounts and m.container.running)),
                size_bytes=size if live.places or not log else log[0].size_bytes,
                commits=len([commit for commit in log if not commit.hidden]),
                dirty_bytes=dirty if live.places else 0,
                unfinished=tuple(left.text for left in seen_left(live.store, *live.where) if not left.in_use),
            )

    # The work of killed commands

    def left(self) -> list[Unfinished]:
        """Return what killed commands and test runs have left in the worktrees of all dots. Takes no lock."""
        with self.store() as store:
            return [
                Unfinished(dot, worktree.branch, left)
                for dot in _names(store)
                for worktree in store.worktrees(dot).values()
                for left in seen_left(store, dot, worktree.name)
                if not left.in_use
            ]

    def finish(self, found: Unfinished) -> None:
        """Finish the work, or take it back, as the next command that writes would. See recovery.recover."""
        with self.dot(found.dot, found.branch).live(lock=True):
            pass

    # Looking after the store

    def holdings(self, *, keep_days: int | None) -> Holdings:
        """Return what holds the space of the store, and what `collect` would free now. DamagedError. Takes no lock."""
        with self.store() as store:
            return store.holdings(_since(keep_days))

    def garbage(self, *, keep_days: int | None) -> Garbage:
        """Return the garbage that `collect` would free now."""
        with self._all_locked() as store:
            return store.garbage(_since(keep_days))

    def collect(self, *, keep_days: int | None) -> Garbage:
        """Free everything that no branch, tag, uncommitted state or reflog entry of the last `keep_days` names.

        Without `keep_days` those entries count that the budget of `undo` leaves.
        """
        with self._all_locked() as store:
            return store.collect(_since(keep_days))

    def config(self) -> dict[str, str]:
        """Return the settings of the store that a user may change, those that are not set with what counts for them."""
        with self.store() as store:
            found = store.settings()
        return {name: found.get(name, default) for name, default in DEFAULTS.items()}

    def configure(self, name: str, value: str | None) -> None:
        """Change a setting of the store, or forget it if `value` is None. NotFoundError, and UsageError for a wrong value."""
        if name not in DEFAULTS:
            raise NotFoundError(f"there is no setting {name}", hint=f"There are {', '.join(DEFAULTS)}.")
        if value is not None:
            UndoBudget.of({name: value})
        with self.store() as store:
            store.set_setting(name, value)

    def check(self, *, repair: bool) -> Checkup:
        """Check that everything in the store is as it was written. See Store.check.

        Repairs take missing contents from live files, as far as these can be reached.
        """
        with self._all_locked() as store:
            trees = {dot: self._live(store, dot) for dot in store.dots()}
            return store.check(trees, repair=repair)

    def _live(self, store: Store, dot: DotName) -> Mapping[WorktreeName, Directories]:
        """Return the directories of a dot's worktrees. Volumes and paths that only a helper can reach are left out."""
        found: dict[WorktreeName, Directories] = {}
        for worktree in store.worktrees(dot).values():
            if worktree.tree:
                found[worktree.name] = store.tree(dot, worktree.name)
                continue
            try:
                access = open_access(self.engine, worktree.places.values(), self.variables, self.listener)
            except DmError:
                continue
            if access.how == "in-process":
                found[worktree.name] = {subdot: access.directory(place) for subdot, place in worktree.places.items()}
            access.store.close()
        return found

    @contextlib.contextmanager
    def _all_locked(self, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[Store]:
        with self.store() as store, contextlib.ExitStack() as locks:
            for dot in in_order(store.dots(), store.clones()):
                locks.enter_context(locked(store, dot, self.listener, timeout_s=timeout_s))
            yield store


def upstream_key(remote: str, dot: DotName) -> str:
    """Return the key of the setting that has the name of a dot on a remote."""
    return f"{UPSTREAM}{remote}.{dot}"


def _names(store: Store) -> list[DotName]:
    clones = store.clones()
    return [dot for dot in store.dots() if dot not in clones]


def _current(store: Store) -> DotName | None:
    names = _names(store)
    chosen = store.settings().get(CURRENT_DOT)
    if chosen in names:
        return DotName(chosen)
    return names[0] if len(names) == 1 else None


def _since(keep_days: int | None) -> datetime | None:
    """Return the instant from which on reflog entries count. None leaves that to the budget."""
    if keep_days is None:
        return None
    if keep_days < 0:
        raise UsageError(f"cannot keep the last {keep_days} days", hint="Use 0 or more.")
    return UndoBudget(keep_days).since(datetime.now(UTC))
