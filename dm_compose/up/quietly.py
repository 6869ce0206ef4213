"""`up` of a stack whose state nobody has written to: its datastores come up first, before anything can reach them.

Engines write while they start. If nobody else can have written by then, these writes are housekeeping, and no verb refuses
because of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dm_compose.compose.words import read_words
from dm_compose.core.names import SubdotName
from dm_compose.dots.stack import Stack
from dm_compose.errors import NotReadyError
from dm_compose.live.ready import await_members
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.operations.recovery import Use
from dm_compose.operations.uncommitted import mark, uncommitted
from dm_compose.up.run import compose_with_state

LONGEST_WAIT_S = 60.0  # a datastore that takes longer counts as written to, and `up` goes on
_SIMPLE = {"d", "detach", "wait", "wait-timeout", "quiet-pull", "no-build", "t", "timeout"}  # they mean the same twice in a row


def datastores_first(stack: Stack, words: Sequence[str]) -> int:
    """Bring up the datastores that are down and whose subdots nobody has written to since the head, and mark them as quiet.

    Return 0, or Compose's exit code if it has failed. Nothing is done for an `up` with options that would not mean the same if it
    ran a second time for the rest of the stack. The stack has a commit.
    """
    verb = read_words(words)
    if {name for name, _ in verb.options} - _SIMPLE:
        return 0
    with stack.live(lock=False) as live:
        still = _lying_still(live, verb.names)
    services = sorted(set(still.values()))
    if not services:
        return 0
    if code := compose_with_state(stack, ["up", "-d", *services], creates=True):
        return code
    try:
        with stack.live(lock=False) as live:
            limit_s = min(LONGEST_WAIT_S, stack.variables.timeout_s)
            await_members(stack.facts.engine, _of(live, services), stack.listener, limit_s)
    except NotReadyError:
        return 0  # `status` and `ps` show it
    with stack.live(lock=True, use=Use.RECORD) as live:
        others = [subdot for subdot in live.places if subdot not in still]
        mark(live, but=others, kept=others)
    return 0


def _lying_still(live: LiveWorktree, names: Collection[str]) -> dict[SubdotName, str]:
    """Return the subdots that nobody has written to since the head, each with its service, a datastore that is down.

    There is none while another program of the stack runs, because it may write as soon as a datastore answers.
    """
    head = live.state().head
    could_write = any(m.container.running and m.datastore is None for m in live.members)
    if head is None or live.tree or live.left or could_write:
        return {}
    committed, found = live.store.commit(live.dot, head).subdots, uncommitted(live)
    up = {m.container.service for m in live.members if m.container.running}
    still: dict[SubdotName, str] = {}
    written = set(up)
    for subdot in live.plan.subdots:
        mine = subdot.name in live.places and subdot.name in committed and len(subdot.services) == 1 and subdot.engine
        if mine and not (subdot.name in found and found[subdot.name].by_user):
            still[subdot.name] = subdot.services[0]
        else:
            written.update(subdot.services)
    return {name: service for name, service in still.items() if service not in written and (not names or service in names)}


def _of(live: LiveWorktree, services: Collection[str]) -> list[Member]:
    return [
        m
        for m in live.members
        if m.container.project == live.project and m.container.service in services and not m.container.one_off
    ]
