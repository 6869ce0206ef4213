"""Verified commits. A clone is started from a commit, its datastores are asked, and their own checkers look at the data."""

from __future__ import annotations

from datetime import UTC, datetime

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.clones.running import running_clone, services_with_engines
from dm_compose.core.at_once import at_once
from dm_compose.core.commit import Commit, Verification
from dm_compose.core.events import Event
from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.datastores.base import Checked
from dm_compose.dots.stack import Stack
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import DmError, NotReadyError, UsageError
from dm_compose.live.access import open_access
from dm_compose.live.hooks import RunningMember
from dm_compose.live.ready import await_members
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.up.run import require_compose

WORKER = "verify"


def refuse_unless_verifiable(stack: Stack) -> None:
    """Raise UsageError for a stack of which no clone can be asked anything."""
    if not services_with_engines(stack):
        raise UsageError(
            "--verify: no datastore of this stack has its data in files", hint="`dm-compose plan` shows what there is."
        )


def verify(stack: Stack, commit: Commit, run: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Verification:
    """Start a clone of a commit, ask each datastore, run its checker if its module has one, and note the outcome in the store.

    The stack itself is not touched, and no lock of its dot is held. Nothing is noted after an error: UsageError for a stack that
    cannot be cloned, ComposeError, EngineError.
    """
    stack.listener(Event("verify", f"commit {commit.id.short}: its engines are started in a clone and asked"))
    clone = Clone(stack, clone_name(stack.facts.project.name, run, WORKER), run)
    findings: dict[str, str] = {}
    problems: dict[str, str] = {}
    with running_clone(clone, commit.id) as running:
        require_compose(clone, ["up", "-d", "--no-deps", *services_with_engines(stack)], creates=True)
        with running.opened.live() as live:
            members = [m for m in live.members if m.datastore is not None and m.has_state]
            for member, (finding, problem) in zip(
                members, at_once(lambda member: _asked(live, member, timeout_s), members), strict=True
            ):
                findings[member.container.label] = finding
                if problem:
                    problems[member.container.label] = problem
    found = Verification(datetime.now(UTC), findings, problems)
    access = open_access(stack.facts.engine, [], stack.variables, stack.listener)
    try:
        access.store.set_verification(commit.dot, commit.id, found)
    finally:
        access.store.close()
    return found


def _asked(live: LiveWorktree, member: Member, timeout_s: float) -> tuple[str, str]:
    """Return a few words on a datastore of the clone, and its problem, '' if it has none."""
    assert live.engine is not None
    assert member.datastore is not None
    try:
        await_members(live.engine, [member], live.listener, timeout_s)
    except NotReadyError as error:
        return "does not come up", error.message
    try:
        checked = _checked(live, member)
    except DmError as error:
        return f"answers; its checker cannot be run: {error.message}", ""
    if checked is None:
        return "answers", ""
    if checked.problems:
        return f"answers; {checked.by} complains", f"{checked.by}: {checked.problems}"
    return f"answers; {checked.by} finds nothing wrong", ""


def _checked(live: LiveWorktree, member: Member) -> Checked | None:
    """Run a datastore's own checker. None if its module has none. DmError if it cannot be run."""
    assert live.engine is not None
    assert member.datastore is not None
    if member.datastore.check is None:
        return None
    host, port = next(iter(endpoints(live.engine, live.engine.container(member.container.id), member.port)), ("", 0))
    return member.datastore.check(RunningMember(live.engine, member, host, port))
