"""The supervisor in front of a container's program: it comes and goes at our word, and nobody else notices."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from dm_compose.core.containers import Container
from dm_compose.engine import NEEDED, RESPAWN_LABEL, Engine, Supervisor, supervised
from dm_compose.errors import EngineError
from tests.support.projects import LABEL, Run, eventually

pytestmark = pytest.mark.engine

SHELLS = {"dash": ["/bin/sh"], "bash": ["/bin/bash", "--posix"], "busybox": ["/bin/busybox", "ash"]}
POLITE = 'trap "echo bye; exit 9" TERM; echo here $$; sleep 1000 & sleep 1001 & while :; do wait $!; done'
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine()
    yield found
    found.close()


@pytest.fixture
def start(run: Run) -> Iterator[Start]:
    """Start a container whose program is a shell script under the supervisor; further arguments are docker-py's."""
    client = docker.from_env()
    made = []

    def begin(script: str, shell: str = "dash", **options: Any) -> Any:
        words = [*SHELLS[shell], *supervised(["sh", "-c", script])[1:]]
        labels = {LABEL: run.id, RESPAWN_LABEL: "1"}
        container = client.containers.run("dm-example/python", entrypoint=words, detach=True, labels=labels, **options)
        made.append(container)
        return container

    yield begin
    for container in made:
        container.remove(force=True)
    client.close()


def lines(container: Any) -> list[str]:
    return list(container.logs().decode().splitlines())


def says(container: Any, count: int) -> None:
    """Wait until the program has begun `count` times."""
    eventually(lambda: len([line for line in lines(container) if line.startswith("here")]) >= count, f"line {count} of its log")


def names(engine: Engine, container: Any) -> list[str]:
    return sorted(name for _, _, _, name in engine.processes(container.id))


def looked_at(engine: Engine, container: Any) -> Container:
    return engine.container(container.id)


@pytest.mark.parametrize("init", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "init"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_program_goes_down_and_comes_up_any_number_of_times_in_the_same_container(
    engine: Engine, start: Start, shell: str, init: bool
) -> None:
    container = start(POLITE, shell, init=init)
    says(container, 1)
    before = looked_at(engine, container)
    hurry = random.Random(f"{shell}{init}")
    with Supervisor(engine, before) as supervisor:
        for _ in range(40):
            supervisor.down()
            if hurry.random() < 0.5:
                time.sleep(hurry.random() / 200)
            supervisor.up()
            if hurry.random() < 0.5:
                time.sleep(hurry.random() / 200)
        says(container, 2)
        supervisor.down()
        # The shell starts a program of its own that waits, not necessarily before `down` returns.
        eventually(lambda: [name for name in names(engine, container) if name == "sleep"] == ["sleep"], "the shell's own sleep")
        supervisor.down()
        supervisor.up()
    eventually(lambda: names(engine, container).count("sleep") == 2, "the program's children")
    after = looked_at(engine, container)
    assert (after.id, after.pid, after.addresses, after.state) == (before.id, before.pid, before.addresses, "running")
    assert not [line for line in lines(container) if not line.startswith("here")]  # the shell itself says nothing
    container.stop(timeout=10)
    assert container.wait()["StatusCode"] == 9
    assert lines(container)[-1] == "bye"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_end_of_a_program_is_the_end_of_its_container_with_its_exit_code(start: Start, shell: str) -> None:
    assert start("exit 7", shell).wait()["StatusCode"] == 7
    assert start("kill -9 $$", shell).wait()["StatusCode"] == 137
    assert start("no-such-program", shell).wait()["StatusCode"] == 127


def test_signals_reach_the_program_and_its_output_goes_where_it_did(start: Start) -> None:
    container = start('trap "echo usr1" USR1; trap "echo hup >&2" HUP; echo here; while :; do sleep 0.01; done')
    says(container, 1)
    for number, word in (("USR1", "usr1"), ("HUP", "hup")):
        container.kill(number)
        eventually(lambda word=word: word in lines(container), f"{number} in the log")
    container.kill("KILL")
    assert container.wait()["StatusCode"] == 137


@pytest.mark.parametrize(
    "options",
    [
        {"user": "1234:1234"},
        {"read_only": True},
        {"cap_drop": ["ALL"]},
        {"user": "1234", "read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]},
        {"tty": True},
    ],
    ids=str,
)
def test_it_works_in_containers_that_may_do_little(engine: Engine, start: Start, options: dict[str, Any]) -> None:
    container = start(POLITE, **options)
    says(container, 1)
    with Supervisor(engine, looked_at(engine, container)) as supervisor:
        supervisor.down()
        supervisor.up()
    says(container, 2)
    container.stop(timeout=10)
    assert container.wait()["StatusCode"] == 9


def test_what_the_program_left_in_shared_memory_is_gone(engine: Engine, start: Start) -> None:
    container = start("ls /dev/shm; echo left > /dev/shm/left; echo here; sleep 1000")
    says(container, 1)
    with Supervisor(engine, looked_at(engine, container)) as supervisor:
        supervisor.down()
        supervisor.up()
    says(container, 2)
    assert lines(container) == ["here", "here"]


def test_a_container_that_ended_meanwhile_is_an_error_and_no_other_process_gets_its_signals(engine: Engine, start: Start) -> None:
    container = start(POLITE)
    says(container, 1)
    found = looked_at(engine, container)
    with Supervisor(engine, found) as supervisor:
        container.kill()
        container.wait()
        with pytest.raises(EngineError):
            supervisor.down()
    with Supervisor(engine, found) as supervisor, pytest.raises(EngineError):
        supervisor.up()


def test_who_may_not_signal_processes_of_this_machine_asks_the_engine(
    engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr("os.pidfd_open", refuse)
    container = start(POLITE)
    says(container, 1)
    with Supervisor(engine, looked_at(engine, container)) as supervisor:
        supervisor.down()
        assert names(engine, container) == ["sh", "sleep"]
        supervisor.up()
    says(container, 2)


def test_in_a_pid_namespace_that_is_not_its_own_the_supervisor_steps_aside(start: Start) -> None:
    container = start("echo here; cat /proc/$$/comm; sleep 1000", pid_mode="host")
    says(container, 1)
    assert container.top(ps_args="-eo pid,comm")["Processes"][0][1] == "sh"
    assert "dm-respawn" not in " ".join(row[-1] for row in container.top(ps_args="-eo pid,args")["Processes"])


def test_an_image_is_asked_for_the_shell(engine: Engine) -> None:
    image = engine.image("dm-example/python")
    assert image is not None
    assert engine.image_has(image.digest, NEEDED)
    assert not engine.image_has(image.digest, [("/bin/no-such-shell",)])
