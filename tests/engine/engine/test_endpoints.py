"""The address of a published port leads to the service, also where the engine has a port of its own for IPv6."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dm_compose.engine.endpoints import endpoints
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

SERVER = {
    "image": "dm-example/python",
    "pull_policy": "never",
    "init": True,
    "command": ["sh", "-c", 'mkdir /srv/www; echo "$$NAME" > /srv/www/name; exec python3 -m http.server -d /srv/www 8000'],
}


def named(name: str, *ports: str) -> dict[str, Any]:
    return {**SERVER, "environment": {"NAME": name}, "ports": list(ports)}


def test_the_published_address_leads_to_the_service_and_to_no_other(
    new_project: Callable[[Mapping[str, Any]], TestProject],
) -> None:
    """Ports of one family only put the two counters of the engine apart, as on every machine that runs for a while."""
    services = {f"s{number}": named(f"s{number}", "127.0.0.1::8000" if number % 3 else "8000") for number in range(7)}
    project = new_project({"services": services})
    project.dm("up", "-d")
    engine = project.stack().facts.engine
    assert engine is not None
    for container in project.stack().containers():
        published = endpoints(engine, container, 8000)[len(container.addresses) :]
        assert len(published) == 1
        ((host, port),) = published
        assert f":{port}" in project.compose("port", container.service, "8000")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        found = eventually(lambda url=f"http://{host}:{port}/name", o=opener: o.open(url, timeout=5).read(), container.service)
        assert found.decode().strip() == container.service
