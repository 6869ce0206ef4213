"""A stack's state from a remote: one commit is fetched and put into the volumes, and then the datastores start on it.

`dm-compose up --from` has four steps: fetch (only the store changes), fill (a journalled restore), start, and wait until all is
ready. Each may be killed and done again.

While engines start on the files that they were given, they write, and that is no user's change. A run that is killed in between
leaves such writes behind. So from before the first file is written until all is ready, the setting `starting.DOT.WORKTREE` names
the commit. If the next run finds it, it keeps differences for `undo` and does not refuse to go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dm_compose.compose.words import read_words
from dm_compose.core.commit import Commit, Origin
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName
from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.dots.all_dots import Dots
from dm_compose.dots.stack import Stack
from dm_compose.errors import ComposeError, UsageError
from dm_compose.live.locks import locked
from dm_compose.live.ready import await_all
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.checks import before_up, would_be_lost
from dm_compose.operations.fill import fill_live
from dm_compose.operations.restore import move_to
from dm_compose.operations.uncommitted import dirty_subdots, save_from_memory
from dm_compose.sharing.named_remotes import Remotes
from dm_compose.sharing.remote_ref import RemoteRef
from dm_compose.store.api import COMPARE_BUDGET_BYTES, Store
from dm_compose.transfer import Relation, download, find_tip
from dm_compose.transfer.lineage import descends_from
from dm_compose.up.run import get_images, require_compose

ACTION = "up"
_STARTING = "starting"


@dataclass(frozen=True)
class Fetched:
    """A commit that is in the store now, and its relation to the local branch of the same name (NEW if there is none)."""

    commit: Commit
    relation: Relation
    received_bytes: int = 0


@dataclass(frozen=True)
class Filling:
    """A run of `up --from` that was done.

    `filled` are the subdots that were written to. There are none if the stack was at the commit already. `saved` is the commit
    with the uncommitted changes, if there were any. `remote` is the name by which `push` and `pull` know the remote.
    """

    commit: Commit
    branch: RefName
    remote: str
    received_bytes: int
    filled: tuple[SubdotName, ...]
    saved: CommitId | None
    total_s: float


@dataclass(frozen=True)
class UpOptions:
    """Options of filling and starting a stack.

    `hard` keeps for `undo` the changes that would be lost; without it they are a reason to refuse. `words` are those of Compose's
    `up`.
    """

    hard: bool = False
    any_version: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    start: bool = True
    words: Sequence[str] = ()
    privileged: bool = False


def up_from(stack: Stack, remotes: Remotes, source: RemoteRef, options: UpOptions) -> Filling:
    """Bring a stack up from a commit on a remote, and return when every datastore answers.

    UncommittedError if changes would be lost. DivergedError if the local branch has commits that the remote's lacks. Idempotent:
    if the stack is at the commit, nothing is transferred or restarted. If this is killed anywhere, the next run finishes it. A
    remote that is given by its address gets a name (`Remotes.remember`).
    """
    check_words(options.words)
    began = time.monotonic()
    fetch_images(stack)
    source = remotes.on_its_branch(source)
    found = fetch_commit(stack, remotes, source)
    source = replace(source, remote=remotes.remember(source.remote))
    return put_and_start(stack, remotes, source, found, options, began)


def check_words(words: Sequence[str]) -> None:
    """Raise UsageError for words of Compose's `up` that do not go together with filling the stack first."""
    if read_words(["up", *words]).asks("dry-run"):
        raise UsageError("--from has no --dry-run", hint="`dm-compose remote ls REMOTE` shows what there is.")


def fetch_images(stack: Stack) -> None:
    """Have Compose pull or build the images that the engine lacks, because an image tells what is state.

    ComposeError if a signal interrupts it. If an image cannot be had, Compose itself will say so later.
    """
    if get_images(stack):
        raise ComposeError("getting the images was interrupted")


# Fetch


def fetch_commit(stack: Stack, remotes: Remotes, source: RemoteRef) -> Fetched:
    """Get one commit into the stack's dot, which is made if need be. No branch moves, and the reflog names the commit.

    The commit's ancestors come along only if the local branch has all of its own. If the commit is named by its id and is in the
    store already, the remote is not asked.
    """
    with remotes.dots.store() as store:
        dot, worktree = stack.identity(store)
        if (here := _commit_here(store, dot, source)) is not None:
            return Fetched(here, Relation.SAME)
        exists = store.has_dot(dot)
        head = store.branches(dot).get(RefName(source.ref)) if exists else None
        whole = head is not None and not any(c.shallow for c in store.log(dot, head))
        with (
            remotes.opened(source.remote) as remote,
            download(remote, source.name, source.ref, store, dot, stack.listener, head=head, depth=None if whole else 1) as got,
        ):
            relation = got.report.relation
            unknown = relation is Relation.DIVERGED and not whole  # its ancestors did not come, so look there for our head
            if unknown and head is not None and descends_from(remote.repository(source.name), got.report.head, head):
                relation = Relation.BEHIND
            stack.ensure_dot(store)
            if got.commits:
                with locked(store, dot, stack.listener):
                    got.publish()
                    store.note(dot, worktree, f"fetch {source}", got.report.head)
            return Fetched(store.commit(dot, got.report.head), relation, got.report.received_bytes)


def _commit_here(store: Store, dot: DotName, source: RemoteRef) -> Commit | None:
    """Return the commit that is meant if it is named by its id and is in the store already."""
    if isinstance(source.ref, CommitId) and store.has_dot(dot) and store.exchange().has_commit(dot, source.ref):
        return store.commit(dot, source.ref)
    return None


def look_for(stack: Stack, source: RemoteRef) -> None:
    """Raise NotFoundError if there is no such remote, or if it has no such branch or commit. Nothing is fetched."""
    remotes = Remotes(Dots(stack.variables, stack.listener))
    with remotes.dots.store() as store:
        if _commit_here(store, stack.identity(store)[0], source) is None:
            with remotes.opened(source.remote) as remote:
                find_tip(remote, source.name, source.ref)


def commit_for_tests(stack: Stack, source: RemoteRef) -> CommitId:
    """Get the commit from which tests are to start. Branches, volumes and containers stay as they are."""
    fetch_images(stack)
    remotes = Remotes(Dots(stack.variables, stack.listener))
    return fetch_commit(stack, remotes, remotes.on_its_branch(source)).commit.id


# Fill and start


def put_and_start(stack: Stack, remotes: Remotes, source: RemoteRef, found: Fetched, options: UpOptions, began: float) -> Filling:
    """Put a commit of the store into the volumes, start the stack on it and wait until it is ready. See `up_from`."""
    with stack.live(lock=True, make_volumes=True) as live:
        branch = _branch_for(live, source.ref, found.commit)
        filled, saved = _put(live, stack, branch, found, options)
        dot = live.dot
    remotes.set_upstream(source.remote, dot, source.name)
    if options.start:
        start(stack, options)
    return Filling(found.commit, branch, source.remote, found.received_bytes, filled, saved, time.monotonic() - began)


def start(stack: Stack, options: UpOptions) -> None:
    """Have Compose bring the stack up in the background, and return when every datastore answers.

    If the volumes were just filled, their state counts as unchanged from then on. ComposeError if Compose fails; NotReadyError.
    """
    words = [*options.words] if read_words(["up", *options.words]).asks("detach") else ["-d", *options.words]
    require_compose(stack, ["up", *words], creates=True)
    with stack.live(lock=True) as live:
        await_all(live, options.timeout_s)
        if _key(live) in live.store.settings():
            live.mark_quiet()
            live.store.set_setting(_key(live), None)


def _put(
    live: LiveWorktree, stack: Stack, branch: RefName, found: Fetched, options: UpOptions
) -> tuple[tuple[SubdotName, ...], CommitId | None]:
    """Put a commit into the volumes unless it is there.

    Return the subdots that were written to, and the commit that keeps the state of before, if any.
    """
    store, state, target = live.store, live.state(), found.commit
    fast_forward = found.relation is Relation.BEHIND
    before_up(
        live,
        target,
        branch,
        expected=_expected(stack),
        fast_forward=fast_forward,
        any_version=options.any_version,
        privileged=options.privileged,
    )
    ours = stack.facts.engine.facts().architecture
    if target.architecture not in (None, ours):
        live.listener(Event("warning", f"the commit was made on {target.architecture}, and this engine runs on {ours}"))
    save_from_memory(live)
    dirty = dirty_subdots(live)
    empty = [subdot for subdot in dirty if is_empty(live, subdot)]
    needed = [subdot for subdot in dirty if subdot not in empty and _would_be_missed(live, subdot, target)]
    was_starting = store.settings().get(_key(live)) == target.id
    if needed and not options.hard and not was_starting:
        hint = "Commit them, or use --hard, which keeps them for `undo`; `up -d` starts the stack as it is."
        raise would_be_lost(needed, hint=hint)
    is_there = (state.branch, state.head) == (branch, target.id) and not empty and not needed
    if options.start and not (is_there and any(member.container.running for member in live.members)):
        store.set_setting(_key(live), target.id)
    if is_there:
        return (), None
    if needed or live.writers():
        report = move_to(live, target, ACTION, branch=branch, timeout_s=options.timeout_s)
    else:
        report = fill_live(live, target, ACTION, branch, timeout_s=options.timeout_s)
    return tuple(sorted(report.restored())), report.saved


def _key(live: LiveWorktree) -> str:
    return f"{_STARTING}.{live.dot}.{live.worktree}"


def _branch_for(live: LiveWorktree, ref: RefName | CommitId, target: Commit) -> RefName:
    """Return the local branch for a REF: for a branch the one of the same name, for a commit the one that is at it.

    If the current branch is not at the commit, the name is that of a new branch.
    """
    state = live.state()
    if not isinstance(ref, CommitId):
        return ref
    return state.branch if state.head == target.id else RefName(f"at-{target.id.short}")


def _expected(stack: Stack) -> dict[SubdotName, Origin]:
    """Return for each subdot the datastore and image that will write it. There may be no container yet that tells."""
    found = {}
    plan, images = stack.facts.plan, stack.facts.images
    for subdot in plan.subdots:
        name = subdot.services[0]
        planned, image = plan.services[name], images.get(name)
        if image is not None and planned.datastore is not None:
            engine, version = planned.datastore.name, planned.version
            found[subdot.name] = Origin(name, subdot.path, engine, version, image.reference, image.digest)
    return found


def _would_be_missed(live: LiveWorktree, subdot: SubdotName, target: Commit) -> bool:
    """Whether a dirty subdot differs from the commit. Before the first commit, files that the subdot lacks do not count."""
    patterns = live.ignore_patterns()
    found = live.store.diff_live(live.dot, live.worktree, live.directories, target.id, patterns, COMPARE_BUDGET_BYTES)
    changes = found[subdot].changes
    if live.state().head is None:
        return any(change.how in ("added", "changed") for change in changes)
    return bool(changes)


def is_empty(live: LiveWorktree, subdot: SubdotName) -> bool:
    """Whether a subdot's directory is empty."""
    found = live.diff(None, {}, 0)
    return all(change.path == "" for change in found[subdot].changes)
