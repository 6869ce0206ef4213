"""Which services are told not to wait for the disk, by what words in the project that Compose gets, and why others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.containers import Image
from dm_compose.datastores.base import Relaxed
from dm_compose.datastores.registry import registry
from dm_compose.up.durability import Relaxation, relax, relaxation, told
from tests.support.capabilities import needs_compose

OFF = ("-c", "fsync=off")
POSTGRES = Relaxed(programs=("postgres",), words=OFF)
IMAGE = Image("db:1", "sha256:1", entrypoint=("entry.sh",), command=("entry.sh", "postgres", "--price=$5"))


def words_of(service: dict[str, Any], image: Image = IMAGE) -> list[str]:
    """Return the command of a service after it was told, entrypoint as it was."""
    document = {"services": {"db": service, "web": {"command": ["web"]}}}
    entrypoint = service.get("entrypoint")
    found = relaxation(service, image, POSTGRES)
    assert found == Relaxation(OFF)
    relax(document, {"db": found, "web": Relaxation(obstacle="no server")}, {"db": image})
    assert document["services"]["web"] == {"command": ["web"]}
    assert service.get("entrypoint") == entrypoint
    return list(service["command"])


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ({}, ["postgres", "--price=$$5", *OFF]),
        ({"entrypoint": None, "command": None}, ["postgres", "--price=$$5", *OFF]),
        ({"command": ["postgres", "-c", "fsync=on"]}, ["postgres", "-c", "fsync=on", *OFF]),
        ({"command": ["/usr/lib/bin/postgres", "$$HOME"]}, ["/usr/lib/bin/postgres", "$$HOME", *OFF]),
        ({"command": ["-c", "work_mem=5MB"]}, ["-c", "work_mem=5MB", *OFF]),
        ({"entrypoint": ["/usr/local/bin/entry.sh"], "command": ["postgres"]}, ["postgres", *OFF]),
        ({"entrypoint": ["postgres", "-D", "/data"]}, [*OFF]),
        ({"entrypoint": [], "command": ["postgres"]}, ["postgres", *OFF]),
        ({"command": []}, ["postgres", "--price=$$5", *OFF]),
        ({"entrypoint": []}, ["postgres", "--price=$$5", *OFF]),
    ],
)
def test_the_words_come_last_of_what_a_service_runs(service: dict[str, Any], words: list[str]) -> None:
    assert words_of(service) == words


def test_an_image_whose_entrypoint_is_the_server_gets_them_too() -> None:
    assert words_of({}, Image("db:1", "sha256:1", entrypoint=("postgres",), command=("postgres", "-D"))) == ["-D", *OFF]
    assert words_of({}, Image("db:1", "sha256:1", command=("postgres",))) == ["postgres", *OFF]


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"command": ["sh", "-c", "exec postgres"]}, "it runs sh, not postgres"),
        ({"entrypoint": ["sh", "-c"], "command": ["postgres -c fsync=on"]}, "it runs sh"),
        ({"entrypoint": ["/mine.sh"], "command": ["postgres"]}, "it runs mine.sh"),
        ({"entrypoint": ["/mine.sh"], "command": ["-c", "x"]}, "it runs mine.sh"),
    ],
)
def test_a_service_that_may_not_hand_the_words_on_is_left_alone_and_says_so(service: dict[str, Any], says: str) -> None:
    found = relaxation(service, IMAGE, POSTGRES)
    assert found.words == ()
    assert says in found.obstacle


def test_a_service_of_which_nobody_says_what_it_runs_is_left_alone() -> None:
    found = relaxation({"entrypoint": []}, Image("bare", "sha256:1"), POSTGRES)
    assert found == Relaxation(obstacle="neither image nor service says what to run")


def test_so_is_one_without_an_image_or_with_an_option_that_does_not_go_with_the_words() -> None:
    assert "not there" in relaxation({}, None, POSTGRES).obstacle
    assert "nothing sound is known" in relaxation({}, IMAGE, None).obstacle
    redis = registry().get("redis")
    assert redis is not None
    sentinel = {"command": ["redis-server", "/etc/sentinel.conf", "--sentinel"]}
    assert "--sentinel" in relaxation(sentinel, IMAGE, redis.relaxed).obstacle
    assert relaxation({"command": ["redis-server"]}, IMAGE, redis.relaxed).words == ("--appendfsync", "no")


def test_what_is_told_names_every_service_once() -> None:
    found = {
        "db": Relaxation(OFF),
        "a": Relaxation(obstacle="nothing sound is known for mongo"),
        "b": Relaxation(obstacle="nothing sound is known for mongo"),
        "queue": Relaxation(obstacle="it runs sh, not redis-server"),
    }
    assert told(found) == (
        "off for db; unchanged for a, b (nothing sound is known for mongo); unchanged for queue (it runs sh, not redis-server)"
    )
    assert told({"queue": Relaxation(obstacle="why")}) == "off for none; unchanged for queue (why)"


@pytest.mark.parametrize("datastore", [d for d in registry() if d.relaxed is not None], ids=lambda d: d.name)
def test_no_module_gives_up_what_a_kill_would_lose_then(datastore: Any) -> None:
    words = " ".join(datastore.relaxed.words)
    for unsound in ("full_page_writes", "synchronous_commit", "trx-commit=0", "doublewrite", "nojournal", "appendonly"):
        assert unsound not in words


@needs_compose
@pytest.mark.parametrize("line", ["command: postgres -c 'work_mem=5MB'", "command: [postgres, -c, work_mem=5MB]"])
def test_a_command_is_a_list_in_the_project_however_the_file_has_it(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_FILE", raising=False)
    file = tmp_path / "compose.yaml"
    file.write_text(f"services:\n  db:\n    image: postgres:15\n    {line}\n")
    project = Compose(ComposeOptions(files=(str(file),))).project()
    service = dict(project.document["services"]["db"])  # type: ignore[index]
    assert words_of(service) == ["postgres", "-c", "work_mem=5MB", *OFF]
