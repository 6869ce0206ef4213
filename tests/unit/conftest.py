"""Directories on the file systems that the contracts run over."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import filesystems
from tests.support.filesystems import Mount, Unavailable
from tests.support.hubs import Hub, commit
from tests.support.machines import Machine
from tests.support.places import Place
from tests.support.stores import Stores


@pytest.fixture(scope="session", autouse=True)
def _swept() -> None:
    """Remove the mounts of killed runs."""
    filesystems.sweep()


def available(make: Callable[[], Mount]) -> Mount:
    """Return what `make` mounts, or skip the test and say why."""
    try:
        return make()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def reflink_mount() -> Iterator[Mount]:
    """A file system that clones, made once per session."""
    if (reason := filesystems.why_not("reflink")) is not None:
        pytest.skip(reason)
    with filesystems.mounted(available(filesystems.make_reflink)) as mount:
        yield mount


@pytest.fixture(scope="session")
def coarse_mount() -> Iterator[Mount]:
    """A file system whose time stamps are those of the coarse clock: a write within a tick of another leaves the same ones."""
    with filesystems.mounted(available(lambda: filesystems.make_memory("ramfs"))) as mount:
        yield mount


@pytest.fixture(scope="session")
def whole_seconds_mount() -> Iterator[Mount]:
    """A file system whose time stamps are whole seconds."""
    with filesystems.mounted(available(filesystems.make_whole_seconds)) as mount:
        yield mount


def _fresh(mount: Mount) -> Path:
    return Path(tempfile.mkdtemp(dir=mount.path))


@pytest.fixture(params=["copy", "reflink"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Directories where files are copied, and where they are cloned."""
    yield from _place(request, tmp_path)


@pytest.fixture(params=["copy", "reflink", "across"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The same, and directories where store and trees are on different file systems: for what moves contents."""
    yield from _place(request, tmp_path)


def _place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "copy":
        made = Place("copy", tmp_path, tmp_path, False)
    else:
        directory = _fresh(request.getfixturevalue("reflink_mount"))
        across = request.param == "across"
        made = Place(request.param, directory, tmp_path if across else directory, not across)
    yield made
    made.close()
    if made.trees != tmp_path:
        shutil.rmtree(made.trees, ignore_errors=True)


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Place]:
    """Directories where files are copied, for what is the same everywhere."""
    made = Place("copy", tmp_path, tmp_path, False)
    yield made
    made.close()


@pytest.fixture(params=["copy", "reflink", "coarse", "seconds"])
def stamped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Directories on file systems that stamp files each in its own way: in fine grains, in clock ticks, in whole seconds."""
    names = {"reflink": "reflink_mount", "coarse": "coarse_mount", "seconds": "whole_seconds_mount"}
    directory = _fresh(request.getfixturevalue(names[request.param])) if request.param in names else tmp_path
    made = Place(request.param, directory, directory, request.param == "reflink")
    yield made
    made.close()
    if directory != tmp_path:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["ext4", "tmpfs"])
def small(request: pytest.FixtureRequest) -> Iterator[Mount]:
    """A file system of some megabytes that a test may fill."""
    with filesystems.mounted(available(lambda: filesystems.make_small(request.param))) as mount:
        yield mount


@pytest.fixture
def disk() -> Iterator[Mount]:
    """A file system in an image of its own, whose power a test may cut."""
    with filesystems.mounted(available(lambda: filesystems.make_image("ext4", 32))) as mount:
        yield mount


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory where there is one, for tests that make hundreds of commits."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="dm-compose-test-", dir=base))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["local", "remote"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Stores in this process, and stores of a child that has only the bundle and the standard library."""
    made = Stores(request.param)
    yield made
    made.close()


@pytest.fixture
def local() -> Iterator[Stores]:
    """Stores in this process, for what does not depend on where they are."""
    made = Stores("local")
    yield made
    made.close()


@pytest.fixture
def machine(fast_path: Path) -> Machine:
    """A machine with a store of its own and no engine."""
    return Machine(fast_path)


@pytest.fixture
def hub(fast_path: Path) -> Hub:
    """A remote that machines share."""
    return Hub(fast_path)


@pytest.fixture
def here(hub: Hub) -> Machine:
    """A machine with the dot `shop`, which has one commit."""
    machine = hub.machine("here")
    machine("init", "shop")
    commit(machine, "shop", "one")
    return machine


@pytest.fixture
def there(hub: Hub, here: Machine) -> Machine:
    """A machine that has cloned `shop` from the hub."""
    here("push", "hub")
    machine = hub.machine("there")
    machine("clone", "hub", "shop")
    return machine
