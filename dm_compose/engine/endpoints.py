"""The addresses by which a port of a container can be reached from here."""

from __future__ import annotations

from dm_compose.core.containers import Container
from dm_compose.engine import Engine


def endpoints(engine: Engine, container: Container, port: int) -> list[tuple[str, int]]:
    """Return (host, port) pairs by which a port of a container can be reached from here, the best first.

    They are the container's own addresses, if the engine is on this machine, and then the ports that it publishes.
    """
    found: list[tuple[str, int]] = []
    if engine.facts().local:
        if container.network_mode == "host":
            found.append(("127.0.0.1", port))
        elif container.network_mode.startswith("container:"):
            other = engine.container(container.network_mode.partition(":")[2])
            found += [(address, port) for address in other.addresses]
        found += [(address, port) for address in container.addresses]
    for address, host_port in container.ports.get(port, ()):
        found.append(("127.0.0.1" if address in ("0.0.0.0", "::") else address, host_port))  # noqa: S104 (as Docker reports it)
    return found
