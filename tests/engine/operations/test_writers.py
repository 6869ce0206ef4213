"""Everybody who may write to a subdot is seen: whatever the mount looks like, whatever labels and state the container has."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.projects import LABEL, TestProject, eventually

pytestmark = pytest.mark.engine

NewProject = Callable[[Mapping[str, Any]], TestProject]
IN_USE = 8
PYTHON = {"image": "dm-example/python", "pull_policy": "never", "init": True, "command": ["sleep", "infinity"]}


@pytest.fixture
def uploads(new_project: NewProject, tmp_path: Path) -> TestProject:
    """A stack, down, with one commit: its subdot is the directory `site/uploads` of the host."""
    (tmp_path / "site/uploads/deep").mkdir(parents=True)
    (tmp_path / "site/uploads/file").write_text("seed")
    site = {**PYTHON, "volumes": [f"{tmp_path}/site/uploads:/uploads"], "x-dotmesh": {"include": ["/uploads"]}}
    project = new_project({"services": {"site": site}})
    project.dm("up", "-d")
    project.dm("commit", "-m", "seed")
    return project


@pytest.fixture
def beside(run: Any) -> Iterator[Callable[..., str]]:
    """Run a container of nobody's project and return its name."""
    with contextlib.ExitStack() as made:

        def start(*options: str, image: str = "dm-example/python") -> str:
            words = ["docker", "run", "-d", "--init", "--label", f"{LABEL}={run.id}", *options, image, "sleep", "infinity"]
            found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
            made.callback(subprocess.run, ["docker", "rm", "-fv", found], capture_output=True, check=True, timeout=60)
            return found

        yield start


def refused(project: TestProject) -> str:
    """Check that neither a commit nor a reset is done, and return what is said."""
    done = project.dm("commit", "-m", "x", check=False)
    assert done.returncode == IN_USE, done.stderr
    assert project.dm("reset", "--hard", check=False).returncode == IN_USE
    return done.stderr


@pytest.mark.parametrize("directory", ["site", "site/uploads/deep", "link/uploads", "link"])
def test_a_stranger_with_a_directory_above_or_below_is_refused(
    uploads: TestProject, beside: Callable[..., str], tmp_path: Path, directory: str
) -> None:
    (tmp_path / "link").symlink_to("site")
    beside("-v", f"{tmp_path}/{directory}:/other")
    assert "has site of dot" in refused(uploads)


def test_a_stranger_that_only_reads_a_directory_above_or_has_the_whole_machine_is_none(
    uploads: TestProject, beside: Callable[..., str], tmp_path: Path
) -> None:
    beside("-v", f"{tmp_path}/site:/other:ro", "-v", "/:/host")
    uploads.dm("commit", "-m", "x")
    uploads.dm("reset", "--hard")


def test_a_stranger_with_the_directory_that_a_volume_binds_is_refused(
    new_project: NewProject, beside: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    binds = {"driver": "local", "driver_opts": {"type": "none", "o": "bind", "device": str(tmp_path / "data")}}
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never", "volumes": ["data:/data"]}
    project = new_project({"services": {"cache": cache}, "volumes": {"data": binds}})
    project.dm("up", "-d")
    project.wait_ready()
    project.dm("commit", "-m", "seed")
    beside("-v", f"{tmp_path}/data:/elsewhere")
    refused(project)


def test_a_writer_of_the_stack_with_a_directory_above_is_frozen_and_taken_down(uploads: TestProject, tmp_path: Path) -> None:
    site = {**PYTHON, "volumes": [f"{tmp_path}/site/uploads:/uploads"], "x-dotmesh": {"include": ["/uploads"]}}
    web = {**PYTHON, "volumes": [f"{tmp_path}/site:/var/www"], "x-dotmesh": {"exclude": ["/var/www"]}}
    uploads.write({"services": {"site": site, "web": web}})
    uploads.dm("up", "-d")
    (tmp_path / "site/uploads/file").write_text("changed")
    before = uploads.started_at("web")
    uploads.dm("reset", "--hard")
    assert (tmp_path / "site/uploads/file").read_text() == "seed"
    assert uploads.started_at("web") > before


@pytest.fixture
def labelled(run: Any) -> Iterator[str]:
    """An image that carries the label of our own helpers, and one of our owners'."""
    tag = f"{run.prefix}labelled"
    text = "FROM dm-example/python\nLABEL dev.dotmesh.role=helper dev.dotmesh.owner=a/b/1/2\n"
    words = ["docker", "buildx", "build", "-q", "--load", "-t", tag, "-"]
    subprocess.run(words, input=text, text=True, capture_output=True, check=True, timeout=120)
    yield tag
    docker.from_env().images.remove(tag, force=True)


def test_a_stranger_whose_image_has_our_helpers_label_is_refused(
    cache_only: TestProject, beside: Callable[..., str], labelled: str
) -> None:
    beside("-v", f"{cache_only.name}_dm-cache:/elsewhere", image=labelled)
    refused(cache_only)


def test_a_container_of_the_stack_with_our_helpers_label_is_frozen(new_project: NewProject) -> None:
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never", "volumes": ["data:/data"]}
    program = "import time\nwhile True: open('/data/beat', 'w').write(str(time.time())); time.sleep(0.001)"
    writer = {**PYTHON, "command": ["python3", "-c", program], "volumes": ["data:/data"]}
    project = new_project({"services": {"cache": cache, "writer": writer}, "volumes": {"data": None}})
    document = project.file.read_text().replace(f"{LABEL}: ", f"dev.dotmesh.role: helper\n      {LABEL}: ")
    project.file.write_text(document)
    project.dm("up", "-d")
    project.wait_ready()
    before = project.started_at("writer")
    project.dm("commit", "-m", "seed")
    project.dm("reset", "--hard")
    assert project.started_at("writer") > before


def _restarts(project: TestProject, at_least: int) -> bool:
    found = project.container("loop")
    return found["RestartCount"] >= at_least and bool(found["State"]["Restarting"])


def test_a_writer_that_ends_again_and_again_is_not_overlooked(new_project: NewProject, beside: Callable[..., str]) -> None:
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never", "volumes": ["data:/data"]}
    loop = {**PYTHON, "command": ["false"], "restart": "always", "volumes": ["data:/data"]}
    project = new_project({"services": {"cache": cache, "loop": loop}, "volumes": {"data": None}})
    project.compose("up", "-d")
    project.wait_ready()
    eventually(lambda: _restarts(project, 8), "a pause of some seconds between two starts", timeout_s=60)
    restarts = project.container("loop")["RestartCount"]
    project.dm("commit", "-m", "seed")
    assert project.container("loop")["RestartCount"] < restarts, "it was held down, and started anew"
    eventually(lambda: _restarts(project, 1), "the loop to go on")
    assert project.state("cache") == "running"
    project.dm("commit", "--stop", "-m", "stopped")
    project.redis().set("note", "later")
    project.dm("reset", "--hard")
    eventually(lambda: _restarts(project, 0), "the loop to go on")
    eventually(lambda: project.redis().get("note") is None, "the restored state")
