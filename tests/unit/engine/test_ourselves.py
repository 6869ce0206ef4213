"""The container that we run in is recognised by more than one sign, and so is one through which the engine is reached."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from dm_compose.core.containers import Container, Image
from dm_compose.engine import ourselves
from dm_compose.engine.ourselves import Route, Whereabouts, own_file

ID, OTHER = "a1" * 32, "b2" * 32
LAYER = f"/var/lib/docker/overlay2/{'c3' * 32}/diff"


def container(**more: object) -> Container:
    found = Container(ID, "shop-tests-1", "shop", "tests", "running", Image("python"))
    return replace(found, **more)  # type: ignore[arg-type]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of the test's own, in which nothing tells that we are in a container."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text("21 1 8:1 / / rw - ext4 /dev/sda rw\n")
    (tmp_path / "self/cgroup").write_text("0::/\n")
    monkeypatch.setattr(ourselves, "_PROC", tmp_path)
    return tmp_path


def test_a_process_of_the_host_is_in_no_container(proc: Path) -> None:
    here = Whereabouts.here()
    assert here.is_in(container(layer=LAYER)) is False
    assert here.is_in(container(hostname="elsewhere")) is False


@pytest.mark.parametrize("written", [LAYER, LAYER.removeprefix("/var/lib/docker/overlay2/")], ids=["whole", "shortened"])
def test_the_root_says_it_where_the_engine_says_where_its_roots_are(proc: Path, written: str) -> None:
    """It says no as well: of a container that shares our network, host name and control groups tell nothing."""
    (proc / "self/mountinfo").write_text(
        f"387 2 0:124 / / rw - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir={written},workdir=/w\n"
    )
    here = Whereabouts.here()
    assert here.is_in(container(layer=LAYER)) is True
    assert here.is_in(container(layer=LAYER.replace("c3", "d4"), hostname=socket.gethostname())) is False


@pytest.mark.parametrize(
    "line", [f"9:name=systemd:/docker/{ID}\n", f"0::/system.slice/docker-{ID}.scope\n", f"3:cpu:/docker/{ID}/docker/{OTHER}\n"]
)
def test_the_control_group_says_it(proc: Path, line: str) -> None:
    (proc / "self/cgroup").write_text(line)
    assert Whereabouts.here().is_in(container()) is True


def test_without_these_a_look_at_the_files_has_to_tell(proc: Path) -> None:
    """In a control-group namespace, on an engine that does not say where its roots are."""
    (proc / "self/mountinfo").write_text(
        f"405 387 254:0 /var/lib/docker/containers/{OTHER}/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
    )
    here = Whereabouts.here()
    assert here.is_in(container(id=OTHER)) is None, "its host name is ours"
    assert here.is_in(container(network_mode=f"container:{OTHER}")) is None, "it has its network from there, as we may"
    assert here.is_in(container(hostname=socket.gethostname())) is None, "with `--network host`, or a `hostname:`"
    assert here.is_in(container(hostname="elsewhere")) is False


def test_a_file_of_our_own_is_not_where_the_other_has_something_mounted() -> None:
    with own_file([]) as path:
        assert path is not None
        assert os.path.exists(path)
    assert not os.path.exists(path)
    with own_file(["/"]) as path:
        assert path is None or os.path.dirname(path) != ""
    with own_file(["/var/tmp", "/tmp", "/root", "/home"]) as path:
        assert path is None or os.path.dirname(path) == "/"


def test_an_endpoint_that_a_container_has_or_publishes_leads_through_it() -> None:
    route = Route.of("http://127.0.0.1:2375", None)
    assert (route.addresses, route.port) == ({"127.0.0.1"}, 2375)
    assert route.leads_through(container(addresses=("127.0.0.1",)))
    assert route.leads_through(container(ports={2375: (("0.0.0.0", 2375),)}))
    assert not route.leads_through(container(ports={2375: (("0.0.0.0", 2376),)}, addresses=("172.17.0.2",)))


@pytest.mark.parametrize("url", ["http+docker://localhost", "http://no.such.host.invalid:2375", "http://[", "npipe:////./pipe/x"])
def test_an_endpoint_without_an_address_leads_through_nobody(url: str) -> None:
    assert not Route.of(url, None).leads_through(container(addresses=("127.0.0.1",), ports={2375: (("0.0.0.0", 2375),)}))


def test_the_process_at_a_unix_socket_is_looked_up(tmp_path: Path, proc: Path) -> None:
    (proc / str(os.getpid())).mkdir()
    (proc / str(os.getpid()) / "cgroup").write_text(f"0::/system.slice/docker-{ID}.scope\n")
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        assert Route.of("http+docker://localhost", path).leads_through(container())
    assert not Route.of("http+docker://localhost", path).leads_through(container()), "nobody listens any more"
