"""Which services get a supervisor, and that Compose would run the same words under it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dm_compose.core.containers import Image
from dm_compose.engine import RESPAWN_LABEL, Engine
from dm_compose.up.respawn import respawn_obstacles, supervise

IMAGE = Image("db:1", "sha256:1", entrypoint=("entry.sh",), command=("entry.sh", "serve", "--price=$5"))


class Shells:
    """An engine whose images have a shell, or have not."""

    def __init__(self, *, have: bool = True) -> None:
        self.have = have

    def image_has(self, *_: object) -> bool:
        return self.have


def obstacle(service: dict[str, Any], *, image: Image | None = IMAGE, shells: bool = True) -> str:
    images = {"db": image} if image is not None else {}
    found = respawn_obstacles({"services": {"db": service}}, images, cast(Engine, Shells(have=shells)), ["db"])
    return found["db"]


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ({}, ["entry.sh", "serve", "--price=$$5"]),
        ({"entrypoint": None, "command": None}, ["entry.sh", "serve", "--price=$$5"]),
        ({"command": ["other", "$$HOME"]}, ["entry.sh", "other", "$$HOME"]),
        ({"entrypoint": ["mine"]}, ["mine"]),
        ({"entrypoint": ["mine"], "command": ["a"]}, ["mine", "a"]),
        ({"entrypoint": [], "command": ["a"]}, ["a"]),
        ({"command": []}, ["entry.sh", "serve", "--price=$$5"]),
        ({"entrypoint": [], "command": []}, ["serve", "--price=$$5"]),
    ],
)
def test_the_supervisor_runs_what_compose_would_have_run(service: dict[str, Any], words: list[str]) -> None:
    document = {"services": {"db": service, "web": {"command": ["web"]}}}
    supervise(document, {"db": IMAGE}, ["db"])
    entrypoint = document["services"]["db"]["entrypoint"]
    assert entrypoint[:2] == ["/bin/sh", "-c"]
    assert entrypoint[4:] == words
    assert "$" not in entrypoint[2].replace("$$", "")
    assert document["services"]["db"]["command"] == []
    assert document["services"]["db"]["labels"][RESPAWN_LABEL] == "1"
    assert document["services"]["web"] == {"command": ["web"]}


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"pid": "host"}, "PID"),
        ({"pid": "service:web"}, "PID"),
        ({"ipc": "host"}, "IPC"),
        ({"ipc": "service:web"}, "IPC"),
        ({"tmpfs": ["/run"]}, "tmpfs"),
        ({"volumes": [{"type": "tmpfs", "target": "/run"}]}, "tmpfs"),
    ],
)
def test_what_a_respawn_could_not_take_along_is_an_obstacle(service: dict[str, Any], says: str) -> None:
    assert says in obstacle(service)


def test_a_plain_service_respawns_if_its_image_is_there_and_has_a_shell() -> None:
    assert obstacle({"ipc": "shareable", "volumes": [{"type": "volume", "target": "/data"}]}) == ""
    assert "/bin/sh" in obstacle({}, shells=False)
    assert "not there" in obstacle({}, image=None)


def test_a_service_that_says_nothing_to_run_of_an_image_that_says_nothing_cannot_respawn() -> None:
    assert "what to run" in obstacle({"entrypoint": []}, image=Image("bare"))
