"""`up --wait`: Compose waits for health checks, and then we wait for the datastores' own protocols."""

from __future__ import annotations

from collections.abc import Sequence

from dm_compose.compose.words import read_words
from dm_compose.core.containers import Container
from dm_compose.dots.stack import Stack
from dm_compose.errors import NotReadyError
from dm_compose.live.logs import told_log
from dm_compose.live.ready import await_members
from dm_compose.up.run import INTERRUPTED, compose_with_state

LONGER = "A longer wait: --wait-timeout SECONDS (or DM_TIMEOUT)."


def up_and_wait(stack: Stack, words: Sequence[str]) -> int:
    """Run Compose's `up --wait`, and return its exit code when all datastores of the stack are ready. See `await_members`.

    Each of the two waits has the seconds of `--wait-timeout`; where that is not given, the second one has DM_TIMEOUT.
    NotReadyError, also if Compose gave up on a container whose health check does not pass.
    """
    code = compose_with_state(stack, words, creates=True)
    if code >= INTERRUPTED:
        return code
    found = [c for c in stack.containers() if c.project == stack.facts.project.name and not c.one_off]
    if code:
        _blame_health(stack, found)
        return code
    members = [stack.describe(c, {}, False) for c in found if c.state in ("running", "restarting")]
    given = read_words(words).values("wait-timeout")[-1:]
    limit_s = float(given[0]) if given and given[0].isdigit() and given[0] != "0" else stack.variables.timeout_s
    datastores = [member for member in members if member.datastore is not None]
    await_members(stack.facts.engine, datastores, stack.listener, limit_s, hint=LONGER)
    return code


def _blame_health(stack: Stack, containers: Sequence[Container]) -> None:
    """Raise NotReadyError if Compose's wait has ended because of a health check.

    If a container was made and not started, Compose has failed before it waited, unless another one is unhealthy.
    """
    waited = all(container.state != "created" for container in containers)
    for container in containers:
        if container.state == "running" and container.health in ("unhealthy", *(("starting",) if waited else ())):
            raise NotReadyError(
                f"{container.label} is not ready: its health check is {container.health}"
                + told_log(stack.facts.engine, container.id, stack.describe(container, {}, False).datastore),
                hint=LONGER,
            )
