"""Compose's own verbs as users type them: a state that they would take away is kept first, or they say how it is had back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from dm_compose.compose.words import read_words
from dm_compose.core.commit import SESSION
from dm_compose.core.events import Event
from dm_compose.core.names import DotName, SubdotName, WorktreeName
from dm_compose.core.units import size
from dm_compose.discovery.naming import missing_here
from dm_compose.discovery.stack_plan import Kind, Subdot
from dm_compose.dots.stack import OpenStack, Stack
from dm_compose.errors import DmError, NotFoundError
from dm_compose.live.access import open_access, store_exists
from dm_compose.live.freeze import Freeze
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.checks import before_save
from dm_compose.operations.left import in_use, is_alive
from dm_compose.operations.recovery import Use
from dm_compose.operations.uncommitted import DOWN, capture, uncommitted
from dm_compose.store.api import Store
from dm_compose.up.layers import Layer, carried_over, refuse_to_overwrite
from dm_compose.up.quietly import datastores_first
from dm_compose.up.run import GIVEN, compose_with_state, forget_if_gone, layers_of
from dm_compose.up.waiting import up_and_wait

Tell = Callable[[str], None]
NOTHING_REMOVED = "Nothing was removed. To remove everything without this check: docker compose down -v"


def create(stack: Stack, words: Sequence[str], tell: Tell) -> int:
    """Run a Compose verb that makes containers, and return Compose's exit code.

    Work that a killed command has left unfinished is finished first. If volumes of a stack that has commits are gone, `tell` is
    given a line that says how the last commit can be had back. After `up --wait` the datastores are ready. NotReadyError.
    """
    verb = read_words(words)
    dry_run = verb.asks("dry-run")
    has_state = bool(stack.facts.project.services) and not dry_run
    if has_state and store_exists(stack.facts.engine, stack.variables):
        with _store(stack) as store:
            dot, worktree = stack.identity(store)
            known = store.has_dot(dot)
            left = [e for e in store.unfinished(dot) if e.worktree == worktree] if known else []
            unfinished = any(e.operation != SESSION or not is_alive(store, e) for e in left)
        if unfinished:
            with stack.live(lock=True, use=Use.RECORD):
                pass
        if known:
            with _store(stack) as store:
                _tell_of_missing(store, dot, worktree, stack.facts.plan.subdots, tell)
        lost = _lost_subdots(stack) if known else []
        if lost:
            with _store(stack) as store:
                _tell_of_lost(store, dot, worktree, lost, stack.facts.plan.subdots, tell)
        elif known and verb.verb == "up" and (code := datastores_first(stack, words)):
            return code
    if verb.verb == "up" and verb.asks("wait") and not dry_run:
        return up_and_wait(stack, words)
    return compose_with_state(stack, words, creates=True)


def _lost_subdots(stack: Stack) -> list[SubdotName]:
    """Return the subdots that have no volume, nor a container that has their data in itself."""
    there = stack.places(make_volumes=False)
    in_containers = {c.service for c in stack.containers() if not c.one_off}
    subdots = stack.facts.plan.subdots
    return sorted(s.name for s in subdots if s.name not in there and s.services[0] not in in_containers)


def _tell_of_missing(store: Store, dot: DotName, worktree: WorktreeName, subdots: Sequence[Subdot], tell: Tell) -> None:
    head = store.worktree(dot, worktree).head
    for text in missing_here(subdots, store.commit(dot, head).subdots) if head is not None else ():
        tell(text)


def _tell_of_lost(
    store: Store, dot: DotName, worktree: WorktreeName, lost: Sequence[SubdotName], subdots: Sequence[Subdot], tell: Tell
) -> None:
    head = store.worktree(dot, worktree).head
    if head is None or not (names := [name for name in lost if name in store.commit(dot, head).subdots]):
        return
    last = store.commit(dot, head)
    what = f"the volume of {names[0]} is" if len(names) == 1 else f"the volumes of {', '.join(names)} are"
    text = f"{what} gone: `dm-compose reset --hard` brings the last commit back ({last.id.short} {last.message.splitlines()[0]})"
    if old := sorted(s.name for s in subdots if s.name not in lost):
        has = "has its" if len(old) == 1 else "have their"
        anew = "to begin with nothing, `dm-compose down -v` and then `up`"
        if binds := sorted(s.name for s in subdots if s.name in old and s.kind is Kind.BIND):
            anew = f"to begin with nothing, empty the directory of {', '.join(binds)}, `dm-compose down -v` and then `up`"
        tell(f"only half of the state is gone: {', '.join(old)} still {has} old one; {anew}")
    newest = next(iter(store.reflog(dot, worktree)), None)
    tell(f"{text}, `dm-compose undo` what `down -v` has kept" if newest is not None and newest.action == DOWN else text)


def down(stack: Stack, words: Sequence[str], tell: Tell) -> int:
    """Run Compose's `down`, and return Compose's exit code. See `_down`.

    A subdot may have two volumes: its container has one of an older name, and beside it there is the one that the plan names.
    With `-v` the second one is the state that is left when the first is gone, so it is kept and removed likewise.
    """
    verb = read_words(words)
    code = _down(stack, words, tell)
    if code == 0 and verb.asks("volumes") and not verb.names and not verb.asks("dry-run"):
        left = stack.places(make_volumes=False)
        if any(s.kind in GIVEN and s.name in left for s in stack.facts.plan.subdots):
            code = _down(stack, words, tell)
        forget_if_gone(stack.facts.engine, stack.variables.state_directory, [stack.facts.project.name])
    return code


def _down(stack: Stack, words: Sequence[str], tell: Tell) -> int:
    """Run Compose's `down` once, and return Compose's exit code. InUseError if a test run has the stack.

    Data that a container keeps in its writable layer is carried over into its volume first. With `-v`, what is in no commit is
    kept as a hidden commit, if the stack has a commit, and `tell` is given a line that says how to have it back: datastores save
    what they hold in memory, everything stands still, and what may write goes down before it runs again. So nothing is written
    that is not kept. If Compose then fails, the containers are put back as they were.
    """
    verb = read_words(words)
    if verb.asks("dry-run"):
        return compose_with_state(stack, words, creates=False)
    removes_volumes = verb.asks("volumes")
    with contextlib.ExitStack() as meanwhile:
        try:
            has_head = _before_down(stack)
            layers = layers_of(stack, verb.names)
            if has_head or not removes_volumes:
                refuse_to_overwrite(stack.facts.engine, layers)
                meanwhile.enter_context(carried_over(stack.facts.engine, layers, stack.listener))
            if removes_volumes:
                meanwhile.enter_context(_kept(stack, layers, verb.names, tell, has_head=has_head))
        except DmError as error:
            if removes_volumes:
                error.hint = " ".join(filter(None, (error.hint, NOTHING_REMOVED)))
            raise
        return compose_with_state(stack, words, creates=False)


def _before_down(stack: Stack) -> bool:
    """Return whether the stack has a commit. InUseError if a test run has it."""
    if not stack.facts.project.services or not store_exists(stack.facts.engine, stack.variables):
        return False
    with _store(stack) as store:
        dot, worktree = stack.identity(store)
        if not store.has_dot(dot):
            return False
        for entry in store.unfinished(dot):
            if entry.operation == SESSION and entry.worktree == worktree and is_alive(store, entry):
                raise in_use(store, entry)
        return store.worktree(dot, worktree).head is not None


@contextlib.contextmanager
def _kept(stack: Stack, layers: Sequence[Layer], services: Sequence[str], tell: Tell, *, has_head: bool) -> Iterator[None]:
    """Keep the live state, if there is a commit, and name it. In the block Compose removes it.

    `layers` is data that has just been carried over from containers into volumes. `services` are those that go down; none means
    all of them.
    """
    with contextlib.ExitStack() as meanwhile:
        opened = stack.open(make_volumes=False)
        meanwhile.callback(opened.close)
        if layers and has_head and opened.places is not None:
            places = {**opened.places, **{layer.subdot.name: layer.volume for layer in layers}}
            access = open_access(stack.facts.engine, places.values(), stack.variables, stack.listener)
            meanwhile.callback(access.store.close)
            opened = OpenStack(stack, access, places)
        live = meanwhile.enter_context(opened.live(lock=has_head, use=Use.WRITE))
        stay = {s.name for s in stack.facts.plan.subdots if s.kind is Kind.BIND}  # Compose removes no directory of the host
        dirty = {
            name: changes.diff
            for name, changes in uncommitted(live).items()
            if changes.by_user and name in live.places and name not in stay
        }
        listed = [f"{name} ({size(diff.changed_bytes)})" for name, diff in dirty.items()]
        listed += [f"{layer.subdot.name} (in its container)" for layer in layers if layer.subdot.name not in dirty]
        if listed:
            tell(f"`down -v` removes uncommitted changes: {', '.join(listed)}")
        if not has_head:
            if listed:
                tell("this stack has no commit, so nothing is kept; `dm-compose commit` would have kept it")
        elif live.places:
            before_save(live)
            meanwhile.enter_context(_captured_and_down(live, services, tell))
        yield


@contextlib.contextmanager
def _captured_and_down(live: LiveWorktree, services: Sequence[str], tell: Tell) -> Iterator[None]:
    """Keep the live state as a hidden commit if it differs from the head, and take down what may write to it.

    Containers that are still there after the block are started again, because Compose has not removed them.
    """
    writers = [m.container for m in live.writers() if not services or m.container.service in services]
    down = {c.id: c for c in writers if live.project in (None, c.project)}
    with Freeze(live) as freeze:
        entry, saved = capture(live, DOWN, freeze, takes_down=list(down))
        if saved is not None:
            live.store.note(*live.where, DOWN, saved)
            tell(f"kept: `dm-compose reset --hard {saved.short}` brings it back")
        for container in down.values():
            freeze.kill(container)
    try:
        yield
    finally:
        for container_id in down:
            try:
                assert live.engine is not None
                live.engine.start(container_id)
            except NotFoundError:
                continue
            except DmError as error:  # must not hide why the block ended
                live.listener(Event("warning", error.message))
        live.store.abandon(entry)


@contextlib.contextmanager
def _store(stack: Stack) -> Iterator[Store]:
    with contextlib.closing(open_access(stack.facts.engine, [], stack.variables, stack.listener).store) as store:
        yield store
