"""Refusals before an operation: one function for each verb, so that all verbs refuse the same thing in the same words.

A check changes no file and no record of ours. `before_reset` and `before_pull` have running datastores write what they hold in
memory to their files first, so that the files show every change. The caller holds the dot's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dm_compose.core.commit import Commit, Origin, Worktree
from dm_compose.core.events import Event
from dm_compose.core.names import MAIN_WORKTREE, CommitId, RefName, SubdotName
from dm_compose.core.units import counted
from dm_compose.discovery.naming import missing_here
from dm_compose.errors import (
    DivergedError,
    EngineError,
    InUseError,
    NotFoundError,
    UncommittedError,
    UntrustedError,
    VersionMismatchError,
)
from dm_compose.live.freeze import refuse_to_hold_ourselves
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.uncommitted import dirty_subdots, save_from_memory, uncommitted
from dm_compose.store.privileges import mark_of

KEEP_IT = "Commit or `stash` them, or use --hard: `undo` brings them back. `diff` shows them."


def before_commit(live: LiveWorktree) -> None:
    """Raise InUseError if a container of another project may write, NotFoundError if files are missing or there is no subdot."""
    _refuse_strangers(live, readers_too=False)
    require_places(live)
    if not live.places:
        raise NotFoundError(
            f"dot {live.dot} has no subdot: nothing in this stack keeps state", hint="`dm-compose plan` says why."
        )


def before_save(live: LiveWorktree) -> None:
    """Raise InUseError if a container of another project may write while the live state is kept."""
    _refuse_strangers(live, readers_too=False)


def before_reset(live: LiveWorktree, target: Commit, *, hard: bool, any_version: bool, privileged: bool = False) -> None:
    """Raise the errors of `before_checkout`. Without `hard` also raise UncommittedError for uncommitted changes."""
    before_checkout(live, target, any_version=any_version, privileged=privileged)
    if not hard:
        refuse_to_lose(live)


def before_checkout(live: LiveWorktree, target: Commit, *, any_version: bool, privileged: bool = False) -> None:
    """Raise the errors of `before_undo` and `refuse_privileged`. Without `any_version` also raise VersionMismatchError."""
    before_undo(live)
    refuse_privileged(live, target, privileged=privileged)
    if not any_version:
        check_versions(live.origins(), target)


def before_undo(live: LiveWorktree) -> None:
    """Raise InUseError if a container of another project uses a subdot. Raise NotFoundError if the files of one are missing."""
    _refuse_strangers(live, readers_too=True)
    require_places(live)


def before_session(live: LiveWorktree, target: Commit, *, any_version: bool) -> None:
    """Raise the errors of `before_checkout`, before a test run borrows the stack. Warn as `tell_doubts` does."""
    before_checkout(live, target, any_version=any_version)
    tell_doubts(live, target)


def tell_missing(live: LiveWorktree) -> None:
    """Warn of subdots that the head has and the stack does not, before a commit that will not have them either."""
    head = live.state().head
    if head is not None and not live.tree:
        for text in missing_here(live.plan.subdots, live.store.commit(live.dot, head).subdots):
            live.listener(Event("warning", text))


def tell_doubts(live: LiveWorktree, target: Commit) -> None:
    """Warn if a stack is about to be put to a commit from which it may not start."""
    for service, reason in target.unready.items():
        text = f"commit {target.id.short} was made while {service} was not ready ({reason}); it may not start from it"
        live.listener(Event("warning", text))
    found = live.store.verifications(live.dot).get(target.id)
    for service, problem in (found.problems if found is not None else {}).items():
        listed = problem.partition("\n")[0]
        live.listener(Event("warning", f"commit {target.id.short} was verified, and {service} is not sound: {listed}"))


def before_up(
    live: LiveWorktree,
    target: Commit,
    branch: RefName,
    *,
    expected: Mapping[SubdotName, Origin],
    fast_forward: bool,
    any_version: bool,
    privileged: bool = False,
) -> None:
    """Refuse to fill a stack with `target` and to stand on `branch`. The stack's own uncommitted changes are not looked at.

    `expected` has the datastore that will write each subdot, because there may be no container yet. `fast_forward` says that the
    branch's head is an ancestor of `target`. InUseError, NotFoundError, VersionMismatchError, DivergedError; UncommittedError if
    `branch` is another one, and was left with changes.
    """
    if live.tree:
        raise InUseError(
            f"dot {live.dot} keeps its files in the store, not in volumes of the stack", hint="`dm pull` brings it up to date."
        )
    before_undo(live)
    refuse_privileged(live, target, privileged=privileged)
    if missing := sorted(s.name for s in live.plan.subdots if s.name not in target.subdots):
        raise NotFoundError(
            f"commit {target.id.short} has no subdot {', '.join(missing)}, which this stack has",
            hint=f"It has {', '.join(sorted(target.subdots))}. `dm-compose plan` shows the stack's; commit and push it anew.",
        )
    if not any_version:
        check_versions(expected, target)
        check_versions(live.origins(), target)
    head = live.store.branches(live.dot).get(branch)
    if head not in (None, target.id) and not fast_forward:
        raise DivergedError(
            f"branch {branch} of dot {live.dot} has commits that are no ancestors of {target.id.short}",
            hint=f"`push` them; or keep them as another branch (`dm-compose branch NAME {branch}`) and reset {branch}.",
        )
    if branch != live.state().branch and branch in live.store.uncommitted(live.dot):
        raise UncommittedError(
            f"branch {branch} was left with uncommitted changes", hint=f"`dm-compose checkout {branch}` brings them back."
        )


def before_pull(live: LiveWorktree, branch: RefName, *, diverged_from: str | None, hard: bool) -> None:
    """Refuse to move `branch` to new commits if that would take something away: InUseError, UncommittedError, DivergedError.

    With `hard` the worktree's own uncommitted changes may go, because `undo` brings them back.
    `diverged_from` is None, or names the remote's dot if each branch has commits that the other one lacks and nothing keeps ours:
    this raises DivergedError. A tree without a commit and without files may be pulled into.
    """
    if diverged_from is not None:
        raise DivergedError(
            f"branch {branch} of dot {live.dot} and that of {diverged_from} have diverged: each has commits that the other"
            " does not have",
            hint="`pull --stash-on-divergence` keeps yours as a branch of its own.",
        )
    if branch == live.state().branch:
        _refuse_strangers(live, readers_too=True)
        empty = live.tree and live.state().head is None
        if not hard and not (empty and not any(c.path for found in uncommitted(live).values() for c in found.diff.changes)):
            refuse_to_lose(live, hint="`stash` them first, or use --hard: `undo` brings them back. `diff` shows them.")
        return
    for worktree in live.store.worktrees(live.dot).values():
        if worktree.branch == branch:
            raise InUseError(
                f"branch {branch} of dot {live.dot} is checked out in worktree {worktree.name}",
                hint=f"Go there first: checkout {branch}"
                if worktree.project is None
                else f"Pull it there, with dm-compose -p {worktree.project}.",
            )
    if branch in live.store.uncommitted(live.dot):
        raise UncommittedError(
            f"branch {branch} of dot {live.dot} was left with uncommitted changes",
            hint=f"Commit them first: checkout {branch}",
        )


def before_removing_branch(
    live: LiveWorktree, name: RefName, tree: Worktree | None, *, going: Collection[RefName], force: bool
) -> None:
    """Raise InUseError for a branch that is checked out. `tree` is the worktree that stands on it, if any.

    `going` are all the branches that go with it, so that none of them keeps its commits.

    Without `force` also raise UncommittedError if no other branch and no tag leads to its commits, or if it has uncommitted
    changes.
    """
    store, dot = live.store, live.dot
    if tree is not None and (tree.name == store.current(dot) or not tree.tree):
        raise InUseError(
            f"branch {name} of dot {dot} is checked out in worktree {tree.name}",
            hint="Check out another branch there first"
            + (f", or remove it: `dm-compose worktree remove {tree.name}`." if tree.name != MAIN_WORKTREE else "."),
        )
    if tree is not None:
        _refuse_fixed(live, tree)
    head = store.branches(dot).get(name)
    if head is not None and not force:
        _refuse_to_forget(live, name, head, going)


def before_removing_tree(live: LiveWorktree, *, force: bool) -> bool:
    """Raise InUseError for the main or current worktree, and for one that is in use. Return whether it has uncommitted changes.

    Without `force` raise UncommittedError if it has.
    """
    _refuse_fixed(live, live.state())
    running = [m.container.name for m in live.members if m.mounts and m.container.running]
    if running:
        raise InUseError(f"worktree {live.worktree} of dot {live.dot} is used by {', '.join(running)}", hint="Stop them first.")
    dirty = bool(dirty_subdots(live))
    if dirty and not force:
        raise UncommittedError(
            f"worktree {live.worktree} of dot {live.dot} holds uncommitted changes",
            hint="Commit them, or use --force (for a branch: -D); the reflog keeps them then.",
        )
    return dirty


def before_removing_volumes(live: LiveWorktree) -> None:
    """Raise InUseError for the main or current worktree, and for one of volumes that still has containers."""
    _refuse_fixed(live, live.state())
    if containers := [m.container.name for m in live.members]:
        project = live.store.worktree(live.dot, live.worktree).project
        raise InUseError(
            f"worktree {live.worktree} of dot {live.dot} has containers: {', '.join(containers)}",
            hint=f"dm-compose -p {project} down",
        )


# Single refusals that several verbs share


def refuse_unfinished(live: LiveWorktree) -> None:
    """Raise InUseError if a restore is unfinished, before a move that changes no file and so could not take its place."""
    if live.left:
        raise InUseError(
            f"an earlier operation on dot {live.dot} was interrupted",
            hint="`reset --hard HEAD` ends it; `undo` then brings all back.",
        )


def require_places(live: LiveWorktree) -> None:
    """Raise NotFoundError for a subdot without files, EngineError if only an engine could tell.

    In a tree there is nothing to miss, because its subdots come and go with its directories.
    """
    for subdot in live.plan.subdots if not live.tree else ():
        if subdot.name in live.places:
            continue
        if any(m.container.service in subdot.services[:1] for m in live.members):
            raise NotFoundError(
                f"subdot {subdot.name}: service {subdot.services[0]} keeps {subdot.path} in its container, not in a volume",
                hint="`dm-compose up -d` gives it a volume and takes the data along.",
            )
        if live.engine is None:
            raise EngineError(
                f"subdot {subdot.name} is in volume {subdot.volume}, and no Docker Engine answers",
                hint="Start Docker, or check DOCKER_HOST.",
            )
        raise NotFoundError(
            f"subdot {subdot.name}: there is no volume {subdot.volume}",
            hint="`dm-compose up -d` makes it; `dm-compose reset --hard` makes it and fills it from the last commit.",
        )


def refuse_privileged(live: LiveWorktree, target: Commit, *, privileged: bool) -> None:
    """Raise UntrustedError if privileged files that came from a remote would go into a directory of the host.

    With `privileged` they are accepted, for good: the store forgets where they came from. See store.privileges.
    """
    settings = live.store.settings()
    for subdot, place in live.places.items() if not live.tree else ():
        state = target.subdots.get(subdot)
        path = settings.get(mark_of(state.manifest)) if state is not None else None
        if state is None or path is None or not _is_on_host(live, place):
            continue
        if not privileged:
            raise UntrustedError(
                f"commit {target.id.short} came from a remote and would give {place} files with set-id bits, capabilities or"
                f" other rights, such as {path}",
                hint="Everybody who may push there could so become root here. `reset --privileged` accepts these files for good.",
            )
        live.store.set_setting(mark_of(state.manifest), None)


def _is_on_host(live: LiveWorktree, place: str) -> bool:
    volume = live.engine.volume(place) if live.engine is not None and not place.startswith("/") else None
    return place.startswith("/") or (volume is not None and "device" in volume.options)


def check_versions(origins: Mapping[SubdotName, Origin], target: Commit) -> None:
    """Raise VersionMismatchError if another engine than `origins` say, or another version of it, made the data of a subdot."""
    for subdot, origin in origins.items():
        state = target.subdots.get(subdot)
        if state is None or not (state.engine and origin.engine):
            continue
        if state.engine != origin.engine or (state.version and origin.version and state.version != origin.version):
            raise VersionMismatchError(
                f"subdot {subdot} of commit {target.id.short} was made by {state.engine} {state.version or '?'} ({state.image}), "
                f"and {origin.service} runs {origin.engine} {origin.version or '?'} ({origin.image})",
                hint="Run the version of the commit, or insist with --any-version.",
            )


def refuse_to_lose(live: LiveWorktree, *, hint: str = KEEP_IT) -> None:
    """Raise UncommittedError if there are changes since the head. Datastores write what they hold in memory to files first."""
    save_from_memory(live)
    if changed := dirty_subdots(live):
        raise would_be_lost(changed, hint=hint)


def would_be_lost(subdots: Collection[SubdotName], *, hint: str = KEEP_IT) -> UncommittedError:
    """Return the error for uncommitted changes in these subdots."""
    return UncommittedError(f"there are uncommitted changes in {', '.join(sorted(subdots))}", hint=hint)


def _refuse_strangers(live: LiveWorktree, *, readers_too: bool) -> None:
    """Raise InUseError if a running container of somebody else uses a subdot. We must not pause it or take it down.

    The same goes for a container that this process could not go on without.
    """
    refuse_to_hold_ourselves(live)
    for member in live.members:
        container = member.container
        ours = live.project is None or (container.project == live.project and not container.one_off)
        if container.running and member.mounts and not ours and (readers_too or any(member.mounts.values())):
            owner = f"project {container.project}" if container.project else "no Compose project"
            if container.one_off and container.project == live.project:
                owner = f"a {container.hook} hook" if container.hook else "a `compose run`"
            raise InUseError(
                f"container {container.name} ({owner}) has {', '.join(member.mounts)} of dot {live.dot} mounted",
                hint=f"Stop it first: docker stop {container.name}",
            )


def _refuse_fixed(live: LiveWorktree, worktree: Worktree) -> None:
    """Raise InUseError for the main worktree, which stays as long as its dot, and for the one that the dot's volumes follow."""
    if worktree.name in (MAIN_WORKTREE, live.store.current(worktree.dot)):
        kind = "main" if worktree.name == MAIN_WORKTREE else "current"
        where = f"worktree {worktree.name} of dot {worktree.dot} (branch {worktree.branch})"
        raise InUseError(f"{where} is the {kind} one, which cannot be removed")


def _refuse_to_forget(live: LiveWorktree, name: RefName, head: CommitId, going: Collection[RefName]) -> None:
    """Raise UncommittedError if no branch that stays and no tag leads to a branch's commits, or if it has uncommitted changes."""
    store, dot = live.store, live.dot
    others = [c for n, c in store.branches(dot).items() if n not in going] + list(store.tags(dot).values())
    kept = {commit.id for other in others for commit in store.log(dot, other)}
    lost = [commit for commit in store.log(dot, head) if commit.id not in kept]
    if name in store.uncommitted(dot) or lost:
        what = f"{counted(len(lost), 'commit')} on no other branch" if lost else "uncommitted changes"
        raise UncommittedError(f"branch {name} of dot {dot} holds {what}", hint="To forget them all the same: branch -D.")
