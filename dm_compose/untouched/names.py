"""The names of those who have connected to a container, by the kernel's tables. They are for people, and prove nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from dm_compose.core.containers import Container
from dm_compose.untouched.proc import is_process_of, tcp_texts
from dm_compose.untouched.traffic import foreign_peers, peers

EARLY = "connected to it while dm-compose was at work on it"


def who_connected(container: Container, tables: Iterable[str], running: Iterable[Container]) -> str:
    """Say who connected early. `tables` has the container's TCP connections, and `running` all containers that may be it.

    If a connection is open, its address tells. If none is, those who have closed one just now may have been it.
    """
    others = [c for c in running if c.id != container.id and c.addresses]
    known = {address for text in tables for address in foreign_peers(text)}
    if named := _labels(c for c in others if known.intersection(c.addresses)):
        return f"{named} {EARLY}"
    if not known and (named := _labels(c for c in others if _peers_of(c).intersection(container.addresses))):
        return f"something, perhaps {named}, {EARLY}"
    return f"something {EARLY}"


def _labels(containers: Iterable[Container]) -> str:
    return " and ".join(sorted({c.label for c in containers}))


def _peers_of(container: Container) -> set[str]:
    with contextlib.suppress(OSError):
        if container.pid and is_process_of(container):
            return {address for text in tcp_texts(container.pid) for address in peers(text)}
    return set()
