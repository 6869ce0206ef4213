"""Every way to change a container is seen; what is no change is told apart."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
import redis
from docker.models.containers import Container as Handle

from dm_compose.core.containers import Container
from dm_compose.datastores.protocols import exchange
from dm_compose.engine import EVENTS_KEPT, Engine
from dm_compose.untouched.proc import await_last_packets
from dm_compose.untouched.reach import way_in
from dm_compose.untouched.traffic import foreign_peers
from dm_compose.untouched.witness import Witness
from tests.support.projects import LABEL, RedisClient, Run, eventually

pytestmark = pytest.mark.engine

SECOND_NS = 10**9
REDIS = "dm-example/redis:7.0"
GONE, ATTEMPTS = "a container that is gone was started beside it", 10
PYTHON = "dm-example/python"
KEEPER = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: print("changed", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""
SEND = """
import socket
with socket.create_connection(("{}", 6379)) as connection:
    connection.sendall(b"SET note changed\\r\\n")
    assert connection.recv(5) == b"+OK\\r\\n"
"""


class Bench:
    """Containers on a network of the tests' own, and a witness that watches them."""

    def __init__(self, run: Run) -> None:
        self.client = docker.from_env()
        self.engine = Engine()
        self.labels = {LABEL: run.id}
        self.name = run.new_project("witness")
        self.network = self.client.networks.create(self.name, labels=self.labels)
        self.made: list[Handle] = []
        self.volume = self.client.volumes.create(labels=self.labels)

    def start(self, image: str, command: list[str], **options: Any) -> Handle:
        if "network_mode" not in options:
            options["network"] = self.name
        made = self.client.containers.run(image, command, detach=True, labels=self.labels, **options)
        self.made.append(made)
        return made

    def run_once(self, command: str, **options: Any) -> Handle:
        """Start a container that ends by itself, and wait for that."""
        made = self.start(PYTHON, ["python3", "-c", command], **options)
        assert made.wait()["StatusCode"] == 0, made.logs()
        return made

    def start_redis(self, *options: str, **settings: Any) -> Handle:
        made = self.start(REDIS, ["redis-server", "--save", "", *options], **settings)
        eventually(lambda: self.redis(made).set("note", "seed"), "redis")
        return made

    def look(self, handle: Handle) -> Container:
        return self.engine.container(str(handle.id))

    def address(self, handle: Handle) -> str:
        return self.look(handle).addresses[0]

    def redis(self, handle: Handle) -> redis.Redis:
        return RedisClient(self.address(handle), decode_responses=True, socket_timeout=10)

    def note(self, handle: Handle) -> str:
        with self.redis(handle) as client:
            return str(client.get("note"))

    def close(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(_remove, self.made))
        self.network.remove()
        self.volume.remove()
        self.client.close()
        self.engine.close()


def _remove(made: Handle) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        made.remove(force=True, v=True)


@pytest.fixture(scope="module")
def bench(run: Run) -> Iterator[Bench]:
    made = Bench(run)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cache(bench: Bench) -> Handle:
    """Redis, which keeps all it has in memory."""
    return bench.start_redis()


@pytest.fixture(scope="module")
def keeper(bench: Bench) -> Handle:
    """A process that a signal changes, with shared memory that others may join."""
    made = bench.start(PYTHON, ["python3", "-c", KEEPER], ipc_mode="shareable")
    eventually(lambda: b"ready" in made.logs(), "keeper")
    return made


@pytest.fixture(scope="module")
def peer(bench: Bench) -> Handle:
    return bench.start(PYTHON, ["sleep", "infinity"], init=True)


@pytest.fixture
def cause(bench: Bench) -> Callable[..., str | None]:
    """Remember a container, run something, and say why it counts as touched, None when it does not. Tries again when another
    test's container came and went meanwhile, which is a cause for all there are.
    """
    witness = Witness(bench.engine)

    def after(handle: Handle, work: Callable[[], object], *, expects_gone: bool = False) -> str | None:
        found: str | None = GONE
        for _ in range(ATTEMPTS):
            container = bench.look(handle)
            witness.remember([container])
            if witness.touches([container]) == {}:
                work()
                found = witness.touches([bench.look(handle)]).get(container.id)
                if found != GONE or expects_gone:
                    break
        return found

    return after


def test_an_idle_container_is_untouched(bench: Bench, cache: Handle, cause: Callable[..., str | None]) -> None:
    assert cause(cache, lambda: time.sleep(0.2)) is None


def test_a_query_from_the_host_is_seen(bench: Bench, cache: Handle, cause: Callable[..., str | None]) -> None:
    assert cause(cache, lambda: bench.redis(cache).set("note", "changed")) == "something was sent to it over the network"


def test_one_byte_on_an_open_connection_is_seen(bench: Bench, cache: Handle, cause: Callable[..., str | None]) -> None:
    with socket.create_connection((bench.address(cache), 6379)) as connection:
        connection.sendall(b"PING\r\nSET note x")
        assert connection.recv(7) == b"+PONG\r\n"
        assert cause(cache, lambda: connection.sendall(b"\n")) == "something was sent to it over the network"
    assert bench.note(cache) == "x"


def test_a_query_from_another_container_is_seen(
    bench: Bench, cache: Handle, peer: Handle, cause: Callable[..., str | None]
) -> None:
    command = ["python3", "-c", SEND.format(bench.address(cache))]
    assert cause(cache, lambda: peer.exec_run(command)) == "something was sent to it over the network"
    assert bench.note(cache) == "changed"


def test_a_datagram_is_seen(bench: Bench, cache: Handle, cause: Callable[..., str | None]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        target = (bench.address(cache), 9999)
        assert cause(cache, lambda: sender.sendto(b"x", target)) == "something was sent to it over the network"


def test_a_command_in_the_container_is_seen(bench: Bench, cache: Handle, cause: Callable[..., str | None]) -> None:
    assert cause(cache, lambda: cache.exec_run(["redis-cli", "set", "note", "by exec"])) == "exec: redis-cli set note by exec"
    assert bench.note(cache) == "by exec"


def test_a_command_that_was_running_before_is_seen(bench: Bench, cache: Handle) -> None:
    cache.exec_run(["mkfifo", "/tmp/go"])
    cache.exec_run(["sh", "-c", "read line < /tmp/go; redis-cli set note late"], detach=True)
    witness = Witness(bench.engine)
    witness.remember([bench.look(cache)])
    Path(f"/proc/{bench.look(cache).pid}/root/tmp/go").write_text("\n")
    assert list(witness.touches([bench.look(cache)]).values()) == ["a command that was run in it has not ended"]
    eventually(lambda: bench.note(cache) == "late", "the command")


def test_a_signal_is_seen(keeper: Handle, cause: Callable[..., str | None]) -> None:
    before = keeper.logs().count(b"changed")
    assert cause(keeper, lambda: keeper.kill("SIGUSR1")) == "docker kill"
    eventually(lambda: keeper.logs().count(b"changed") > before, "the signal")


def test_a_file_copied_in_is_seen_and_one_copied_out_is_none(keeper: Handle, cause: Callable[..., str | None]) -> None:
    data = b"".join(keeper.get_archive("/etc/hostname")[0])
    assert cause(keeper, lambda: keeper.put_archive("/tmp", data)) == "docker extract-to-dir"
    assert cause(keeper, lambda: b"".join(keeper.get_archive("/etc/hostname")[0])) is None


def test_a_pause_is_no_touch_and_is_a_move(bench: Bench, keeper: Handle) -> None:
    witness, container = Witness(bench.engine), bench.look(keeper)
    witness.members = {container.id}
    witness.remember([container])
    for _ in range(2):
        bench.engine.pause(container.id)
        assert witness.touches([bench.look(keeper)]) == {}
        assert witness.paused == {container.id}
        bench.engine.unpause(container.id)
        witness.thawed([container])
        assert witness.touches([bench.look(keeper)]) == {}
        assert witness.paused == set()
    assert witness.moved, "whoever asks what runs has to look again"


def test_a_visit_of_ours_is_no_touch_and_a_visitor_beside_us_is(bench: Bench, cache: Handle) -> None:
    witness, container = Witness(bench.engine), bench.look(cache)

    def visit(*beside: Callable[[], object]) -> dict[str, str]:
        witness.visiting([container])
        assert exchange(bench.address(cache), 6379, 5, b"PING\r\n") == b"+PONG\r\n"  # as hooks and probes ask
        for work in beside:
            work()
        witness.visited()
        return witness.touches([container])

    def is_idle() -> bool:
        gc.collect()  # a client of an earlier test may be connected until it is collected
        witness.remember([container])
        return not any(map(foreign_peers, await_last_packets([container.pid], 0.2)[container.pid]))

    eventually(is_idle, "an idle container")
    assert visit() == {}
    assert visit() == {}
    assert list(visit(lambda: bench.redis(cache).set("note", "beside"))) == [container.id]
    witness.remember([container])
    assert visit(lambda: (bench.engine.pause(container.id), bench.engine.unpause(container.id))) == {}
    with bench.redis(cache) as client:
        client.ping()
        witness.remember([container])
        assert list(visit(lambda: client.set("note", "over a connection that was open before"))) == [container.id]


def test_a_network_is_seen_while_it_comes_and_goes(bench: Bench, keeper: Handle, cause: Callable[..., str | None]) -> None:
    bridge = bench.client.networks.get("bridge")
    assert cause(keeper, lambda: (bridge.connect(keeper), bridge.disconnect(keeper))) == "network bridge: connect"


def test_a_restart_is_seen(keeper: Handle, cause: Callable[..., str | None]) -> None:
    before = keeper.logs().count(b"ready")
    assert cause(keeper, lambda: keeper.restart(timeout=0)) is not None
    eventually(lambda: keeper.logs().count(b"ready") > before, "keeper")


def test_a_container_in_its_network_is_seen(bench: Bench, cache: Handle, cause: Callable[..., str | None]) -> None:
    bench.redis(cache).set("note", "seed")
    mode = f"container:{cache.name}"

    def write() -> None:
        bench.run_once(SEND.format("127.0.0.1"), network_mode=mode)

    assert str(cause(cache, write)).startswith("it shares its network with container ")
    assert bench.note(cache) == "changed"
    assert cause(cache, lambda: None) is None  # it has ended
    beside = bench.start(PYTHON, ["sleep", "infinity"], network_mode=mode, init=True)
    witness = Witness(bench.engine)
    witness.remember([bench.look(cache)])
    assert witness.touches([bench.look(cache)]) == {cache.id: f"it shares its network with container {beside.name}"}
    beside.remove(force=True)


def test_a_container_that_has_gone_again_may_have_been_in_its_network(
    bench: Bench, cache: Handle, cause: Callable[..., str | None]
) -> None:
    def write() -> None:
        bench.run_once(SEND.format("127.0.0.1"), network_mode=f"container:{cache.name}").remove()

    assert cause(cache, write, expects_gone=True) == GONE


@pytest.mark.parametrize("mode", ["container", "host"])
def test_a_container_among_its_processes_is_seen(
    bench: Bench, keeper: Handle, cause: Callable[..., str | None], mode: str
) -> None:
    pid = bench.look(keeper).pid if mode == "host" else 1
    pid_mode = "host" if mode == "host" else f"container:{keeper.name}"
    before = keeper.logs().count(b"changed")
    found = cause(keeper, lambda: bench.run_once(f"import os; os.kill({pid}, 10)", pid_mode=pid_mode))
    assert found is not None
    assert "processes" in found
    eventually(lambda: keeper.logs().count(b"changed") == before + 1, "the signal")


def test_a_container_in_its_shared_memory_is_seen(bench: Bench, keeper: Handle, cause: Callable[..., str | None]) -> None:
    write = "open('/dev/shm/note', 'w').write('changed')"
    found = cause(keeper, lambda: bench.run_once(write, ipc_mode=f"container:{keeper.name}"))
    assert str(found).startswith("it shares its shared memory with container ")
    assert keeper.exec_run(["cat", "/dev/shm/note"]).output == b"changed"


def test_a_socket_in_a_bind_mount_is_a_way_in(bench: Bench, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    command = ["--unixsocket", "/var/run/cache/redis.sock", "--unixsocketperm", "777"]
    made = bench.start_redis(*command, volumes={str(tmp_path): {"bind": "/run/cache", "mode": "rw"}})
    witness = Witness(bench.engine)
    witness.remember([bench.look(made)])
    with redis.Redis(unix_socket_path=str(tmp_path / "redis.sock")) as client:
        client.set("note", "changed")
    expected = "its socket /var/run/cache/redis.sock is in a directory of the host"
    assert witness.touches([bench.look(made)]) == {made.id: expected}


def test_a_socket_in_a_volume_is_a_way_in_once_it_is_shared(bench: Bench, cause: Callable[..., str | None]) -> None:
    mounted = {bench.volume.name: {"bind": "/data", "mode": "rw"}}
    made = bench.start_redis("--unixsocket", "/data/redis.sock", "--unixsocketperm", "777", volumes=mounted)
    assert cause(made, lambda: None) is None
    write = "import socket; s = socket.socket(1); s.connect('/data/redis.sock'); s.sendall(b'SET note changed\\r\\n'); s.recv(9)"
    found = cause(made, lambda: bench.run_once(write, volumes=mounted))
    assert str(found).startswith("its socket /data/redis.sock is in a volume that container ")
    assert bench.note(made) == "changed"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stdin_open": True}, "its standard input is open"),
        ({"network_mode": "host"}, "it shares the host's network"),
        ({"pid_mode": "host"}, "it shares the host's processes"),
        ({"ipc_mode": "host"}, "it shares the host's shared memory"),
    ],
)
def test_what_is_open_to_the_host_is_never_proven(bench: Bench, options: dict[str, Any], expected: str) -> None:
    made = bench.client.containers.create(PYTHON, ["true"], labels=bench.labels, **options)
    assert way_in(bench.look(made), []) == expected
    made.remove()


def test_arp_and_pings_are_no_touch(bench: Bench, keeper: Handle, peer: Handle, cause: Callable[..., str | None]) -> None:
    raw = f"""
import socket, struct
echo = struct.pack('!BBHHH', 8, 0, 0xf7fe, 1, 0)
ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
ping.settimeout(5)
ping.sendto(echo, ('{bench.address(keeper)}', 0))
ping.recv(99)
arp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
arp.bind(('eth0', 0x0806))
mac = arp.getsockname()[4]
ask = struct.pack('!HHBBH6s4s6s4s', 1, 0x0800, 6, 4, 1, mac, bytes(4), bytes(6), socket.inet_aton('{bench.address(keeper)}'))
arp.send(b'\\xff' * 6 + mac + b'\\x08\\x06' + ask)
"""
    container = bench.look(keeper)

    def send() -> None:
        before = frames(container.pid)
        done = peer.exec_run(["python3", "-c", raw])
        assert done.exit_code == 0, done.output
        eventually(lambda: frames(container.pid) != before, "frames")

    assert cause(keeper, send) is None


LISTENER = """
import socket, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons({}))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("protocol", "expected"), [(0, None), (3, "it listens to raw packets, and some came")])
def test_frames_are_a_touch_only_if_a_packet_socket_may_take_them(
    bench: Bench, peer: Handle, cause: Callable[..., str | None], protocol: int, expected: str | None
) -> None:
    made = bench.start(PYTHON, ["python3", "-c", LISTENER.format(protocol)])
    eventually(lambda: b"ready" in made.logs(), "listener")
    container = bench.look(made)

    def ask_for_its_address() -> None:
        before = frames(container.pid)
        ask = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(bytes(8), ('{bench.address(made)}', 0))"
        assert peer.exec_run(["python3", "-c", ask]).exit_code == 0
        eventually(lambda: frames(container.pid) != before, "frames")

    assert cause(made, ask_for_its_address) == expected


def frames(pid: int) -> str:
    return next(line for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines() if "eth0" in line).split()[2]


NEIGHBOUR = """
import socket, struct
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
mac = link.getsockname()[4]
all_nodes = socket.inet_pton(socket.AF_INET6, "ff02::1")
packet = bytes([0x60, 0, 0, 0, 0, 0, 59, 1]) + socket.inet_pton(socket.AF_INET6, "fe80::1") + all_nodes
link.send(bytes.fromhex("333300000001") + mac + b"\\x86\\xdd" + packet)
arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, bytes(4), bytes(6), bytes(4))
link.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + arp)
"""


def test_health_checks_over_loopback_are_no_touch_while_neighbours_speak_arp_and_ipv6(
    bench: Bench, peer: Handle, cause: Callable[..., str | None]
) -> None:
    check = {"test": ["CMD-SHELL", "redis-cli -h 127.0.0.1 ping"], "interval": SECOND_NS // 5}
    made = bench.start_redis(healthcheck=check)

    def neighbours() -> None:
        pid = bench.look(made).pid
        heard, received = loopback(pid), int(frames(pid))
        assert peer.exec_run(["python3", "-c", NEIGHBOUR]).exit_code == 0
        eventually(lambda: loopback(pid) > heard and int(frames(pid)) >= received + 2, "a health check, and both frames")

    assert cause(made, neighbours) is None
    assert cause(made, lambda: (neighbours(), bench.redis(made).set("note", "x"))) == "something was sent to it over the network"
    assert cause(made, lambda: made.exec_run(["redis-cli", "-h", "127.0.0.1", "set", "note", "x"])) is not None


def loopback(pid: int) -> int:
    return int(next(line for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines() if "lo:" in line).split()[2])


def test_lost_events_are_a_touch(bench: Bench, keeper: Handle, peer: Handle, cause: Callable[..., str | None]) -> None:
    def flood() -> None:
        for _ in range(EVENTS_KEPT):
            bench.client.api.exec_create(peer.id, "true")

    assert cause(keeper, flood) == "the engine may have forgotten what happened to it"


def test_a_container_that_was_never_remembered_is_touched(bench: Bench, keeper: Handle) -> None:
    assert Witness(bench.engine).touches([bench.look(keeper)]) == {keeper.id: "nothing is known of it"}
