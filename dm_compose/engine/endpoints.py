"""The addresses by which a port of a container can be reached from here."""

from __future__ import annotations

from dm_compose.core.containers import Container
from dm_compose.engine import Engine

_ANY, _ANY_6 = "0.0.0.0", "::"  # noqa: S104 (as Docker reports it)
_HERE = {_ANY: "127.0.0.1", _ANY_6: "::1"}


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
    published = dict(container.ports.get(port, ()))
    if _ANY in published:
        published.pop(_ANY_6, None)  # the engine gives each family a port of its own, and one address is enough
    return found + [(_HERE.get(address, address), host_port) for address, host_port in published.items()]
