"""The volume driver on a real Docker Engine, which is the tests' own: see tests/support/engines.py for why."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dm_compose.core.commit import Worktree
from dm_compose.core.names import MAIN_WORKTREE, RefName, SubdotName, WorktreeName
from dm_compose.driver.client import ask
from dm_compose.driver.running import identity
from dm_compose.driver.service import DriverService
from dm_compose.errors import InUseError
from tests.support.dots import commit, dot_with_branches, switch
from tests.support.drivers import IMAGE, QUICK_S, SHOP, DriverBench
from tests.support.engines import PrivateEngine
from tests.support.projects import eventually

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[3]


# Volumes


def test_first_use_makes_the_dot_and_the_next_container_finds_the_data(bench: DriverBench) -> None:
    bench.run("echo hello > /data/file", "shop.db:/data")
    assert bench.store.dots() == [SHOP]
    assert (bench.directory("db") / "file").read_text() == "hello\n"
    assert bench.run("cat /data/file", "shop.db:/data") == "hello\n"
    assert bench.run("ls /data", "shop:/data") == ""


def test_an_empty_subdot_gets_what_the_image_has_there_with_owner_and_mode(bench: DriverBench) -> None:
    plain = bench.run("stat -c '%a %u %g' /var/local /etc/apt; ls -a /etc/apt")
    assert bench.run("stat -c '%a %u %g' /var/local /etc/apt; ls -a /etc/apt", "shop.a:/var/local", "shop.b:/etc/apt") == plain
    assert sorted(os.listdir(bench.directory("b"))) == sorted(plain.split()[8:])


def test_containers_on_subdots_of_one_dot_run_at_once_and_root_sees_them_all(bench: DriverBench) -> None:
    def write(number: int) -> str:
        script = f"echo {number} > /data/file && ls /data"
        return str(bench.run(script, f"shop.sub{number}:/data"))

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(write, range(4))) == {"file\n"}
    assert bench.run("cd /all && cat sub0/file sub1/file sub2/file sub3/file && ls", "shop.__root__:/all").split() == [
        *"0123",
        *("sub0", "sub1", "sub2", "sub3"),
    ]
    assert bench.store.dots() == [SHOP]


def test_pinned_branches_have_files_of_their_own(bench: DriverBench) -> None:
    dot_with_branches(bench.store, SHOP, "feature", "a/b")
    bench.run("echo changed > /data/file", "shop.db:/data")
    names = ("shop.db", "shop@master.db", "shop@feature.db", "shop@a/b.db")
    script = "cat /0/file /1/file; cat /2/file /3/file; echo more >> /2/file"
    assert bench.run(script, *(f"{name}:/{n}" for n, name in enumerate(names))) == "changed\nchanged\nseedseed"
    assert bench.run("cat /data/file", "shop@feature.db:/data") == "seedmore\n"
    assert bench.run("cat /data/file", "shop@a/b.db:/data") == "seed"
    assert bench.volumes() == sorted(names)


@pytest.mark.parametrize(
    ("name", "said"), [("shop@nope.db", "no branch nope"), ("nodot@x.db", "no dot nodot"), ("sh!op", "invalid dot name")]
)
def test_a_name_that_means_nothing_is_refused_with_the_reason(bench: DriverBench, name: str, said: str) -> None:
    dot_with_branches(bench.store, SHOP)
    done = bench.run("true", f"{name}:/data", check=False)
    assert said in done.stderr
    assert bench.volumes() == []
    assert bench.store.dots() == [SHOP]


def test_docker_lists_shows_and_removes_the_volumes_and_the_data_stays(bench: DriverBench) -> None:
    bench.run("echo hello > /data/file", "shop.db:/data")
    assert bench.volumes() == ["shop.db"]
    (shown,) = json.loads(bench.engine.docker("volume", "inspect", "shop.db").stdout)
    assert (shown["Driver"], shown["Mountpoint"]) == ("dm", str(bench.directory("db")))
    assert shown["Status"] == {"dot": "shop", "branch": "master", "worktree": "main", "subdot": "db"}
    bench.engine.docker("volume", "rm", "shop.db")
    assert bench.volumes() == []
    assert bench.run("cat /data/file", "shop.db:/data") == "hello\n"


def test_volumes_of_images_come_and_go_with_their_container(bench: DriverBench) -> None:
    made = bench.start("base")
    bench.engine.docker("commit", "--change", "VOLUME /scratch", made, "dm-test/volume")
    assert bench.run("echo x > /scratch/x; cat /scratch/x", "shop.db:/data", image="dm-test/volume") == "x\n"
    assert bench.volumes() == ["shop.db"]
    assert bench.store.dots() == [SHOP]


def test_a_compose_file_that_names_the_driver_works_with_plain_compose(bench: DriverBench) -> None:
    service = {"image": IMAGE, "network_mode": "none", "command": ["sh", "-c", "date +%s%N >> /data/log; exec sleep infinity"]}
    document = {
        "services": {
            name: {**service, "init": True, "volumes": [f"{name}:/data"], "labels": {"dm-test": "driver"}}
            for name in ("one", "two")
        },
        "volumes": {"one": {"driver": "dm", "name": "shop.one"}, "two": {"driver": "dm", "name": "shop@master.two"}},
    }
    file = bench.store_path.with_suffix(".yaml")
    file.write_text(json.dumps(document))
    for times in (1, 2):
        bench.engine.docker("compose", "-p", "dmtest", "-f", str(file), "up", "-d", "--wait", timeout_s=120)
        for subdot in ("one", "two"):
            log = bench.directory(subdot) / "log"
            eventually(lambda log=log, times=times: log.exists() and len(log.read_text().split()) == times, "the line in the log")
        assert bench.volumes() == ["shop.one", "shop@master.two"]
        bench.engine.docker("compose", "-p", "dmtest", "-f", str(file), "down", "-v", "-t", "2", timeout_s=120)
        assert bench.volumes() == []


def test_a_restarted_container_follows_the_branch_and_needs_no_lock_for_it(bench: DriverBench) -> None:
    head = dot_with_branches(bench.store, SHOP, "feature")
    container = bench.start("web", "shop.db:/data")
    bench.inside(container, "echo master > /data/file")
    token = bench.store.lock("shop", "a checkout", 0)
    bench.engine.docker("stop", "-t", "1", container)
    bench.store.add_worktree(Worktree(SHOP, WorktreeName("feature"), RefName("feature"), head, tree=True), head)
    switch(bench.store, SHOP, WorktreeName("feature"))
    bench.engine.docker("start", container, timeout_s=QUICK_S)
    bench.store.unlock(token)
    assert bench.inside(container, "cat /data/file") == "seed"
    (shown,) = json.loads(bench.engine.docker("volume", "inspect", "shop.db").stdout)
    assert shown["Status"]["branch"] == "feature"
    assert shown["Mountpoint"] == str(bench.directory("db", "feature"))


def test_what_was_written_by_a_container_is_committed(bench: DriverBench) -> None:
    bench.run("echo one > /data/file", "shop.db:/data")
    first = commit(bench.store, SHOP)
    bench.run("echo two > /data/file", "shop.db:/data")
    assert bench.store.differing(SHOP, MAIN_WORKTREE, bench.store.tree(SHOP, MAIN_WORKTREE), first) == [SubdotName("db")]
    bench.store.add_branch(SHOP, RefName("before"), first)
    assert bench.run("cat /data/file", "shop@before.db:/data") == "one\n"


# The driver ends


def test_containers_and_volumes_outlive_a_driver_that_is_killed(bench: DriverBench) -> None:
    container = bench.start("web", "shop.db:/data")
    bench.kill()
    assert bench.inside(container, "echo written > /data/file; cat /data/file") == "written\n"
    bench.service.init()
    assert bench.inside(container, "cat /data/file") == "written\n"
    assert bench.run("cat /data/file", "shop.db:/data") == "written\n"
    bench.engine.docker("restart", "-t", "1", container, timeout_s=QUICK_S)
    assert bench.inside(container, "cat /data/file") == "written\n"
    bench.engine.docker("rm", "-f", container, timeout_s=QUICK_S)
    bench.engine.docker("volume", "rm", "shop.db", timeout_s=QUICK_S)
    assert bench.volumes() == []


def test_a_call_while_the_driver_restarts_is_late_and_succeeds(bench: DriverBench) -> None:
    bench.run("echo hello > /data/file", "shop.db:/data")
    bench.kill()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(bench.run, "cat /data/file", "shop.db:/data")
        eventually(lambda: "retrying" in bench.engine.log(), "the engine to miss the driver")
        bench.service.init()
        assert reading.result(timeout=60) == "hello\n"


# Reset


def test_reset_refuses_while_a_container_has_a_volume_even_a_stopped_one(bench: DriverBench) -> None:
    container = bench.start("web", "shop.db:/data")
    for state in ("running", "exited"):
        with pytest.raises(InUseError, match=rf"web \({state}\)"):
            bench.service.reset()
        bench.engine.docker("stop", "-t", "1", container)
    assert bench.volumes() == ["shop.db"]


def test_after_a_reset_the_engine_waits_for_nothing_and_the_data_is_there(bench: DriverBench) -> None:
    bench.run("echo hello > /data/file", "shop.db:/data")
    assert bench.service.reset().volumes == ("shop.db",)
    assert bench.volumes() == []
    missing = bench.engine.docker("volume", "inspect", "no-such-volume", check=False, timeout_s=QUICK_S)
    assert "no such volume" in missing.stderr
    bench.engine.docker("run", "--rm", "-v", "ordinary:/data", IMAGE, "true", timeout_s=QUICK_S)
    refused = bench.run("true", "shop.db:/data", check=False)
    assert "dm cluster init" in refused.stderr
    bench.service.init()
    assert bench.run("cat /data/file", "shop.db:/data") == "hello\n"


def test_the_store_can_be_removed_after_a_reset(bench: DriverBench) -> None:
    bench.run("true", "shop.db:/data")
    bench.service.reset()
    shutil.rmtree(bench.store_path)
    assert bench.volumes() == []
    assert not bench.store_path.exists()
    assert bench.answers.leaving


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_a_reset_leaves_goes_with_the_engine(bench: DriverBench, how: str) -> None:
    bench.run("true", "shop.db:/data")
    bench.service.reset()
    pid = bench.answers.pid
    getattr(bench.engine, how)()
    eventually(lambda: identity(pid) is None, "the end of the driver")
    assert not bench.service.socket.parent.exists()
    bench.engine.start()
    assert bench.volumes() == []
    assert not bench.service.status().known


# The engine ends


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_engine_that_restarts_brings_containers_back_on_their_volumes(bench: DriverBench, how: str) -> None:
    bench.start("web", "shop.db:/data", script="date +%s%N >> /data/log; exec sleep infinity", restart="always")
    log = bench.directory("db") / "log"
    eventually(lambda: log.read_text().endswith("\n"), "the first line")
    getattr(bench.engine, how)()
    bench.engine.start()
    eventually(lambda: bench.state("web") == "running" and len(log.read_text().split()) == 2, "the container to come back")
    assert bench.volumes() == ["shop.db"]
    assert bench.run("wc -l < /data/log", "shop.db:/data") == "2\n"


@pytest.mark.parametrize("first", ["driver", "engine"])
@pytest.mark.parametrize("how", ["killed", "shut down"])
def test_nothing_is_lost_when_both_end_in_whatever_order_they_come_back(bench: DriverBench, how: str, first: str) -> None:
    bench.start("web", "shop.db:/data", script="date +%s%N >> /data/log; exec sleep infinity")
    log = bench.directory("db") / "log"
    eventually(lambda: log.read_text().endswith("\n"), "the first line")
    if how == "killed":
        bench.kill()
        bench.engine.kill()
    else:
        bench.engine.stop()
        os.kill(bench.answers.pid, signal.SIGTERM)
        eventually(lambda: not bench.service.socket.exists(), "the end of the driver")
    if first == "driver":
        bench.service.keeper.start(bench.store_path, bench.service.socket)
        eventually(lambda: ask(bench.service.socket), "the driver")
        bench.engine.start()
    else:
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(bench.engine.start)
            waits = "Unable to locate plugin: dm, retrying" if how == "shut down" else "Unable to connect to plugin"
            eventually(lambda: bench.engine.log().count(waits) > 0, "the engine to miss the driver")
            DriverService.waking(bench.service.variables, "dm", bench.engine.plugins, lambda _: None).init()
            starting.result(timeout=QUICK_S)
    bench.service.init()
    bench.engine.docker("start", "web", timeout_s=QUICK_S)
    eventually(lambda: len(log.read_text().split()) == 2, "the second line")
    assert bench.volumes() == ["shop.db"]
    bench.engine.docker("rm", "-f", "web", timeout_s=QUICK_S)
    bench.engine.docker("volume", "rm", "shop.db", timeout_s=QUICK_S)


# As a container


@pytest.fixture(scope="module")
def driver_image(engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The driver's image, from this checkout and the libraries of this environment."""
    context = tmp_path_factory.mktemp("image")
    for name in ("dm_compose", "filelock", "pluggy"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    file = str(ROOT / "dm_compose" / "driver" / "Dockerfile")
    words = ["build", "-q", "-t", "dm-test/driver", "--build-arg", f"BASE={IMAGE}", "-f", file, str(context)]
    engine.docker(*words, timeout_s=120)
    return "dm-test/driver"


@pytest.fixture
def contained(bench: DriverBench, driver_image: str) -> Iterator[DriverBench]:
    """The driver in a container of the engine that it serves, instead of a process beside it."""
    os.kill(bench.answers.pid, signal.SIGTERM)
    eventually(lambda: not bench.service.socket.exists(), "the end of the driver")
    plugins = "/run/docker/plugins"
    mounts = ["-v", f"{plugins}:{plugins}", "-v", f"{bench.store_path}:{bench.store_path}"]
    options = ["--name", "dm-driver", "--restart", "always", "--network", "none", "--pid", "host"]
    bench.engine.docker("run", "-d", *options, *mounts, driver_image, "--store", str(bench.store_path))
    eventually(lambda: ask(bench.service.socket), "the driver to answer")
    yield bench
    with contextlib.suppress(AssertionError):
        bench.engine.docker("update", "--restart", "no", "dm-driver")
        bench.engine.docker("stop", "dm-driver")
    assert not bench.service.socket.exists()


def test_the_driver_can_run_as_a_container(contained: DriverBench) -> None:
    assert contained.service.init().running
    contained.start("web", "shop.db:/data", script="date +%s%N >> /data/log; exec sleep infinity", restart="always")
    log = contained.directory("db") / "log"
    eventually(lambda: log.read_text().endswith("\n"), "the first line")
    assert contained.volumes() == ["shop.db"]
    contained.engine.docker("restart", "dm-driver", timeout_s=30)
    eventually(lambda: ask(contained.service.socket), "the driver to answer")
    assert contained.run("wc -l < /data/log", "shop.db:/data") == "1\n"
    contained.engine.stop()
    contained.engine.start()
    eventually(lambda: contained.state("web") == "running" and len(log.read_text().split()) == 2, "the container to come back")
    assert contained.volumes() == ["shop.db"]
