"""Setting the driver up and taking it away. The driver's process is a real one; the engine is one of paper."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

import dm_compose
from dm_compose import process
from dm_compose.cli.dm_group import cli
from dm_compose.cli.main import run
from dm_compose.core.containers import Container, EngineFacts, Image, Mount, Volume
from dm_compose.core.events import Event
from dm_compose.core.variables import Variables
from dm_compose.driver import running, service
from dm_compose.driver.client import ask, tell_to_leave
from dm_compose.driver.listening import socket_of
from dm_compose.driver.running import Background, Started, Systemd, end, identity, process_of, unit_text
from dm_compose.driver.service import DriverService
from dm_compose.engine import Engine
from dm_compose.errors import DmError, EngineError, InUseError, NotReadyError
from dm_compose.store.local.store import LocalStore
from tests.support.projects import eventually

DRIVER = "dmtest"
LOCAL = EngineFacts("unix socket", "20.10", "x86_64", "Debian", True)


@dataclass
class PaperEngine:
    """Finds the driver by its socket and asks it, as an engine does, and keeps it in mind."""

    plugins: Path
    store: Path
    its_facts: EngineFacts = LOCAL
    blind: bool = False
    known: set[str] = field(default_factory=set)
    containers: list[Container] = field(default_factory=list)

    def facts(self) -> EngineFacts:
        return self.its_facts

    def ask(self, driver: str, call: str, name: str | None = None) -> Any:
        connection = http.client.HTTPConnection("x", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(socket_of(driver, self.plugins)))
        connection.request("POST", f"/{call}", json.dumps({"Name": name}))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def volume_drivers(self) -> list[str]:
        return sorted(self.known)

    def volumes_of_driver(self, driver: str) -> list[str]:
        if self.blind or not socket_of(driver, self.plugins).exists():
            return []
        self.ask(driver, "Plugin.Activate")
        self.known.add(driver)
        return sorted(v["Name"] for v in self.ask(driver, "VolumeDriver.List")["Volumes"])

    def remove_volume(self, name: str) -> None:
        assert self.ask(DRIVER, "VolumeDriver.Remove", name)["Err"] == ""

    def containers_of_driver(self, _: str) -> list[Container]:
        return self.containers

    def volume(self, name: str) -> Volume | None:
        return Volume(name, "local", str(self.store)) if self.store.is_dir() else None

    def create_volume(self, name: str, _: object) -> Volume:
        self.store.mkdir()
        return Volume(name, "local", str(self.store))


@dataclass
class Bench:
    engine: PaperEngine
    service: DriverService
    events: list[Event]

    @property
    def socket(self) -> Path:
        return self.service.socket

    @property
    def store(self) -> Path:
        return self.engine.store

    def create(self, name: str) -> None:
        assert self.engine.ask(DRIVER, "VolumeDriver.Create", name)["Err"] == ""

    def pid(self) -> int:
        found = ask(self.socket)
        assert found is not None
        return found.pid

    def kill(self) -> None:
        """Kill the driver, which leaves its socket behind."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: identity(pid) is None, "the end of the driver")
        assert self.socket.exists()


@pytest.fixture
def bench(fast_path: Path) -> Iterator[Bench]:
    engine = PaperEngine(fast_path / "plugins", fast_path / "store")
    events: list[Event] = []
    set_up = DriverService(cast(Engine, engine), Variables({}), DRIVER, engine.plugins, Background(), events.append)
    made = Bench(engine, set_up, events)
    yield made
    found = ask(made.socket)
    if found is not None:
        end(found.pid)


# init


def test_init_makes_the_store_starts_the_driver_and_says_what_it_does(bench: Bench) -> None:
    status = bench.service.init()
    assert (status.running, status.known, status.leaving) == (True, True, False)
    assert status.pid == bench.pid() != os.getpid()
    assert status.store == str(bench.store)
    assert (bench.store / "state.db").exists()
    assert [event.what for event in bench.events] == ["store", "socket", "driver", "engine"]
    assert process_of(bench.store, DRIVER) == status.pid


def test_init_again_leaves_the_driver_alone(bench: Bench) -> None:
    first = bench.service.init()
    bench.create("shop.db")
    again = bench.service.init()
    assert again.pid == first.pid
    assert [v.volume.name for v in again.volumes] == ["shop.db"]


def test_init_replaces_a_driver_that_was_killed_and_its_volumes_are_there(bench: Bench) -> None:
    first = bench.service.init()
    bench.create("shop.db")
    bench.kill()
    assert not bench.service.status().running
    again = bench.service.init()
    assert again.running
    assert again.pid != first.pid
    assert [v.volume.name for v in again.volumes] == ["shop.db"]


def test_init_replaces_a_driver_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.service.init()
    hanging = bench.pid()
    os.kill(hanging, signal.SIGSTOP)
    monkeypatch.setattr(service, "ask", lambda path: ask(path, 0.2))
    monkeypatch.setattr(service, "end", lambda pid: end(pid, timeout_s=0.2))
    assert bench.service.init().pid != hanging
    assert identity(hanging) is None


def test_init_replaces_a_driver_of_another_version(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.service.init()
    monkeypatch.setattr(dm_compose, "__version__", "99")
    assert bench.service.init().pid != first.pid


def test_init_replaces_a_driver_that_was_reset(bench: Bench) -> None:
    first = bench.service.init()
    bench.create("shop.db")
    bench.service.reset()
    again = bench.service.init()
    assert (again.running, again.leaving) == (True, False)
    assert again.pid != first.pid
    assert identity(first.pid or 0) is None
    assert again.volumes == ()


def test_a_driver_serves_one_store_until_it_is_reset(bench: Bench, fast_path: Path) -> None:
    bench.service.init()
    elsewhere = replace(bench.service, variables=Variables({"DM_HOME": str(fast_path / "another")}))
    with pytest.raises(InUseError, match=str(bench.store)):
        elsewhere.init()
    bench.service.reset()
    assert elsewhere.init().store == str(fast_path / "another")


def test_init_refuses_while_somebody_elses_plugin_has_the_name(bench: Bench) -> None:
    bench.engine.plugins.mkdir()
    (bench.engine.plugins / f"{DRIVER}.sock").touch()
    with pytest.raises(InUseError, match=f"{DRIVER}.sock"):
        bench.service.init()
    assert ask(bench.socket) is None


def test_an_engine_that_looks_elsewhere_for_plugins_is_told_and_no_driver_stays(bench: Bench) -> None:
    bench.engine.blind = True
    with pytest.raises(EngineError, match="does not find"):
        bench.service.init()
    assert not bench.socket.parent.exists()
    assert process_of(bench.store, DRIVER) is None


@pytest.mark.parametrize("verb", ["init", "reset", "status"])
def test_an_engine_on_another_host_is_refused(bench: Bench, verb: str) -> None:
    bench.engine.its_facts = EngineFacts("unix socket", "27", "x86_64", "Docker Desktop", False)
    with pytest.raises(EngineError, match="Docker Desktop") as caught:
        getattr(bench.service, verb)()
    assert caught.value.hint


@pytest.mark.parametrize("verb", ["init", "reset", "status"])
def test_who_is_not_root_is_refused(bench: Bench, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineError, match="root"):
        getattr(bench.service, verb)()


def test_a_driver_that_ends_at_once_is_told_with_the_end_of_its_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('no good')"])
    with pytest.raises(NotReadyError, match="no good"):
        bench.service.init()


# reset


def test_reset_forgets_dockers_volumes_keeps_the_data_and_leaves_a_process_that_says_so(bench: Bench) -> None:
    bench.service.init()
    bench.create("shop.db")
    bench.create("other")
    removed = bench.service.reset()
    assert removed.volumes == ("other", "shop.db")
    assert removed.leaving
    status = bench.service.status()
    assert (status.running, status.leaving) == (False, True)
    assert status.volumes == ()
    assert (bench.store / "trees/shop/main/db").is_dir()
    assert bench.engine.volumes_of_driver(DRIVER) == []


def test_reset_now_leaves_nothing(bench: Bench) -> None:
    pid = bench.service.init().pid
    assert pid is not None
    assert not bench.service.reset(now=True).leaving
    assert not bench.socket.parent.exists()
    assert identity(pid) is None


def test_reset_again_changes_nothing_and_can_still_be_done_now(bench: Bench) -> None:
    bench.service.init()
    bench.service.reset()
    assert bench.service.reset().volumes == ()
    bench.service.reset(now=True)
    assert not bench.socket.parent.exists()


def test_reset_of_what_is_not_there_makes_nothing(bench: Bench) -> None:
    assert bench.service.reset() == service.Removed((), leaving=False)
    assert not bench.store.exists()
    assert not bench.engine.plugins.exists()


def test_reset_works_when_the_driver_was_killed(bench: Bench) -> None:
    bench.service.init()
    bench.create("shop.db")
    bench.kill()
    assert bench.service.reset().volumes == ("shop.db",)
    assert bench.service.status().leaving


@pytest.mark.parametrize("state", ["running", "exited", "created"])
def test_reset_refuses_while_a_container_has_a_volume_and_names_it(bench: Bench, state: str) -> None:
    bench.service.init()
    bench.create("shop.db")
    mount = Mount("volume", "shop.db", "/data", True)
    bench.engine.containers = [Container("c" * 64, "web", "", "", state, Image("x"), (mount,))]
    with pytest.raises(InUseError, match=rf"web \({state}\)"):
        bench.service.reset()
    status = bench.service.status()
    assert status.running
    assert status.volumes[0].containers == ("web",)


# status


def test_status_of_nothing_makes_nothing(bench: Bench) -> None:
    status = bench.service.status()
    assert (status.running, status.leaving, status.known, status.pid, status.store) == (False, False, False, None, None)
    assert not bench.store.exists()
    bench.store.mkdir()
    assert bench.service.status().store == str(bench.store)
    assert os.listdir(bench.store) == []


# The process


def test_a_number_that_was_used_again_is_not_taken_for_the_driver(fast_path: Path) -> None:
    mine = identity(os.getpid())
    assert mine is not None
    file = fast_path / f"{DRIVER}-driver.pid"
    file.write_text(mine + "\n")
    assert process_of(fast_path, DRIVER) == os.getpid()
    pid, start, boot = mine.split()
    for other in (f"{pid} {int(start) + 1} {boot}", f"{pid} {start} another-boot", pid, "", "x y z", "-1", "\udcff"):
        file.write_text(other, errors="surrogateescape")
        assert process_of(fast_path, DRIVER) is None


def test_a_dead_process_that_nobody_waited_for_has_ended(fast_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        eventually(lambda: identity(child.pid) is None, "the end of the child")
    finally:
        child.wait(timeout=20)


def test_a_process_that_ignores_sigterm_is_killed(fast_path: Path) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    end(child.pid, timeout_s=0.2)
    assert child.wait(timeout=20) == -signal.SIGKILL
    child.stdout.close()
    end(child.pid)


def test_a_background_process_outlives_us_in_a_session_of_its_own(fast_path: Path) -> None:
    program = "import os, sys, time; print(os.getsid(0), os.getcwd(), 'said', flush=True); time.sleep(1000)"
    pid = process.start_background([sys.executable, "-c", program], fast_path / "log")
    try:
        text = eventually(lambda: (fast_path / "log").read_text(), "its output")
        session, place, said = text.split()
        assert (place, said) == ("/", "said")
        assert int(session) != os.getsid(0)
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] != str(os.getpid())
    finally:
        end(pid)


# systemd, of which there is none here


@dataclass
class Systemctl:
    calls: list[tuple[str, ...]] = field(default_factory=list)
    fails: str = ""

    def __call__(self, command: list[str], *, timeout_s: float) -> process.Finished:
        assert command[0] == "systemctl"
        self.calls.append(tuple(command[1:]))
        return process.Finished(1 if command[1] == self.fails else 0, "", "it says why")


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    fake = Systemctl()
    monkeypatch.setattr(process, "capture", fake)
    return fake


def test_the_unit_starts_before_docker_and_again_after_a_crash_but_not_after_a_reset() -> None:
    lines = unit_text(Path("/var/lib/docker/volumes/dotmesh/_data"), socket_of("dm")).splitlines()
    assert "Before=docker.service" in lines
    assert "Type=notify" in lines
    assert "Restart=on-failure" in lines
    assert "WantedBy=multi-user.target docker.service" in lines
    assert 'RequiresMountsFor="/var/lib/docker/volumes/dotmesh/_data"' in lines
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    store, path = '"--store" "/var/lib/docker/volumes/dotmesh/_data"', '"--socket" "/run/docker/plugins/dm/dm.sock"'
    assert start == f'ExecStart="{sys.executable}" "-m" "dm_compose.driver" {store} {path}'


def test_odd_paths_are_quoted_in_the_unit() -> None:
    text = unit_text(Path('/a b/50%/$HOME/"x"\\y'), socket_of("dm"))
    assert '"--store" "/a b/50%%/$$HOME/\\"x\\"\\\\y"' in text
    assert 'RequiresMountsFor="/a b/50%%/$HOME/\\"x\\"\\\\y"' in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze missing")
@pytest.mark.parametrize("store", ["/var/lib/docker/volumes/dotmesh/_data", '/a b/50%/$HOME/"x"\\y\'z'])
def test_systemd_understands_the_unit(tmp_path: Path, store: str) -> None:
    unit = tmp_path / "dm-compose-driver.service"
    unit.write_text(unit_text(Path(store), socket_of("dm")))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


def test_systemd_has_the_unit_before_it_starts_it_and_forgets_it_again(tmp_path: Path, systemctl: Systemctl) -> None:
    keeper = Systemd(tmp_path)
    path = socket_of("dm")
    started = keeper.start(Path("/store"), path)
    assert isinstance(started, Started)
    assert systemctl.calls == [
        ("daemon-reload",),
        ("enable", "dm-compose-driver.service"),
        ("restart", "dm-compose-driver.service"),
    ]
    assert (tmp_path / "dm-compose-driver.service").read_text() == unit_text(Path("/store"), path)
    systemctl.calls.clear()
    assert keeper.forget(path)
    assert systemctl.calls == [("disable", "dm-compose-driver.service"), ("daemon-reload",)]
    assert os.listdir(tmp_path) == []
    assert not keeper.forget(path)


def test_units_of_several_drivers_are_kept_apart(tmp_path: Path) -> None:
    keeper = Systemd(tmp_path)
    assert keeper.unit(socket_of("dm")).name == "dm-compose-driver.service"
    assert keeper.unit(socket_of("dmtest")).name == "dm-compose-driver-dmtest.service"


def test_what_systemd_refuses_is_an_error_with_its_words(tmp_path: Path, systemctl: Systemctl) -> None:
    systemctl.fails = "restart"
    with pytest.raises(DmError, match="it says why"):
        Systemd(tmp_path).start(Path("/store"), socket_of("dm"))


# The command line


@pytest.fixture
def words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_compose.engine.Engine", lambda: bench.engine)
    monkeypatch.setattr(service, "Engine", lambda: bench.engine)
    monkeypatch.setattr(service, "engine_answers", lambda _: True)
    monkeypatch.setattr(service, "keeper", Background)
    monkeypatch.delenv("DM_HOME", raising=False)
    monkeypatch.setenv("DM_DRIVER", DRIVER)
    monkeypatch.setenv("DM_PLUGINS", str(bench.engine.plugins))


def dm(*arguments: str) -> tuple[int, str, str]:
    """Run `dm cluster` as its entry point does."""
    codes: list[int] = []

    @click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def entry(rest: tuple[str, ...]) -> None:
        codes.append(run(lambda: cli.main(["cluster", *rest], prog_name="dm", standalone_mode=False), list(rest)))

    done = CliRunner().invoke(entry, list(arguments), catch_exceptions=False)
    return codes[0], done.stdout, done.stderr


@pytest.mark.usefixtures("words")
def test_the_verbs_say_what_they_do_and_what_there_is(bench: Bench) -> None:
    code, out, said = dm("init")
    assert (code, out) == (0, "")
    assert "driver started in the background" in said
    assert str(bench.socket) in said
    bench.create("shop.db")
    code, out, _ = dm("status")
    assert code == 0
    assert "runs (process" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("shop.db")] == [["shop.db", "shop", "master"]]
    code, out, said = dm("reset")
    assert code == 0
    assert "shop.db was removed from Docker" in said
    assert "was reset" in dm("status")[1]
    assert dm("reset", "--now")[0] == 0
    assert "does not run" in dm("status")[1]


@pytest.mark.usefixtures("words")
def test_the_verbs_print_one_json_document(bench: Bench) -> None:
    code, out, said = dm("init", "--json")
    assert (code, said) == (0, "")
    assert json.loads(out)["running"] is True
    bench.create("shop.db")
    (volume,) = json.loads(dm("status", "--json")[1])["volumes"]
    assert volume["volume"]["name"] == "shop.db"
    assert volume["containers"] == []
    assert json.loads(dm("reset", "--json")[1]) == {"volumes": ["shop.db"], "leaving": True}


@pytest.mark.usefixtures("words")
def test_a_refusal_is_an_error_with_its_exit_code(bench: Bench) -> None:
    bench.engine.its_facts = EngineFacts("tcp", "27", "x86_64", "Debian", False)
    code, out, said = dm("init")
    assert (code, out) == (EngineError.exit_code, "")
    assert said.startswith("error: ")
    code, out, _ = dm("status", "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (EngineError.exit_code, "engine")


@pytest.mark.parametrize("verb", [[], ["init"], ["reset"], ["status"]])
def test_every_verb_has_help(verb: list[str]) -> None:
    code, out, _ = dm(*verb, "--help")
    assert code == 0
    assert "Usage: dm cluster" in out
    assert "DM_DRIVER" not in out


def test_a_driver_that_was_told_to_leave_is_not_told_again(bench: Bench) -> None:
    tell_to_leave(bench.socket)  # nobody is there
    LocalStore(bench.store).close()
    bench.service.init()
    bench.service.reset()
    tell_to_leave(bench.socket)
    assert bench.service.status().leaving
