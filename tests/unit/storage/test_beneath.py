"""The contract of storage.beneath: the same over openat2(2) and over opening one component after the other."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.storage import beneath
from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath, Opening, Root, best_opening, by_component, by_openat2, in_proc
from dm_compose.storage.walk import MAX_OPEN_LEVELS, remove_tree, walk
from tests.support.swapping import exchange

NAMES = [b"\xff\xfe bytes", b"line\nbreak", b" ", b"-rf", b"-", b"*", b"\x01", b"a" * 255, b"\xff" * 255, b"\\", b"..."]
DEEP = "/".join(["d" * 100] * 60)  # 6 KiB; PATH_MAX is 4


@pytest.fixture(params=[by_openat2, by_component])
def opening(request: pytest.FixtureRequest) -> Opening:
    if request.param is by_openat2 and best_opening() is not by_openat2:
        pytest.skip("this kernel has no openat2")
    found: Opening = request.param
    return found


@pytest.fixture
def files(tmp_path: Path, opening: Opening) -> Iterator[Beneath]:
    """An open directory `root`, with `outside` beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"somebody else's")
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/file").write_bytes(b"ours")
    before = open_descriptors()
    with Root(str(tmp_path / "root")).open(opening) as found:
        yield found
    assert open_descriptors() == before, "descriptors stay open"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def root(files: Beneath) -> Path:
    return Path(files.root.trusted)


def refusal(work: Callable[[], object]) -> int | None:
    """Return the errno that some work fails with."""
    try:
        work()
    except OSError as error:
        return error.errno
    return None


def read(files: Beneath, path: str) -> bytes:
    fd = files.open_file(path)
    with open(fd, "rb") as file:
        return file.read()


def make_deep(files: Beneath) -> None:
    """Make the directories of DEEP, and a file in the last."""
    at = os.dup(files.fd)
    for part in DEEP.split("/"):
        os.mkdir(part, dir_fd=at)
        below = os.open(part, os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def test_files_below_are_opened(files: Beneath) -> None:
    assert read(files, "a/b/file") == b"ours"
    with files.opened("", os.O_RDONLY | os.O_DIRECTORY) as fd:
        assert os.listdir(fd) == ["a"]


@pytest.mark.parametrize("target", ["{outside}", "../outside", "a/../../outside", "/proc/self/root", "a/b"])
@pytest.mark.parametrize("path", ["link/file", "a/link/file", "link"])
def test_no_symlink_is_followed_wherever_it_is(files: Beneath, target: str, path: str) -> None:
    where = root(files) / ("a/link" if path.startswith("a/") else "link")
    where.symlink_to(target.format(outside=root(files).parent / "outside"))
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_DIRECTORY, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
        assert refusal(lambda flags=flags: files.open(path, flags, 0o600)) in BECAME_ANOTHER | {errno.EEXIST}
    with pytest.raises(FileNotFoundError):
        files.open_file(path)
    if path != "link":
        assert refusal(lambda: files.stat(path)) in BECAME_ANOTHER
    assert (root(files).parent / "outside/file").read_bytes() == b"somebody else's"


@pytest.mark.parametrize("path", ["..", "../outside/file", "a/../../outside/file", "a/../a/b/file", "/etc/passwd", "a//b", "./a"])
def test_paths_that_could_lead_out_are_refused(files: Beneath, path: str) -> None:
    assert refusal(lambda: files.open(path, os.O_RDONLY)) == errno.EXDEV


@pytest.mark.parametrize("name", NAMES)
def test_any_name_will_do(files: Beneath, name: bytes) -> None:
    path = name.decode("utf-8", "surrogateescape")
    os.close(files.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
    assert stat.S_ISREG(files.stat(path).st_mode)
    with files.handle(path) as fd:
        os.chmod(in_proc(fd), 0o601)
    assert stat.S_IMODE(files.stat(path).st_mode) == 0o601
    assert path in [item for listing in walk(files) for item, _ in listing.items]


def test_a_path_longer_than_path_max_is_opened(files: Beneath) -> None:
    make_deep(files)
    assert read(files, f"{DEEP}/file") == b""
    assert stat.S_ISREG(files.stat(f"{DEEP}/file").st_mode)
    with pytest.raises(FileNotFoundError):
        files.open_file(f"{DEEP}/none")


def test_what_is_no_regular_file_is_not_opened_as_one_and_nobody_waits(files: Beneath) -> None:
    os.mkfifo(root(files) / "pipe")
    for path in ("pipe", "a", "none", "a/b/file/below"):
        with pytest.raises(FileNotFoundError):
            files.open_file(path)


def test_metadata_is_set_on_the_file_that_was_opened_whatever_takes_its_place(files: Beneath) -> None:
    outside = root(files).parent / "outside/file"
    os.chmod(outside, 0o644)
    (root(files) / "link").symlink_to(outside)
    with files.handle("a/b/file") as fd:
        exchange(root(files) / "link", root(files) / "a/b/file")
        os.chmod(in_proc(fd), 0o640)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert stat.S_IMODE((root(files) / "link").lstat().st_mode) == 0o640


def test_a_root_within_another_subdot_is_not_reached_through_a_symlink(files: Beneath, opening: Opening) -> None:
    (root(files) / "inner").symlink_to(root(files).parent / "outside")
    assert refusal(lambda: Root(str(root(files)), "inner").open(opening)) in BECAME_ANOTHER
    with Root(str(root(files)), "a/b").open(opening) as inner:
        assert read(inner, "file") == b"ours"


def test_a_walk_does_not_enter_what_has_become_a_symlink(files: Beneath) -> None:
    (root(files) / "link").symlink_to(root(files).parent / "outside")
    seen = []
    for listing in walk(files):
        seen.append(listing.prefix)
        if not listing.prefix:
            exchange(root(files) / "link", root(files) / "a")
            listing.enter.append("a")
    assert seen == [""]


def test_a_deep_walk_has_few_directories_open_and_misses_none(files: Beneath) -> None:
    deep = MAX_OPEN_LEVELS * 3
    at = root(files)
    for level in range(deep):
        for name in ("left", "right"):
            (at / name).mkdir()
            (at / name / str(level)).touch()
        at = at / "middle"
        at.mkdir()
    names, most, before = [], 0, open_descriptors()
    for listing in walk(files):
        most = max(most, open_descriptors() - before)
        names += [name for name, item in listing.items if item.is_file()]
        listing.enter.extend(name for name, item in listing.items if item.is_dir(follow_symlinks=False))
    assert sorted(n for n in names if n != "file") == sorted(f"{level}" for level in range(deep) for _ in range(2))
    assert most <= MAX_OPEN_LEVELS + 3


def test_a_tree_of_2000_levels_is_removed_and_what_its_links_lead_to_stays(files: Beneath) -> None:
    at = os.dup(files.fd)
    for _ in range(2000):
        os.mkdir("x\n", dir_fd=at)
        os.symlink(root(files).parent / "outside", "link", dir_fd=at)
        below = os.open("x\n", os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    remove_tree(root(files))
    remove_tree(root(files))
    assert not root(files).exists()
    assert (root(files).parent / "outside/file").exists()


def test_a_kernel_without_openat2_opens_one_component_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beneath, "_SYS_OPENAT2", 99_999)  # the kernel answers ENOSYS
    best_opening.cache_clear()
    try:
        assert best_opening() is by_component
    finally:
        best_opening.cache_clear()
