"""Changes that leave no trace in size or time are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm_compose.storage.beneath import Root
from dm_compose.storage.scan import RACY, scan
from tests.support.places import OLD_NS, Place, needs_root, survives
from tests.support.processes import child
from tests.support.stores import DATA

pytestmark = [needs_root, pytest.mark.usefixtures("look")]


def test_a_change_of_the_same_size_and_time_is_found(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed")
    bench = place.bench(data=tree)
    first = bench.commit()
    info = os.stat(tree / "file")
    (tree / "file").write_bytes(b"different")
    os.utime(tree / "file", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert bench.differing(first) == [DATA]
    second = bench.commit()
    bench.restore(first)
    assert (tree / "file").read_bytes() == b"committed"
    bench.restore(second)
    assert (tree / "file").read_bytes() == b"different"


def test_a_file_replaced_by_another_of_the_same_size_and_time_is_found(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed")
    bench = place.bench(data=tree)
    commit = bench.commit()
    info = os.stat(tree / "file")
    (place.trees / "new").write_bytes(b"different")
    os.utime(place.trees / "new", ns=(info.st_atime_ns, info.st_mtime_ns))
    (place.trees / "new").rename(tree / "file")
    bench.restore(commit)
    assert (tree / "file").read_bytes() == b"committed"


def test_directories_that_swapped_names_are_found(place: Place) -> None:
    def build(root: Path) -> None:
        for name in ("one", "two"):
            (root / name).mkdir()
            (root / name / "file").write_bytes(name.encode())
            os.utime(root / name / "file", ns=(OLD_NS, OLD_NS))
            os.utime(root / name, ns=(OLD_NS, OLD_NS))

    def damage(root: Path) -> None:
        (root / "one").rename(root / "three")
        (root / "two").rename(root / "one")
        (root / "three").rename(root / "two")

    survives(place, build, damage)


# A second pass at the same place in a page that has not been written back leaves no time stamp anywhere.
_MAPPER = """
import mmap, sys
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
print("mapped", flush=True)
for line in sys.stdin:
    view[100:108] = line.strip().encode()
    print("written", flush=True)
"""


def test_a_writer_that_keeps_a_page_mapped_is_found_by_every_commit(anywhere: Place) -> None:
    tree = anywhere.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = anywhere.bench(data=tree)
    commits = [bench.commit()]
    with child(_MAPPER, str(tree / "file")) as writer:
        assert writer.read() == "mapped"
        for number in range(6):
            assert writer.ask(f"write{number:03}") == "written"
            if number % 2:  # written, copied early, and written again before the capture
                entry = bench.prepare()
                assert writer.ask(f"again{number:03}") == "written"
                bench.store.capture(entry)
                commits.append(bench.publish(entry))
            else:
                commits.append(bench.commit())
    seen = []
    for commit in commits:
        bench.restore(commit)
        seen.append((tree / "file").read_bytes()[100:108])
    assert seen == [bytes(8), b"write000", b"again001", b"write002", b"again003", b"write004", b"again005"]


# Writes of libaio, which MariaDB uses. The kernel reports them to nobody who watches the file system.
_ASYNCHRONOUS = """
import ctypes, os, platform, struct, sys
setup, submit, events = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}[platform.machine()]
syscall = ctypes.CDLL(None, use_errno=True).syscall
context = ctypes.c_ulong()
assert syscall(setup, 8, ctypes.byref(context)) == 0
fd = os.open(sys.argv[1], os.O_RDWR)
print("open", flush=True)
for line in sys.stdin:
    data = ctypes.create_string_buffer(line.strip().encode(), 8)
    request = ctypes.create_string_buffer(
        struct.pack("=QIiHhIQQqQII", 0, 0, 0, 1, 0, fd, ctypes.addressof(data), 8, 100, 0, 0, 0)
    )
    requests = (ctypes.c_void_p * 1)(ctypes.addressof(request))
    assert syscall(submit, context, ctypes.c_long(1), requests) == 1
    answer = ctypes.create_string_buffer(32)
    assert syscall(events, context, ctypes.c_long(1), ctypes.c_long(1), answer, None) == 1
    print("written", flush=True)
"""


@pytest.mark.parametrize("program", [_MAPPER, _ASYNCHRONOUS], ids=["mapped", "asynchronous"])
def test_a_write_that_the_kernel_does_not_report_is_found_in_a_file_that_was_open_already(anywhere: Place, program: str) -> None:
    tree = anywhere.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = anywhere.bench(data=tree)
    bench.commit()
    commits = []
    with child(program, str(tree / "file")) as writer:
        assert writer.read() in ("mapped", "open")
        for number in range(3):
            entry = bench.prepare()
            assert writer.ask(f"write{number:03}") == "written"
            bench.store.capture(entry)
            commits.append(bench.publish(entry))
    seen = []
    for commit in commits:
        bench.restore(commit)
        seen.append((tree / "file").read_bytes()[100:108])
    assert seen == [b"write000", b"write001", b"write002"]


_BUSY_MAPPER = """
import mmap, sys, threading
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
number, stop = 0, threading.Event()
def write():
    global number
    while not stop.is_set():
        number += 1
        view[100:108] = b"%08d" % number
for line in sys.stdin:
    if line == "go\\n":
        stop.clear()
        thread = threading.Thread(target=write)
        thread.start()
        print("going", flush=True)
    else:
        stop.set()
        thread.join()
        print("%08d" % number, flush=True)
"""


def test_a_mapped_page_that_is_written_all_through_prepare_is_committed_as_it_is_at_the_capture(anywhere: Place) -> None:
    tree = anywhere.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = anywhere.bench(data=tree)
    wrong = []
    with child(_BUSY_MAPPER, str(tree / "file")) as writer:
        for _ in range(12):
            assert writer.ask("go") == "going"
            entry = bench.prepare()
            last = writer.ask("stop").encode()
            bench.store.capture(entry)
            commit = bench.publish(entry)
            files = [path for path in (anywhere.stores / "store/objects" / commit).iterdir() if path.suffix != ".manifest"]
            objects = [path.read_bytes()[100:108] for path in files]
            if objects != [last]:
                wrong.append((last, objects))
    assert wrong == []


def test_a_writer_that_keeps_a_page_mapped_is_found_after_a_restore(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = place.bench(data=tree)
    commit = bench.commit()
    for number in range(3):
        (tree / "file").write_bytes(b"x" * 64 * 1024)
        bench.restore(commit)
        with child(_MAPPER, str(tree / "file")) as writer:
            assert writer.read() == "mapped"
            assert writer.ask(f"write{number:03}") == "written"
            assert bench.differing(commit) == [DATA]
    bench.restore(commit)
    assert (tree / "file").read_bytes() == bytes(64 * 1024)


def repeat(stamped: Place) -> int:
    """Return how often to try: often where stamps are those of whole ticks, which is where it can go wrong."""
    return {"coarse": 500, "seconds": 30}.get(stamped.name, 60)


def test_a_write_right_after_the_capture_is_never_taken_for_the_committed_state(stamped: Place) -> None:
    tree = stamped.tree()
    file = tree / "file"
    file.write_bytes(b"%08d" % 0)
    bench = stamped.bench(data=tree)
    bench.commit()
    missed = []
    for number in range(1, repeat(stamped)):
        commit_id, _ = bench.capture()
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, b"%08d" % number)
        os.close(fd)
        commit = bench.publish(commit_id)
        if bench.differing(commit) != [DATA]:
            missed.append(number)
    assert missed == []


def test_a_write_right_after_a_restore_is_never_taken_for_the_committed_state(stamped: Place) -> None:
    tree = stamped.tree()
    file = tree / "file"
    file.write_bytes(b"committed")
    bench = stamped.bench(data=tree)
    commit = bench.commit()
    missed = []
    file.write_bytes(b"different")
    for number in range(repeat(stamped)):
        entry = bench.begin(commit)
        bench.store.restore_subdot(entry, DATA, {DATA: str(tree)})
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, b"different")
        os.close(fd)
        bench.store.sync_restored(entry)
        bench.store.end_restore(entry)
        if bench.differing(commit) != [DATA]:
            missed.append(number)
    assert missed == []


def test_a_write_right_before_the_capture_is_in_the_commit_and_a_later_one_is_not(stamped: Place) -> None:
    tree = stamped.tree()
    file = tree / "file"
    file.write_bytes(b"-" * 8)
    bench = stamped.bench(data=tree)
    commits = {}
    fd = os.open(file, os.O_WRONLY)
    for number in range(20):
        entry = bench.prepare()
        os.pwrite(fd, b"%08d" % number, 0)
        bench.store.capture(entry)
        os.pwrite(fd, b"too late", 0)
        commits[number] = bench.publish(entry)
    os.close(fd)
    for number, commit in commits.items():
        bench.restore(commit)
        assert file.read_bytes() == b"%08d" % number


def test_a_scan_never_vouches_for_a_file_that_can_still_change_unseen(stamped: Place) -> None:
    file = stamped.tree() / "file"
    unseen = []
    for number in range(2000):
        file.write_bytes(b"%08d" % number)
        with Root(str(file.parent)).open() as files:
            before = scan(files, {})["file"]
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, b"unseen!!")
        os.close(fd)
        info = os.stat(file)
        if before.ctime_ns != RACY and (before.ctime_ns, before.entry.mtime_ns) == (info.st_ctime_ns, info.st_mtime_ns):
            unseen.append(number)
    assert unseen == []
