"""Set-id programs and the like that come from a remote get into a directory of the host only when somebody asks for them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dm_compose.errors import UntrustedError
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine
UNTRUSTED = UntrustedError.exit_code
REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
BOUND: dict[str, Any] = {"services": {"cache": {**REDIS, "volumes": ["./files:/data"]}}}
NewProject = Callable[[Mapping[str, Any]], TestProject]


def set_uid(path: Path) -> None:
    os.chmod(path, 0o4755)


def bound(new_project: NewProject) -> TestProject:
    """Return a stack whose state is in a directory of the host, which is empty."""
    project = new_project(BOUND)
    (project.directory / "files").mkdir()
    return project


def pushed(new_project: NewProject, remote: str, change: Callable[[Path], None]) -> TestProject:
    """Return a stack whose bind mount has such a file, committed and pushed."""
    origin = bound(new_project)
    files = origin.directory / "files"
    (files / "tool").write_bytes(b"#!/bin/sh\n")
    origin.dm("up", "-d")
    origin.wait_ready()  # the image gives all files to its user, which takes such rights away
    change(files / "tool")
    origin.dm("commit", "-m", "one")
    origin.dm("push", remote)
    return origin


def test_such_files_are_refused_for_a_directory_of_the_host(new_project: NewProject, tmp_path: Path) -> None:
    remote = f"file://{tmp_path}/remote"
    origin = pushed(new_project, remote, set_uid)
    other = bound(new_project)
    there = {"DM_HOME": str(tmp_path / "other")}
    other.dm("remote", "add", "hub", remote, **there)
    source = f"hub:admin/{origin.name}@master"
    refused = other.dm("up", "--from", source, check=False, **there)
    assert refused.returncode == UNTRUSTED
    assert "tool" in refused.stderr
    assert "--privileged" in refused.stderr
    assert not (other.directory / "files/tool").exists()
    other.dm("up", "--from", source, "--privileged", **there)
    assert (other.directory / "files/tool").stat().st_mode & stat.S_ISUID
    other.dm("reset", "--hard", "HEAD", **there)  # it was accepted for good


def test_pull_reset_and_checkout_refuse_them_and_volumes_take_them(new_project: NewProject, tmp_path: Path) -> None:
    remote = f"file://{tmp_path}/remote"
    origin = pushed(new_project, remote, lambda path: None)
    there = {"DM_HOME": str(tmp_path / "other")}
    other = bound(new_project)
    other.dm("remote", "add", "hub", remote, **there)
    other.dm("up", "--from", f"hub:admin/{origin.name}@master", **there)
    set_uid(origin.directory / "files/tool")
    origin.dm("commit", "-m", "two")
    origin.dm("push", remote)
    two = origin.json("log")[0]["id"]
    tool = other.directory / "files/tool"
    for words in (("pull", "hub"), ("reset", "--hard", two), ("checkout", "-b", "new", two)):
        refused = other.dm(*words, check=False, **there)
        assert (words, refused.returncode) == (words, UNTRUSTED)
        assert not tool.stat().st_mode & stat.S_ISUID
    assert other.json("log", **there)[0]["id"] != two
    other.dm("pull", "hub", "--privileged", **there)
    assert tool.stat().st_mode & stat.S_ISUID

    in_volume = new_project({"services": {"cache": {**REDIS, "volumes": ["cache:/data"]}}, "volumes": {"cache": {}}})
    elsewhere = {"DM_HOME": str(tmp_path / "elsewhere")}
    in_volume.dm("remote", "add", "hub", remote, **elsewhere)
    in_volume.dm("up", "--from", f"hub:admin/{origin.name}@master", **elsewhere)


def test_own_files_go_anywhere(new_project: NewProject, tmp_path: Path) -> None:
    origin = pushed(new_project, f"file://{tmp_path}/remote", set_uid)
    tool = origin.directory / "files/tool"
    tool.unlink()
    origin.dm("reset", "--hard", "HEAD")
    assert tool.stat().st_mode & stat.S_ISUID
