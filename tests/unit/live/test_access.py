"""Where the store is, and where a helper container finds what it is to work on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from dm_compose.core.containers import EngineFacts
from dm_compose.core.events import ignore
from dm_compose.core.variables import Variables
from dm_compose.engine.volumes import Volume
from dm_compose.errors import NotFoundError, StoreError
from dm_compose.live.access import inside_helper, open_access
from dm_compose.store.helper.client import mount_option
from tests.support.processes import REPOSITORY


def test_each_place_has_a_mount_of_its_own() -> None:
    inside, mounted = inside_helper({"volume": "/var/lib/docker/volumes/v/_data", "/srv/a": "/srv/a", "/srv/ab": "/srv/ab"})
    assert mounted == ["volume", "/srv/a", "/srv/ab"]
    assert len(set(inside.values())) == 3


def test_a_place_within_another_is_found_within_it() -> None:
    inside, mounted = inside_helper({"/srv/a/b/c/": "/srv/a/b/c/", "/srv/a/b": "/srv/a/b", "/srv/a": "/srv/a"})
    assert mounted == ["/srv/a"]
    assert inside["/srv/a/b"] == f"{inside['/srv/a']}/b"
    assert inside["/srv/a/b/c/"] == f"{inside['/srv/a']}/b/c"


@pytest.mark.parametrize("path", ["/srv/a\nb", "/srv/\udcff", "/srv/a\tb"])
def test_a_path_that_docker_cannot_be_told_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(StoreError, match="cannot be mounted") as raised:
        mount_option(path, "/dm/places/0")
    assert "\n" not in raised.value.message


@dataclass
class Engine:
    """An engine on this machine that has some volumes."""

    volumes: dict[str, str] = field(default_factory=dict)
    local: bool = True

    def facts(self) -> EngineFacts:
        return EngineFacts("unix socket", "28", "x86_64", "Debian", local=self.local, root="/var/lib/docker")

    def volume(self, name: str) -> Volume | None:
        return Volume(name, "local", self.volumes[name], {}, {}) if name in self.volumes else None

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        raise AssertionError(f"{name} was made")


def opened(home: Path | str, engine: Engine) -> str:
    access = open_access(cast(Any, engine), [], Variables({"DM_HOME": str(home)}), ignore)
    access.store.close()
    return access.how


def test_a_volume_is_not_made_because_its_name_may_be_a_folder_without_its_slash() -> None:
    with pytest.raises(NotFoundError, match="DM_HOME=newstore names a volume that does not exist") as raised:
        opened("newstore", Engine())
    assert raised.value.hint == (
        "For the folder newstore write DM_HOME=./newstore; `docker volume create newstore` makes the volume."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reaches volumes in this process")
def test_a_volume_that_is_there_holds_the_store(tmp_path: Path) -> None:
    assert opened("mine", Engine({"mine": str(tmp_path)})) == "in-process"
    assert (tmp_path / "state.db").exists()


def test_a_file_where_the_store_should_be_is_named_before_a_helper_is_tried(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for home in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(StoreError, match=f"the store cannot be at {home}: {tmp_path / 'file'} is no directory"):
            opened(home, Engine())
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_file_system_is_named_before_a_helper_is_tried(tmp_path: Path) -> None:
    """The mount is in a namespace of its own, which ends with the child."""
    (tmp_path / "store").mkdir()
    work = (
        "from tests.unit.live.test_access import Engine, opened\nfrom dm_compose.errors import StoreError\nimport sys\n"
        "try:\n    opened(sys.argv[1], Engine())\nexcept StoreError as error:\n    print(error.message)"
    )
    command = f'mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path} && exec "$0" -c \'{work}\' "$1"'
    for home in (tmp_path / "store", tmp_path / "another"):
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", command, sys.executable, str(home)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=REPOSITORY,
        )
        assert done.stdout == f"the store at {home} cannot be written: its file system is read-only\n", done.stderr
