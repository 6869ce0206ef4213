"""A store at the other end of a pipe behaves as one in this process; a helper that fails is an error and not a hang."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dm_compose import process
from dm_compose.core.events import Event
from dm_compose.core.names import MAIN_WORKTREE, DotName
from dm_compose.errors import (
    DmError,
    StoreError,
)
from dm_compose.store.api import Store
from dm_compose.store.helper.client import HelperStore, bundle
from dm_compose.store.local.store import LocalStore
from tests.support.stores import DATA, DOT, Bench, Stores, connect
from tests.support.subdots import CHANGES, LOGS, change_everything, directories, path_of, told, where

# Across the pipe


def test_errors_are_the_same_on_both_sides_of_the_pipe(fast_path: Path, local: Stores) -> None:
    near, far = local.open(fast_path / "store"), connect(fast_path / "store")
    near.create_dot(DOT)
    calls: list[Callable[[Store], object]] = [
        lambda s: s.create_dot(DOT),
        lambda s: s.worktree(DotName("nope"), MAIN_WORKTREE),
        lambda s: s.resolve(DOT, MAIN_WORKTREE, "nope"),
        lambda s: s.resolve(DOT, MAIN_WORKTREE, "\n"),
        lambda s: s.diff_live(DOT, MAIN_WORKTREE, {DATA: "/nowhere"}, None, {}, None),
    ]
    for call in calls:
        errors = []
        for store in (near, far):
            with pytest.raises(DmError) as caught:
                call(store)  # type: ignore[arg-type]
            errors.append((type(caught.value), caught.value.message, caught.value.hint))
        assert errors[0] == errors[1]
    far.close()


def test_events_reach_the_listener(stores: Stores, fast_path: Path) -> None:
    events: list[Event] = []
    bench = Bench(stores.open(fast_path / "store", events.append), **directories(fast_path))
    bench.commit()
    copied = [e for e in events if e.what == "copy"]
    assert max(e.done for e in copied) == 40_000
    assert copied[-1] == Event("copy", done=40_000, total=40_000, unit="bytes"), "the end of a count is told"
    assert {e.unit for e in copied} == {"bytes"}


def test_many_calls_run_at_once(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    store = bench.store

    def call(number: int) -> object:
        return (
            lambda: store.dots() == [DOT],
            lambda: store.worktree(DOT, MAIN_WORKTREE).head == commit,
            lambda: told(store.diff_live(*where(bench), commit, {}, None)) == CHANGES,
            lambda: sorted(store.differing(*where(bench), commit)) == [DATA, LOGS],
            lambda: store.resolve(DOT, MAIN_WORKTREE, "HEAD") == commit,
            lambda: store.lock(f"lock{number}", "x" * number, 0) != "",
        )[number % 6]()

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(call, range(240)))


def test_large_answers_cross(bench: Bench) -> None:
    for number in range(3000):
        (path_of(bench) / f"{number:0100}").touch()
    assert len(bench.store.diff_live(*where(bench), None, {}, None)[DATA].changes) == 3003


def test_the_helper_runs_on_the_bundle_and_the_standard_library_alone(fast_path: Path) -> None:
    (fast_path / "code.zip").write_bytes(bundle())
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import dm_compose.store.helper.server, filelock
print(sys.flags.no_site, dm_compose.store.helper.server.__file__, filelock.__file__)
outside = [n for n, m in sys.modules.items() if "site-packages" in (getattr(m, "__file__", None) or "")]
print(outside)
for name in ("click", "docker", "pluggy", "yaml"):
    try:
        __import__(name)
        print("has", name)
    except ImportError:
        pass
"""
    pipe = process.start_pipe([sys.executable, "-I", "-S", "-E", "-c", program, str(fast_path / "code.zip")])
    said = pipe.from_child.read().decode()
    assert pipe.close(10) == 0
    archive = fast_path / "code.zip"
    assert said.splitlines() == [f"1 {archive}/dm_compose/store/helper/server.py {archive}/filelock/__init__.py", "[]"]


def pipe_to(program: str) -> process.Pipe:
    return process.start_pipe([sys.executable, "-I", "-S", "-c", program])


_SAY_HELLO = """
import sys
def frame(data):
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()
def read():
    i = sys.stdin.buffer
    return i.read(int.from_bytes(i.read(4), "big"))
read()
frame(b'{"call": 1, "result": null}')
"""


def answer_of(call: Callable[[], object]) -> object:
    """Return what a call returns or raises, or "hangs": a client that waits for ever is worse than any error."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    return found[0] if found else "hangs"


@pytest.mark.parametrize(
    "then",
    [
        "sys.exit(0)",
        "read(); sys.exit(1)",
        "read(); sys.stdout.buffer.write(b'docker: Error response from daemon'); sys.stdout.buffer.flush(); read()",
        "read(); frame(b'not json'); read()",
        "read(); frame(b'[1, 2]'); read()",
        'read(); frame(b\'{"call": 77, "result": null}\'); read()',
        "read(); frame(b'{}'); read()",
        "read(); sys.stdout.buffer.write(b'\\0\\0\\0'); sys.exit(0)",
        "read(); sys.stdout.close(); import os; os.close(1); read()",
    ],
)
def test_a_helper_that_ends_or_talks_nonsense_is_an_error_and_not_a_hang(then: str) -> None:
    pipe = pipe_to(_SAY_HELLO + then)
    store = HelperStore(pipe, b"", lambda _: None)
    for _ in range(2):
        error = answer_of(store.dots)
        assert isinstance(error, StoreError), error
        assert error.hint
    pipe.child.kill()
    store.close()


def test_a_helper_that_never_starts_is_an_error() -> None:
    pipe = pipe_to("raise SystemExit(1)")
    assert isinstance(answer_of(lambda: HelperStore(pipe, b"x" * 1_000_000, lambda _: None)), StoreError)
    assert pipe.child.wait(10) == 1


def test_a_listener_that_fails_does_not_make_calls_hang(fast_path: Path) -> None:
    def listener(_: Event) -> None:
        raise ValueError("a bug in a progress bar")

    bench = Bench(connect(fast_path / "store", listener), **directories(fast_path))  # type: ignore[arg-type]
    assert answer_of(bench.commit) != "hangs"
    assert answer_of(bench.store.dots) != "hangs"
    bench.store.close()


def test_a_closed_store_answers_with_an_error_and_not_never(fast_path: Path) -> None:
    store = connect(fast_path / "store")
    store.close()
    store.close()
    assert isinstance(answer_of(store.dots), StoreError)


def test_a_call_that_waits_when_the_helper_is_killed_gets_an_error(fast_path: Path) -> None:
    store = connect(fast_path / "store")
    store.lock("shop", "me", 0)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(answer_of(lambda: store.lock("shop", "me too", 60))))
    thread.start()
    store._pipe.child.kill()
    thread.join(20)
    store.close()
    assert isinstance(found[0], StoreError)


def test_a_hello_that_fails_leaves_no_helper_behind(fast_path: Path) -> None:
    (fast_path / "store").write_bytes(b"a file where the store should be")
    before = children()
    for _ in range(3):
        with pytest.raises(StoreError):
            connect(fast_path / "store")
    assert children() == before


def children() -> set[str]:
    """Return the processes that we started and that have not ended."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_the_server_ends_with_its_input(fast_path: Path) -> None:
    store = connect(fast_path / "store")
    store._pipe.to_child.close()
    assert store._pipe.child.wait(20) == 0
    store.close()


# The server by itself


def test_the_server_answers_until_its_input_ends(fast_path: Path) -> None:
    from dm_compose.store.helper.frames import read_frame, write_frame
    from dm_compose.store.helper.server import serve

    source, sink = io.BytesIO(), io.BytesIO()
    calls = [("hello", {}), ("create_dot", {"dot": "shop"})]
    for number, (method, arguments) in enumerate(calls):
        write_frame(source, {"call": number, "target": 0, "method": method, "arguments": arguments})
    source.seek(0)
    serve(fast_path / "store", source, sink)
    sink.seek(0)
    assert sorted([read_frame(sink), read_frame(sink)], key=str) == [
        {"call": 0, "result": None},
        {"call": 1, "result": None, "attached": []},
    ]
    assert LocalStore(fast_path / "store").dots() == ["shop"]


@pytest.mark.parametrize("bad", [{"dot": "../etc"}, {"dot": 5}, {}, {"dot": "x", "more": 1}])
def test_arguments_that_are_no_names_reach_no_store(fast_path: Path, bad: dict[str, object]) -> None:
    from dm_compose.store.helper.frames import read_frame, write_frame
    from dm_compose.store.helper.server import serve

    source, sink = io.BytesIO(), io.BytesIO()
    write_frame(source, {"call": 0, "target": 0, "method": "hello", "arguments": {}})
    write_frame(source, {"call": 1, "target": 0, "method": "create_dot", "arguments": bad})
    source.seek(0)
    serve(fast_path / "store", source, sink)
    sink.seek(0)
    answers = [read_frame(sink), read_frame(sink)]
    assert [("error" in (a or {})) for a in sorted(answers, key=lambda a: a["call"] if a else 0)] == [False, True]
    assert LocalStore(fast_path / "store").dots() == []
