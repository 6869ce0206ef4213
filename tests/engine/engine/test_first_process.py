"""The script that a container's entrypoint is in, through an init, through our supervisor, and as another user sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import docker
import pytest

from dm_compose.engine import Engine, supervised
from dm_compose.engine.first_process import in_entrypoint
from tests.support.projects import LABEL, Run, eventually

pytestmark = pytest.mark.engine

SCRIPT = "docker-entrypoint.sh"
MAKE = f"""
cat > /tmp/{SCRIPT} <<'END'
#!/bin/sh
echo here
while [ ! -e /tmp/go ]; do sleep 0.05; done
exec "$@"
END
chmod +x /tmp/{SCRIPT}
exec "$@"
"""
SERVER = ["sleep", "1000"]
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine()
    yield found
    found.close()


@pytest.fixture
def start(run: Run) -> Iterator[Start]:
    """Start a container that runs `words` below a shell that makes an entrypoint's script and then becomes them."""
    client = docker.from_env()
    made = []

    def begin(words: Sequence[str], **options: Any) -> Any:
        labels = {LABEL: run.id}
        entrypoint = ["sh", "-c", MAKE, "sh", *words]
        made.append(client.containers.run("dm-example/python", entrypoint=entrypoint, detach=True, labels=labels, **options))
        return made[-1]

    yield begin
    for container in made:
        container.remove(force=True)
    client.close()


@pytest.mark.parametrize("seen", ["by-proc", "by-the-engine"])
@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([f"/tmp/{SCRIPT}", *SERVER], {}),
        (["bash", f"/tmp/{SCRIPT}", *SERVER], {}),
        ([f"/tmp/{SCRIPT}", *SERVER], {"init": True}),
        (supervised([f"/tmp/{SCRIPT}", *SERVER]), {}),
        (supervised([f"/tmp/{SCRIPT}", *SERVER]), {"init": True}),
    ],
    ids=["script", "shell", "init", "supervisor", "init-and-supervisor"],
)
def test_an_entrypoint_is_seen_until_it_becomes_the_server(
    engine: Engine, start: Start, words: Sequence[str], options: dict[str, Any], seen: str
) -> None:
    container = start(words, **options)
    eventually(lambda: b"here" in container.logs(), "the script")
    found = engine.container(container.id)
    if seen == "by-the-engine":
        engine._facts = replace(engine.facts(), local=False)
    try:
        assert in_entrypoint(engine, found) == SCRIPT
        container.exec_run(["touch", "/tmp/go"])
        eventually(lambda: in_entrypoint(engine, found) == "", "the server")
    finally:
        engine._facts = None


def test_a_shell_that_stays_for_ever_is_no_entrypoint(engine: Engine, start: Start) -> None:
    container = start(["sh", "-c", "sleep 1000 & wait"])
    eventually(lambda: container.top()["Processes"][1:], "its child")
    assert in_entrypoint(engine, engine.container(container.id)) == ""


def test_a_container_that_has_ended_is_in_no_script(engine: Engine, start: Start) -> None:
    container = start(["true"])
    container.wait()
    assert in_entrypoint(engine, engine.container(container.id)) == ""
