"""Finish the work that a killed command left unfinished. Each entry of the journal ends in the old or in the new state.

| operation | what may have happened                      | recovery                                                        |
|-----------|---------------------------------------------|-----------------------------------------------------------------|
| commit    | containers paused or stopped, objects made  | thaw, start again, forget the objects: the old state            |
| restore   | containers down, files partly rewritten     | keep what is live, restore every subdot, move: the new state    |
| switch    | containers down, on one tree or the other   | take down, follow the new tree, start: the new state            |
| session   | tests, or people since, have written        | keep what is live, restore the state that the test run found    |

Recovery captures the live state before it overwrites a file, and the reflog notes it as "before recovery", unless all of it is
in a commit that is kept anyway. A verb that only reads thaws containers and does nothing else: `left.py` says what it finds.

The owner of a session is dead if nobody holds the session's lock. The owner of any other operation is dead if nobody holds the
dot's lock. A restore or session of another worktree is left for a command that works there.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Sequence
from dataclasses import replace

from dm_compose.core.commit import COMMIT, RESTORE, SESSION, SWITCH, JournalEntry
from dm_compose.core.events import Event
from dm_compose.core.labels import PROJECT_LABEL, SESSION_LABEL
from dm_compose.core.names import CommitId, EntryId
from dm_compose.core.variables import Variables
from dm_compose.engine import abandoned
from dm_compose.engine.frozen import kill_all_but_the_first
from dm_compose.errors import DmError, InUseError, NotFoundError
from dm_compose.live.freeze import Freeze
from dm_compose.live.locks import who_am_i
from dm_compose.live.worktree import LiveWorktree, Recovered
from dm_compose.operations.left import BEFORE_RECOVERY, entries_of, in_use, in_words, is_alive, nearest, what_is_left
from dm_compose.operations.restore import finish_restore
from dm_compose.operations.trees import finish_switch
from dm_compose.operations.uncommitted import capture

WAY_OUT = (
    "`reset --hard HEAD` goes on without it, on the last commit, and `undo` then brings back what it had kept."
    " For a longer wait: DM_TIMEOUT."
)


class Use(enum.Enum):
    """The use that a caller makes of a worktree whose dot it holds the lock of."""

    RECORD = "names commits, and leaves the worktree alone"
    WRITE = "commits the worktree, keeps it, or moves it"
    RESTORE = "puts another state in the worktree's place, whatever is there"
    SESSION = "is the test run that has the worktree"
    NEW_SESSION = "is a test run that holds the session's lock, and has journalled nothing yet"


def look(live: LiveWorktree, observe: Callable[[], LiveWorktree]) -> LiveWorktree:
    """Warn of what killed commands left unfinished, and let containers go on that they have paused or stopped for a commit.

    For callers that only read and hold no lock. No file changes and no container goes down. Return the stack as it is then.
    """
    if not entries_of(live.store, *live.where):
        return live
    try:
        token = live.store.lock(live.dot, who_am_i(), 0)
    except InUseError:
        return live  # its owner lives and is at work
    try:
        commits = [e for e in entries_of(live.store, *live.where) if e.operation == COMMIT]
        for entry in commits:
            _give_up_commit(live, entry)
        for left in what_is_left(live.store, *live.where):
            if not left.in_use:
                live.listener(Event("warning", left.text))
        return observe() if commits else live
    finally:
        live.store.unlock(token)


def recover(
    live: LiveWorktree, observe: Callable[[], LiveWorktree], variables: Variables, *, use: Use = Use.WRITE
) -> LiveWorktree:
    """Finish everything that dead commands left unfinished, and return the stack as it is then.

    `observe` looks at the stack anew, after each change. The caller holds the dot's lock, so the owners are dead. `use` says what
    the caller is about to do. A caller that restores does not depend on an entry that cannot be finished: it is among the `left`
    of the returned stack, for the restore to supersede. InUseError if a test run that lives has the worktree and the caller is
    about to move or commit it. Idempotent. If it is killed, the next command goes on with it.
    """
    entries = entries_of(live.store, *live.where)
    session = next((e for e in entries if e.operation == SESSION and use != Use.NEW_SESSION and is_alive(live.store, e)), None)
    if session is not None and use in (Use.WRITE, Use.RESTORE):
        raise in_use(live.store, session)
    changed = False
    for entry in (e for e in entries if e.operation in (COMMIT, SWITCH)):
        _tell(live, entry)
        changed = True
        if entry.operation == COMMIT:
            _give_up_commit(live, entry)
            continue
        _thaw(live, entry)
        finish_switch(observe(), entry, timeout_s=variables.timeout_s)
    live = observe() if changed else live
    entries = [e for e in entries if e.operation in (RESTORE, SESSION)]
    if session is not None:  # its next restore supersedes whatever it has begun
        return replace(live, left=tuple(e for e in entries if e.operation == RESTORE) if use == Use.SESSION else ())
    return _finish_restores(live, entries, observe, variables, use) if entries else live


def _finish_restores(
    live: LiveWorktree, entries: Sequence[JournalEntry], observe: Callable[[], LiveWorktree], variables: Variables, use: Use
) -> LiveWorktree:
    """Keep what is live, and carry out the restores and the give-back of a session that dead commands have left."""
    short = what_is_left(live.store, *live.where)[0].short
    for entry in nearest(entries):
        _tell(live, entry)
    for entry in entries:
        _thaw(live, entry)
    live = observe()
    with Freeze(live, lenient=True) as freeze:
        captured, kept = _keep(live, entries, freeze)
        try:
            live = _finish_all(live, entries, observe, variables, use, freeze, captured)
            return live if live.left else replace(live, recovered=Recovered(tuple(entries), kept))
        except DmError as error:
            if use != Use.RESTORE:
                error.hint = f"{error.hint} {WAY_OUT}" if error.hint else WAY_OUT
                error.message = f"{short}, and it cannot be finished: {error.message}"
                raise
            live.listener(Event("warning", f"{error.message}; going on without it"))
        finally:
            freeze.thaw()
            live.store.abandon(captured)
    live = observe()
    return replace(live, left=tuple(e for e in entries_of(live.store, *live.where) if e.operation in (RESTORE, SESSION)))


def _finish_all(
    live: LiveWorktree,
    entries: Sequence[JournalEntry],
    observe: Callable[[], LiveWorktree],
    variables: Variables,
    use: Use,
    freeze: Freeze,
    captured: EntryId,
) -> LiveWorktree:
    """Carry out the restores, in a stack that is frozen and kept by the entry `captured`. The first restore takes that over.

    Containers that go down stay frozen until then, so that nothing is acknowledged that is not kept.
    """
    sessions = [e for e in entries if e.operation == SESSION]
    gone = _take_down(live) if sessions else set()
    if gone:
        for container_id in gone:
            freeze.forget(container_id)
        live = replace(live, members=tuple(m for m in live.members if m.container.id not in gone))
    visits = [e for e in entries if e.operation == RESTORE and e.move is None]
    if use == Use.RESTORE and not sessions and len(visits) == len(entries):
        return replace(live, left=tuple(visits))  # nobody wants their targets once something else is put in their place
    # A session puts the worktree back to the state before the visits, so that nobody has to finish those.
    rounds: list[list[JournalEntry]] = [[e] for e in entries if e.move is not None]
    rounds += [[e, *visits, *sessions[:-1]] for e in sessions[-1:]]
    rounds += [[e] for e in visits if not sessions]
    finish_restore(live, rounds[0], timeout_s=variables.timeout_s, freeze=freeze, takes_over=captured)
    for superseded in rounds[1:]:
        finish_restore(observe(), superseded, timeout_s=variables.timeout_s)
    return observe()


def _keep(live: LiveWorktree, entries: Sequence[JournalEntry], freeze: Freeze) -> tuple[EntryId, CommitId | None]:
    """Keep what is live if some of it is in none of the commits that the restores are about, and tell how to bring it back.

    The stack is frozen then. Return the journal entry of the capture, which stays open, and the commit with what was kept.
    """
    head = live.state().head
    known: list[CommitId | None] = [head]
    for entry in entries:
        known += [entry.target, *((entry.move.saved,) if entry.move is not None else ())]
    captured, saved = capture(live, BEFORE_RECOVERY, freeze, known=[commit for commit in known if commit is not None])
    if saved is not None:
        live.store.note(*live.where, BEFORE_RECOVERY, saved)
        text = f"the state that was live is kept: `reset --hard {saved.short}` brings it back"
        live.listener(Event("warning", text))
    return captured, saved


def _tell(live: LiveWorktree, entry: JournalEntry) -> None:
    live.listener(Event("recover", f"{in_words(entry)}; cleaning up after it"))


def _take_down(live: LiveWorktree) -> set[str]:
    """Remove the containers that a dead test run has brought up, and return their ids.

    If nothing else of the stack is up, remove its networks too.
    """
    engine, project = live.engine, live.project
    if engine is None or project is None:
        return set()
    brought_up = [r for r in engine.labelled(f"{SESSION_LABEL}={project}", volumes=False) if abandoned(r.labels)]
    members = {m.container.id: m.container for m in live.members}
    for container in brought_up:
        if container.id in members:
            kill_all_but_the_first(engine, members[container.id])
        engine.remove(container)
    if brought_up and not [c for c in engine.containers(project) if c.project == project]:
        for resource in engine.labelled(f"{PROJECT_LABEL}={project}", volumes=False):
            with contextlib.suppress(DmError):  # somebody else uses the network
                engine.remove(resource)
    return {container.id for container in brought_up}


def _give_up_commit(live: LiveWorktree, entry: JournalEntry) -> None:
    """Put the containers of a killed commit back, and forget its objects. If that fails, the entry stays, with a warning."""
    started = [_go_on(live, container_id, "start") for container_id in entry.stopped]
    if _thaw(live, entry) and all(started):
        live.store.abandon(entry.id)


def _thaw(live: LiveWorktree, entry: JournalEntry) -> bool:
    """Thaw the containers that a killed operation has paused. Each is tried. Return whether none is left."""
    thawed = [_go_on(live, container_id, "unpause") for container_id in entry.paused]
    return all(thawed)


def _go_on(live: LiveWorktree, container_id: str, verb: str) -> bool:
    """Unpause or start a container, and return whether nothing of that is left to do. If it fails, warn."""
    if live.engine is None:
        live.listener(Event("warning", f"container {container_id[:12]} may still be paused or stopped, and no engine answers"))
        return False
    try:
        if verb == "unpause":
            live.engine.unpause(container_id)
        else:
            live.engine.start(container_id)
    except NotFoundError:
        return True
    except DmError as error:
        live.listener(Event("warning", error.message))
        return False
    return True
