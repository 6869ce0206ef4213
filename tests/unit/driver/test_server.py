"""The driver over a real unix socket, as the engine talks to it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_compose.core.names import DotName
from dm_compose.driver import calls
from dm_compose.driver.calls import BUG, Calls
from dm_compose.driver.client import ask, tell_to_leave
from dm_compose.driver.listening import Listening, socket_of
from dm_compose.driver.server import MAX_BODY_BYTES, DriverServer
from dm_compose.errors import EngineError, InUseError, StoreError, UsageError
from dm_compose.store.local.store import LocalStore
from tests.support.dots import dot_with_branches
from tests.support.processes import child
from tests.support.projects import eventually
from tests.unit.driver.test_volumes import NAMES

DRIVER = "dmtest"


class Client:
    """Speaks HTTP by hand, so that it can say what no library would."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> tuple[int, Any]:
        """Return status and body of the next answer; (0, None) when the connection was closed."""
        line = self.file.readline()
        if not line:
            return 0, None
        length = 0
        while (header := self.file.readline().strip()) != b"":
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        body = self.file.read(length)
        return int(line.split()[1]), json.loads(body) if body.startswith(b"{") else None

    def call(self, path: str, body: bytes = b"") -> tuple[int, Any]:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode("utf-8", "surrogatepass") + body)
        return self.receive()

    def volume(self, call: str, name: Any = None, **more: Any) -> Any:
        """Make a call about a volume and return the answer."""
        status, answer = self.call(f"/VolumeDriver.{call}", json.dumps({"Name": name, **more}).encode())
        assert status == 200
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Served:
    """A driver in this process, with a store of its own."""

    def __init__(self, home: Path) -> None:
        self.store = home / "store"
        LocalStore(self.store).close()
        self.path = socket_of(DRIVER, home / "plugins")
        self.logged: list[logging.LogRecord] = []
        log = logging.Logger("driver", logging.INFO)
        handler = logging.Handler()
        handler.emit = self.logged.append  # type: ignore[method-assign]
        log.addHandler(handler)
        self.left = threading.Event()
        self.server = DriverServer(Listening(self.path), Calls(self.store, log), log, left=self.left.set)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    @property
    def bugs(self) -> list[logging.LogRecord]:
        return [record for record in self.logged if record.levelno >= logging.ERROR]

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


@pytest.fixture
def served(fast_path: Path) -> Iterator[Served]:
    running = Served(fast_path)
    yield running
    running.stop()
    assert not running.path.parent.exists()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    connected = Client(served.path)
    yield connected
    connected.close()


# The protocol


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"null\n"])
def test_a_call_without_arguments_may_have_any_empty_body(client: Client, body: bytes) -> None:
    assert client.call("/Plugin.Activate", body) == (200, {"Err": "", "Implements": ["VolumeDriver"]})
    assert client.call("/VolumeDriver.Capabilities", body) == (200, {"Err": "", "Capabilities": {"Scope": "local"}})
    assert client.call("/VolumeDriver.List", body) == (200, {"Err": "", "Volumes": []})


def test_the_calls_of_a_container_from_first_use_to_removal(client: Client, served: Served) -> None:
    place = str(served.store / "trees/shop/main/db")
    status = {"dot": "shop", "branch": "master", "worktree": "main", "subdot": "db"}
    assert "no volume" in client.volume("Get", "shop.db")["Err"]
    for _ in range(2):
        assert client.volume("Create", "shop.db", Opts=None) == {"Err": ""}
        assert client.volume("Path", "shop.db") == {"Err": "", "Mountpoint": place}
        assert client.volume("Mount", "shop.db", ID="1") == {"Err": "", "Mountpoint": place}
        assert client.volume("Get", "shop.db") == {
            "Err": "",
            "Volume": {"Name": "shop.db", "Mountpoint": place, "Status": status},
        }
    assert [v["Name"] for v in client.volume("List")["Volumes"]] == ["shop.db"]
    for _ in range(2):
        assert client.volume("Unmount", "shop.db", ID="1") == {"Err": ""}
        assert client.volume("Remove", "shop.db") == {"Err": ""}
    assert client.volume("List")["Volumes"] == []
    assert Path(place).is_dir()
    assert served.bugs == []


@pytest.mark.parametrize(
    "chunks",
    [
        b"12\r\n{\"Name\":\"shop.db\"}\r\n0\r\n\r\n",
        b"9\r\n{\"Name\":\"\r\n9;x=y\r\nshop.db\"}\r\n0\r\n\r\n",
        b"12\r\n{\"Name\":\"shop.db\"}\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\n",
    ],
)  # fmt: skip
def test_a_chunked_body_is_read_and_the_connection_goes_on(client: Client, served: Served, chunks: bytes) -> None:
    for call in ("Create", "Mount"):
        client.send(f"POST /VolumeDriver.{call} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks)
        assert client.receive()[1]["Err"] == ""
    assert client.volume("List")["Volumes"][0]["Name"] == "shop.db"


@pytest.mark.parametrize(
    "body", [b"{", b"nope", b"[]", b'"x"', b"5", b"\xff\xfe", b"[" * 100_000, b'{"Name":5}', b"{}", b"null", b'{"Name":null}']
)
def test_a_bad_body_is_told_and_the_connection_goes_on(client: Client, served: Served, body: bytes) -> None:
    for call in ("Create", "Mount", "Path", "Get", "Remove"):
        status, answer = client.call(f"/VolumeDriver.{call}", body)
        assert status == 400
        assert answer["Err"]
    assert client.call("/VolumeDriver.List")[0] == 200
    assert served.bugs == []


@pytest.mark.parametrize(
    "path", ["/", "//", "/VolumeDriver.Nope", "/Plugin", "/../../etc/passwd", "/VolumeDriver.List?x", "/%00"]
)
def test_an_unknown_path_is_told_and_the_connection_goes_on(client: Client, served: Served, path: str) -> None:
    status, answer = client.call(path, b"null")
    assert status == 404
    assert answer["Err"]
    assert client.call("/VolumeDriver.List")[0] == 200
    assert served.bugs == []


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        f"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(),
        b"POST /VolumeDriver.List HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /VolumeDriver.List HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST /VolumeDriver.List HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /VolumeDriver.List HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nnull\r\n",
        b"POST /VolumeDriver.List HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n",
    ],
)
def test_what_is_no_request_is_told_and_the_connection_ends(client: Client, served: Served, request_: bytes) -> None:
    client.send(request_)
    status, answer = client.receive()
    assert status == 400
    assert answer["Err"]
    assert client.receive() == (0, None)
    assert served.bugs == []


@pytest.mark.parametrize(
    "request_", [b"GET /VolumeDriver.List HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n"]
)
def test_what_is_not_our_protocol_harms_nobody(client: Client, served: Served, request_: bytes) -> None:
    client.send(request_)
    assert client.file.read()  # until it is closed
    other = Client(served.path)
    assert other.call("/VolumeDriver.List")[0] == 200
    other.close()
    assert served.bugs == []


def test_a_client_that_goes_away_in_the_middle_harms_nobody(client: Client, served: Served) -> None:
    for data in (b"", b"POST /VolumeDriver.Cre", b"POST /VolumeDriver.Create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"):
        gone = Client(served.path)
        gone.send(data)
        gone.close()
    assert client.call("/VolumeDriver.List")[0] == 200
    assert served.bugs == []


def test_the_engines_errors_have_the_hint(client: Client) -> None:
    answer = client.volume("Create", "not a name")
    assert "invalid dot name" in answer["Err"]
    assert "Use up to 100" in answer["Err"]


def test_a_bug_is_logged_with_its_traceback_and_answered(client: Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(calls.DotVolumes, "create", broken)
    assert client.volume("Create", "shop.db") == {"Err": BUG}
    (record,) = served.bugs
    assert record.exc_info
    assert "boom" in str(record.exc_info[1])
    assert client.volume("List")["Err"] == ""


def test_options_mean_nothing_and_that_is_logged(client: Client, served: Served) -> None:
    assert client.volume("Create", "shop.db", Opts={"size": "1G"})["Err"] == ""
    assert any("size" in record.getMessage() for record in served.logged if record.levelno == logging.WARNING)


def test_a_store_that_is_gone_is_told_and_not_made_anew(client: Client, served: Served) -> None:
    client.volume("Create", "shop.db")
    served.store.rename(served.store.with_name("moved"))
    assert str(served.store) in client.volume("Create", "shop.db")["Err"]
    assert not served.store.exists()
    served.store.with_name("moved").rename(served.store)
    assert client.volume("Get", "shop.db")["Err"] == ""


def test_a_store_that_was_made_anew_is_used(client: Client, served: Served) -> None:
    client.volume("Create", "shop.db")
    served.store.rename(served.store.with_name("moved"))
    LocalStore(served.store).close()
    assert client.volume("List")["Volumes"] == []
    assert client.volume("Create", "shop.db")["Err"] == ""
    assert (served.store / "trees/shop/main/db").is_dir()


# Many at once


def test_many_that_create_the_same_volume_at_once_all_succeed(served: Served) -> None:
    barrier = threading.Barrier(16)

    def create(_: int) -> Any:
        mine = Client(served.path)
        barrier.wait()
        answers = mine.volume("Create", "shop.db")["Err"], mine.volume("Mount", "shop.db")
        mine.close()
        return json.dumps(answers)

    with ThreadPoolExecutor(16) as pool:
        (answer,) = set(pool.map(create, range(16)))
    assert json.loads(answer) == ["", {"Err": "", "Mountpoint": str(served.store / "trees/shop/main/db")}]
    assert served.bugs == []


def test_a_creation_that_waits_for_a_lock_keeps_no_other_call_waiting(served: Served, client: Client) -> None:
    store = LocalStore(served.store)
    dot_with_branches(store, DotName("shop"), "feature")
    token = store.lock("shop", "a checkout", 0)
    waiting = Client(served.path)
    body = b'{"Name":"shop@feature.db"}'
    waiting.send(b"POST /VolumeDriver.Create HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert client.volume("Mount", "shop.db")["Err"] == ""
    store.unlock(token)
    assert waiting.receive()[1] == {"Err": ""}
    waiting.close()
    store.close()


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, call=st.sampled_from(["Create", "Mount", "Path", "Get", "Remove", "Unmount"]))
def test_no_name_is_a_bug_or_leads_out_of_the_store(client: Client, served: Served, name: str, call: str) -> None:
    answer = client.volume(call, name)
    place = answer.get("Mountpoint") or answer.get("Volume", {}).get("Mountpoint") or str(served.store / "trees")
    assert os.path.realpath(place).startswith(os.path.realpath(served.store / "trees"))
    assert served.bugs == []


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_no_bytes_are_a_bug(client: Client, served: Served, body: bytes, path: str) -> None:
    client.call(f"/VolumeDriver.{path}", body)
    client.call("/VolumeDriver.Create", body)
    assert served.bugs == []


# The socket


def test_the_socket_and_its_directory_are_for_root_only_and_go_with_the_driver(fast_path: Path) -> None:
    (fast_path / "plugins" / DRIVER).mkdir(parents=True, mode=0o755)
    running = Served(fast_path)
    assert running.path.stat().st_mode & 0o777 == 0o600
    assert running.path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(running.path.parent) == [running.path.name]
    running.stop()
    assert os.listdir(fast_path / "plugins") == []


def test_a_socket_that_a_dead_driver_left_is_replaced(fast_path: Path) -> None:
    path = socket_of(DRIVER, fast_path / "plugins")
    path.parent.mkdir(parents=True)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    running = Served(fast_path)
    assert ask(path) is not None
    running.stop()


def test_only_one_driver_can_have_a_socket(served: Served) -> None:
    with pytest.raises(InUseError):
        Listening(served.path)
    assert ask(served.path) is not None


def test_a_socket_that_was_closed_twice_is_closed_once(fast_path: Path) -> None:
    path = socket_of(DRIVER, fast_path)
    first = Listening(path)
    first.close()
    second = Listening(path)
    first.close()
    assert path.exists()
    second.close()
    assert not path.parent.exists()


@pytest.mark.parametrize("path", ["plugins/dm.sock", "dm/other.sock", "dm/dm", "dm/dm.spec", f"{'x' * 60}/{'x' * 60}.sock"])
def test_a_socket_where_docker_would_not_find_it_is_refused(fast_path: Path, path: str) -> None:
    with pytest.raises(UsageError):
        Listening(fast_path / path)
    assert os.listdir(fast_path) == []


def test_a_plugin_directory_that_cannot_be_made_is_an_error_that_says_so(fast_path: Path) -> None:
    (fast_path / "plugins").write_text("")
    with pytest.raises(StoreError, match="plugins"):
        Listening(socket_of(DRIVER, fast_path / "plugins"))


def test_calls_under_way_are_answered_before_the_end(fast_path: Path) -> None:
    running = Served(fast_path)
    store = LocalStore(running.store)
    dot_with_branches(store, DotName("shop"), "feature")
    token = store.lock("shop", "a checkout", 0)
    waiting = Client(running.path)
    body = b'{"Name":"shop@feature.db"}'
    waiting.send(b"POST /VolumeDriver.Create HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    eventually(lambda: running.server._busy, "the call to arrive")
    running.server.stop()
    store.unlock(token)
    assert waiting.receive()[1] == {"Err": ""}
    running.stop()
    waiting.close()
    store.close()


# Leaving

_ENGINE = """
import http.client, socket, sys
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
connection = Connection("x")
for line in sys.stdin:
    connection.request("POST", line.strip(), body="{}")
    print(connection.getresponse().read().decode(), flush=True)
"""


def test_a_driver_that_was_told_to_leave_answers_until_the_engine_ends_and_then_goes(fast_path: Path) -> None:
    running = Served(fast_path)
    with child(_ENGINE, str(running.path)) as engine:
        assert "VolumeDriver" in engine.ask("/Plugin.Activate")
        tell_to_leave(running.path)
        assert running.left.is_set()
        found = ask(running.path)
        assert found is not None
        assert found.leaving
        assert json.loads(engine.ask("/VolumeDriver.List")) == {"Err": "", "Volumes": []}
        assert "dm cluster init" in json.loads(engine.ask("/VolumeDriver.Create"))["Err"]
        assert json.loads(engine.ask("/VolumeDriver.Unmount")) == {"Err": ""}
        tell_to_leave(running.path)
        assert running.thread.is_alive()
    running.thread.join(timeout=20)
    assert not running.thread.is_alive()
    assert not running.path.parent.exists()


def test_a_driver_that_leaves_uses_its_store_no_more(fast_path: Path) -> None:
    running = Served(fast_path)
    with child(_ENGINE, str(running.path)) as engine:
        engine.ask("/Plugin.Activate")
        tell_to_leave(running.path)
        running.store.rename(fast_path / "elsewhere")
        assert json.loads(engine.ask("/VolumeDriver.List"))["Err"] == ""
        assert running.bugs == []
    running.thread.join(timeout=20)


def test_a_driver_that_leaves_stays_for_an_engine_that_comes_meanwhile(fast_path: Path) -> None:
    running = Served(fast_path)
    with child(_ENGINE, str(running.path)) as first:
        first.ask("/Plugin.Activate")
        tell_to_leave(running.path)
        with child(_ENGINE, str(running.path)) as second:
            second.ask("/Plugin.Activate")
            first.kill()
            assert json.loads(second.ask("/VolumeDriver.List")) == {"Err": "", "Volumes": []}
    running.thread.join(timeout=20)
    assert not running.thread.is_alive()


def test_a_driver_that_no_engine_has_met_goes_at_once(fast_path: Path) -> None:
    running = Served(fast_path)
    tell_to_leave(running.path)
    running.thread.join(timeout=20)
    assert not running.thread.is_alive()
    assert ask(running.path) is None


def test_a_plugin_that_is_not_ours_is_told(fast_path: Path) -> None:
    program = (
        "import http.server, socketserver, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def address_string(self): return ''\n"
        "    def log_message(self, *a): pass\n"
        "    def do_POST(self): self.send_error(404)\n"
        "server = socketserver.UnixStreamServer(sys.argv[1], H)\n"
        "print('ready', flush=True)\n"
        "server.serve_forever()\n"
    )
    with child(program, str(fast_path / "x.sock")) as other:
        assert other.read() == "ready"
        with pytest.raises(EngineError, match="not dm-compose's"):
            ask(fast_path / "x.sock")


# The process


@contextmanager
def process(store: Path, path: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "dm_compose.driver", "--store", str(store), "--socket", str(path)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, cwd="/")
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=20)


@contextmanager
def notified(home: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd gives one to services, to be told that they are ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(home / "notify"))
        listener.settimeout(20)
        yield listener, str(home / "notify")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_when_it_is_ready_and_removes_its_socket_when_told_to_end(fast_path: Path, number: int) -> None:
    store, path = fast_path / "store", socket_of(DRIVER, fast_path / "plugins")
    LocalStore(store).close()
    with notified(fast_path) as (listener, address), process(store, path, NOTIFY_SOCKET=address) as running:
        assert listener.recv(100) == b"READY=1"
        found = ask(path)
        assert found is not None
        assert (found.pid, found.store, found.leaving) == (running.pid, store, False)
        client = Client(path)
        assert client.volume("Create", "shop.db")["Err"] == ""
        client.close()
        assert (store / f"{DRIVER}-driver.pid").read_text().split()[0] == str(running.pid)
        running.send_signal(number)
        assert running.wait(timeout=20) == 0
    assert os.listdir(fast_path / "plugins") == []
    assert not (store / f"{DRIVER}-driver.pid").exists()
    assert "VolumeDriver.Create" in (store / f"{DRIVER}-driver.log").read_text()


def test_a_second_process_ends_with_an_error_and_leaves_the_first_alone(fast_path: Path) -> None:
    store, path = fast_path / "store", socket_of(DRIVER, fast_path / "plugins")
    LocalStore(store).close()
    with notified(fast_path) as (listener, address), process(store, path, NOTIFY_SOCKET=address) as first:
        listener.recv(100)
        with process(store, path) as second:
            assert second.wait(timeout=20) == InUseError.exit_code
            assert second.stderr is not None
            assert "another process" in second.stderr.read()
        found = ask(path)
        assert found is not None
        assert found.pid == first.pid


def test_directories_can_be_entered_by_everybody_whatever_the_umask_was(fast_path: Path) -> None:
    store, path = fast_path / "store", socket_of(DRIVER, fast_path / "plugins")
    LocalStore(store).close()
    before = os.umask(0o077)
    try:
        with notified(fast_path) as (listener, address), process(store, path, NOTIFY_SOCKET=address):
            listener.recv(100)
            client = Client(path)
            place = (client.volume("Create", "shop.db"), client.volume("Mount", "shop.db"))[1]["Mountpoint"]
            client.close()
        assert os.stat(place).st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_a_store_that_is_not_there_is_an_error_and_is_not_made(fast_path: Path) -> None:
    with process(fast_path / "nope", socket_of(DRIVER, fast_path)) as running:
        assert running.wait(timeout=20) == 5
    assert os.listdir(fast_path) == []


def test_the_log_is_bounded(fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dm_compose.driver import __main__ as program

    monkeypatch.setattr(program, "LOG_BYTES", 10_000)
    with program._logging(fast_path / "log") as log:
        for _ in range(1000):
            log.info("x" * 100)
    assert sum(file.stat().st_size for file in fast_path.iterdir()) < 21_000


def test_the_process_needs_the_standard_library_and_what_its_image_has_only() -> None:
    program = "import sys, dm_compose.driver.__main__; print(*{m.split('.')[0] for m in sys.modules} - sys.stdlib_module_names)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert loaded - {"sitecustomize", "usercustomize"} <= {"dm_compose", "filelock", "pluggy"}
