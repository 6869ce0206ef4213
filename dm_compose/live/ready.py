"""Wait until a datastore answers in its own protocol."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dm_compose.core.containers import Container
from dm_compose.core.events import Event, Listener
from dm_compose.datastores.base import ReadinessProbe
from dm_compose.engine import Engine
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import NotReadyError
from dm_compose.live.worktree import LiveWorktree, Member

POLL_S = 0.01
PROBE_TIMEOUT_S = 2.0
HEALTH_POLL_S = 0.2
STATE_CHECK_S = 0.25
LOG_LINES = 12


def await_ready(engine: Engine, member: Member, listener: Listener, timeout_s: float) -> float:
    """Wait until a started container answers, and return the seconds that this took.

    A known datastore is asked in its own protocol every 10 ms, on the container's address. Of any other container the health
    check is run, if it has one. This is done at once and not at the check's interval. NotReadyError, with the end of the
    container's log, after `timeout_s`, or as soon as the container has ended.
    """
    began = time.monotonic()
    probe = member.datastore.ready if member.datastore is not None else None
    what = f"{member.datastore.name} on port {member.port}" if member.datastore is not None else "it to come up"
    container = _check_alive(engine, member.container, what, expired=False)
    if probe is not None and (container.state == "restarting" or endpoints(engine, container, member.port)):
        _poll_protocol(engine, container, probe, member.port, what, began + timeout_s)
    elif container.healthcheck and container.healthcheck[0] != "NONE":
        _poll_health(engine, container, began + timeout_s)
    elif probe is not None:
        listener(
            Event("warning", f"{container.label} cannot be asked from here whether it is ready: no address, no health check")
        )
    return time.monotonic() - began


def await_all(live: LiveWorktree, timeout_s: float) -> None:
    """Return when every running container with state answers. They are asked one after the other. See `await_ready`."""
    for member in live.members:
        if member.container.running and member.has_state:
            assert live.engine is not None
            await_ready(live.engine, member, live.listener, timeout_s)


def _poll_protocol(engine: Engine, container: Container, probe: ReadinessProbe, port: int, what: str, deadline: float) -> None:
    checked = time.monotonic()
    while True:
        for host, at_port in endpoints(engine, container, port):
            remaining = deadline - time.monotonic()
            try:
                if probe(host, at_port, max(0.05, min(PROBE_TIMEOUT_S, remaining))):
                    return
            except OSError:
                continue
        now = time.monotonic()
        if now >= deadline or now - checked > STATE_CHECK_S:
            checked = now
            container = _check_alive(engine, container, what, expired=now >= deadline)
        time.sleep(POLL_S)


def _poll_health(engine: Engine, container: Container, deadline: float) -> None:
    kind, *command = container.healthcheck
    words = ["/bin/sh", "-c", command[0]] if kind == "CMD-SHELL" else command
    while container.state == "restarting" or not _says_yes(engine, container, words, deadline - time.monotonic()):
        container = _check_alive(engine, container, "its health check", expired=time.monotonic() >= deadline)
        time.sleep(HEALTH_POLL_S)


def _says_yes(engine: Engine, container: Container, command: Sequence[str], timeout_s: float) -> bool:
    try:
        return engine.run(container.id, command, timeout_s=max(timeout_s, HEALTH_POLL_S))[0] == 0
    except NotReadyError:  # it hangs
        return False


def _check_alive(engine: Engine, container: Container, what: str, *, expired: bool) -> Container:
    """Return the container as it is now; its address may have changed. NotReadyError if it has ended or the time is over."""
    now = engine.container(container.id)
    if now.state in ("running", "restarting") and not expired:
        return now
    tail = engine.logs(container.id, LOG_LINES).rstrip()
    reason = "did not answer in time" if now.state == "running" else f"is {now.state}"
    raise NotReadyError(
        f"{container.label} {reason}: waited for {what}" + (f"\nlast lines of its log:\n{tail}" if tail else ""),
        hint="A longer wait: --timeout SECONDS (or DM_TIMEOUT).",
    )
