"""The ancestor's tutorials and scripts work on a real engine: plain `docker run` and Compose with the driver `dm`, and
the command `dm`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support import crashing
from tests.support.drivers import DriverBench
from tests.support.projects import eventually, example

pytestmark = pytest.mark.engine

Dm = Callable[..., "subprocess.CompletedProcess[str]"]


def _run(
    bench: DriverBench, *words: str, code: int = 0, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **bench.engine.environment, "DM_HOME": str(bench.store_path), **more}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120, check=False, cwd=cwd or "/")
    assert done.returncode == code, f"{words} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def dm(bench: DriverBench) -> Dm:
    """Run `dm` on the driver's store and engine."""
    return lambda *words, code=0, **more: _run(bench, "dm", *words, code=code, **more)


def ids(dm: Dm) -> list[str]:
    return [commit["id"] for commit in json.loads(dm("log", "--json").stdout)]


def test_the_only_dot_is_chosen(bench: DriverBench, dm: Dm) -> None:
    bench.run("touch /foo/HELLO", "one:/foo")
    dm("commit", "-m", "without selecting a dot first")
    assert len(ids(dm)) == 1


def test_of_two_dots_one_must_be_selected(bench: DriverBench, dm: Dm) -> None:
    bench.run("touch /foo/HELLO", "one:/foo")
    bench.run("touch /foo/HELLO", "two:/foo")
    refused = dm("commit", "-m", "which?", code=5)
    assert "No current dot is selected" in refused.stderr
    assert "one, two" in refused.stderr
    dm("switch", "two")
    dm("commit", "-m", "of two")
    assert json.loads(dm("log", "--json").stdout)[0]["dot"] == "two"


def test_a_dot_that_exists_already_is_not_made_again(bench: DriverBench, dm: Dm) -> None:
    bench.run("true", "shop:/foo")
    assert "exists already" in dm("init", "shop", code=15).stderr
    dm("init", "other")
    assert "exists already" in dm("init", "other", code=15).stderr


def test_switching_branches_switches_contents(bench: DriverBench, dm: Dm) -> None:
    bench.run("touch /foo/HELLO", "shop:/foo")
    dm("commit", "-m", "hello")
    dm("checkout", "-b", "branch1")
    bench.run("touch /foo/WORLD", "shop:/foo")
    dm("commit", "-m", "world")
    assert "* branch1" in dm("branch").stdout
    dm("checkout", "master")
    assert bench.run("ls /foo", "shop:/foo") == "HELLO\n"
    assert "world" not in dm("log").stdout
    dm("checkout", "branch1")
    assert bench.run("ls /foo", "shop:/foo") == "HELLO\nWORLD\n"


def test_dot_show_tells_size_commits_and_branches(bench: DriverBench, dm: Dm) -> None:
    bench.run("head -c 100000 /dev/zero > /foo/zeros", "shop:/foo")
    dm("commit", "-m", "zeros")
    bench.run("head -c 50000 /dev/zero > /foo/more", "shop:/foo")
    dm("branch", "other")
    shown = dm("dot", "show").stdout
    assert "Dot admin/shop:" in shown
    assert "Commits: 1" in shown
    assert "(48.83 kiB dirty)" in shown
    assert "* master" in shown
    plain = dict(line.split("\t", 1) for line in dm("dot", "show", "-H").stdout.splitlines() if "\t" in line)
    assert (plain["name"], plain["size"], plain["dirty"], plain["currentBranch"]) == ("shop", "150000", "50000", "master")


def test_reset_restarts_a_running_container_on_the_state_of_the_commit(bench: DriverBench, dm: Dm) -> None:
    sleeper = bench.start("sleeper", "shop:/foo", script="touch /foo/one; exec sleep infinity")
    eventually(lambda: bench.inside(sleeper, "ls /foo") == "one\n", "the container's first file")
    dm("commit", "-m", "one")
    bench.inside(sleeper, "echo 2 > /foo/two")
    dm("commit", "-m", "again")
    before = bench.engine.docker("inspect", "-f", "{{.State.StartedAt}}", sleeper).stdout
    dm("reset", "--hard", "HEAD^")
    assert "again" not in dm("log").stdout
    assert bench.inside(sleeper, "ls /foo") == "one\n"
    assert bench.engine.docker("inspect", "-f", "{{.State.StartedAt}}", sleeper).stdout != before


def test_running_containers_are_listed(bench: DriverBench, dm: Dm) -> None:
    bench.start("tester", "shop:/foo")
    assert "tester" in dm("list").stdout
    fields = dm("list", "-H").stdout.rstrip("\n").split("\t")
    assert (fields[0], fields[1], fields[3]) == ("shop", "master", "tester")


def test_the_content_of_an_image_is_imported_into_a_new_volume(bench: DriverBench, dm: Dm) -> None:
    assert "root" in bench.run("cat /etc/passwd", "shop:/etc")
    assert "root" in bench.run("cat /foo/passwd", "shop:/foo")
    dm("commit", "-m", "etc")
    assert json.loads(dm("log", "--json").stdout)[0]["size_bytes"] > 0


def test_branches_are_pinned_by_the_volumes_name(bench: DriverBench, dm: Dm) -> None:
    bench.run("touch /foo/ORIGINAL", "shop:/foo")
    dm("commit", "-m", "original")
    for number in (1, 2, 3):
        dm("checkout", "-b", f"branch{number}")
        bench.run(f"touch /foo/BRANCH{number}", "shop:/foo")
        dm("commit", "-m", f"on {number}")
        dm("checkout", "master")
    for number in (1, 2, 3):
        assert bench.run("ls /foo", f"shop@branch{number}:/foo") == f"BRANCH{number}\nORIGINAL\n"
    assert bench.run("ls /foo", "shop:/foo") == "ORIGINAL\n"


def test_a_pinned_container_stays_while_the_others_follow(bench: DriverBench, dm: Dm) -> None:
    bench.run("echo master > /foo/file", "shop:/foo")
    dm("commit", "-m", "one")
    dm("checkout", "-b", "other")
    bench.run("echo other > /foo/file", "shop:/foo")
    following, pinned = bench.start("following", "shop:/foo"), bench.start("pinned", "shop@other:/foo")
    before = bench.engine.docker("inspect", "-f", "{{.State.StartedAt}}", pinned).stdout
    dm("checkout", "master")
    assert bench.inside(following, "cat /foo/file") == "master\n"
    assert bench.inside(pinned, "cat /foo/file") == "other\n"
    assert bench.engine.docker("inspect", "-f", "{{.State.StartedAt}}", pinned).stdout == before
    bench.inside(pinned, "echo changed > /foo/file")
    dm("checkout", "other")
    assert bench.inside(following, "cat /foo/file") == "changed\n"


def test_subdots_are_directories_of_the_root(bench: DriverBench, dm: Dm) -> None:
    for subdot in ("frogs", "eat", "flies"):
        bench.run(f"touch /foo/{subdot.upper()}", f"shop.{subdot}:/foo")
    bench.run("touch /foo/DEFAULT", "shop:/foo")
    bench.run("touch /foo/ROOT", "shop.__root__:/foo")
    wanted = ["__default__/DEFAULT", "eat/EAT", "flies/FLIES", "frogs/FROGS"]
    files = bench.run("cd /foo; find * -type f | sort", "shop.__root__:/foo").split()
    assert sorted(files) == sorted([*wanted, "ROOT"])
    dm("commit", "-m", "all")
    assert set(json.loads(dm("log", "--json").stdout)[0]["subdots"]) == {"__root__", "__default__", "eat", "flies", "frogs"}


def test_four_containers_on_subdots_are_committed_and_switched_together(bench: DriverBench, dm: Dm) -> None:
    subdots = ("frogs", "eat", "flies", "__root__")
    names = [bench.start(f"c{n}", f"shop.{s}:/foo", script=f"touch /foo/F{n}; exec sleep 600") for n, s in enumerate(subdots)]
    for number, name in enumerate(names):
        eventually(lambda name=name, number=number: f"F{number}" in bench.inside(name, "ls /foo"), f"the file of {name}")
    assert set(json.loads(dm("list", "--json").stdout)[0]["containers"]) == set(names)
    dm("commit", "-m", "pod")
    dm("checkout", "-b", "branch")
    bench.run("touch /foo/AGAIN", "shop@branch.again:/foo")
    dm("commit", "-m", "on the branch")
    files = bench.run("cd /foo; find * -type f | sort", "shop@branch.__root__:/foo").split()
    assert sorted(files) == ["F3", "again/AGAIN", "eat/F1", "flies/F2", "frogs/F0"]
    dm("checkout", "master")
    files = bench.run("cd /foo; find * -type f | sort", "shop.__root__:/foo").split()
    assert sorted(files) == ["F3", "eat/F1", "flies/F2", "frogs/F0"]
    assert all(bench.state(name) == "running" for name in names)


def test_running_containers_see_their_subdot_of_the_branch_that_is_checked_out(bench: DriverBench, dm: Dm) -> None:
    dm("init", "shop")
    dm("commit", "-m", "initial empty commit")
    for branch in ("A", "B"):
        dm("checkout", "-b", f"branch_{branch}")
        bench.run(f"echo {branch}_FROGS > /foo/HELLO", f"shop@branch_{branch}.frogs:/foo")
        bench.run(f"echo {branch}_DEFAULT > /foo/HELLO", f"shop@branch_{branch}:/foo")
        dm("commit", "-m", f"branch {branch}")
        dm("checkout", "master")
    frogs, default = bench.start("frogs", "shop.frogs:/foo"), bench.start("default", "shop:/foo")
    for branch in ("B", "A"):
        dm("checkout", f"branch_{branch}")
        assert bench.inside(frogs, "cat /foo/HELLO") == f"{branch}_FROGS\n"
        assert bench.inside(default, "cat /foo/HELLO") == f"{branch}_DEFAULT\n"


def test_a_dot_is_mounted_on_the_host(bench: DriverBench, dm: Dm, tmp_path: Path) -> None:
    bench.run("echo hello > /foo/file.txt", "shop:/foo")
    dm("mount", "shop", str(tmp_path / "shop"))
    assert (tmp_path / "shop/file.txt").read_text() == "hello\n"
    assert "Dot new does not exist" in dm("mount", "new", str(tmp_path / "new"), code=5).stderr
    dm("mount", "--create", "new", str(tmp_path / "new"))
    (tmp_path / "new/file.txt").write_text("from the host\n")
    assert bench.run("cat /foo/file.txt", "new:/foo") == "from the host\n"


def test_a_commit_is_mounted_read_only(bench: DriverBench, dm: Dm, tmp_path: Path) -> None:
    bench.run("echo APPLES > /foo/HELLO", "shop:/foo")
    made = dm("commit", "-m", "apples").stdout.strip()
    bench.run("echo PEARS > /foo/HELLO", "shop:/foo")
    dm("mount", "--commit", made, "shop", str(tmp_path / "then"))
    shown = tmp_path / "then/HELLO"
    assert shown.read_text() == "APPLES\n"
    assert shown.stat().st_mode & 0o222 == 0


def test_a_dot_is_deleted_unless_a_container_uses_it(bench: DriverBench, dm: Dm) -> None:
    assert "No such filesystem" in dm("dot", "delete", "-f", "shop", code=5).stderr
    bench.start("user", "shop:/foo", script="echo WORLD > /foo/HELLO; exec sleep infinity")
    refused = dm("dot", "delete", "-f", "shop", code=8)
    assert "cannot delete the volume" in refused.stderr
    assert "user" in refused.stderr
    bench.engine.docker("kill", "user")
    assert "user" in dm("dot", "delete", "-f", "shop", code=8).stderr, "it could be started again"
    bench.engine.docker("rm", "-f", "user")
    dm("dot", "delete", "-f", "shop")
    asked = (bench.store_path / "dm-driver.log").read_text()
    assert "VolumeDriver.Remove" in asked, "Docker has forgotten the volume too"
    assert "shop" not in dm("list").stdout
    assert bench.run("ls /foo", "shop:/foo") == ""
    assert "shop" in dm("list").stdout


def test_a_compose_file_of_the_ancestor_runs_with_plain_compose(bench: DriverBench, dm: Dm, tmp_path: Path) -> None:
    """`examples/sockshop/docker-compose.dm.yaml`, its volumes on containers that only write."""
    volumes = example("sockshop/docker-compose.dm.yaml")["volumes"]
    assert len(volumes) == 5
    services = {
        volume.partition(".")[2]: {
            "image": "dm-example/python",
            "pull_policy": "never",
            "network_mode": "none",
            "command": ["sh", "-c", "touch /data/mine; exec sleep infinity"],
            "init": True,
            "volumes": [f"{volume}:/data"],
        }
        for volume in volumes
    }
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump({"name": "proj", "services": services, "volumes": volumes}))
    _run(bench, "docker", "compose", "up", "-d", cwd=tmp_path)
    (dot,) = json.loads(dm("list", "--json").stdout)
    assert dot["dot"] == "proj_sockshop"
    assert len(dot["containers"]) == 5
    for name in services:
        eventually((bench.store_path / "trees/proj_sockshop/main" / name / "mine").exists, f"the file of {name}")
    made = dm("commit", "-m", "five").stdout.strip()
    assert set(json.loads(dm("log", "--json").stdout)[0]["subdots"]) == {"__root__", *services}
    status = json.loads(_run(bench, "dm-compose", "status", "--json", cwd=tmp_path).stdout)
    assert (status["dot"], status["head"]["id"], status["dirty"]) == ("proj_sockshop", made, False)
    _run(bench, "docker", "compose", "exec", "-T", "carts", "touch", "/data/dirt", cwd=tmp_path)
    _run(bench, "dm-compose", "reset", "--hard", cwd=tmp_path)
    listed = _run(bench, "docker", "compose", "exec", "-T", "carts", "ls", "/data", cwd=tmp_path).stdout
    assert listed == "mine\n"
    _run(bench, "docker", "compose", "down", "-v", "-t", "1", cwd=tmp_path)
    assert "proj_sockshop" in dm("list").stdout


def test_a_checkout_killed_anywhere_leaves_the_container_running_on_the_one_branch_or_the_other(
    bench: DriverBench, dm: Dm, tmp_path: Path
) -> None:
    killing = crashing.killing(tmp_path)
    bench.run("echo master > /foo/file", "shop:/foo")
    dm("commit", "-m", "one")
    dm("checkout", "-b", "other")
    bench.run("echo other > /foo/file", "shop:/foo")
    user = bench.start("user", "shop:/foo")
    dm("checkout", "master", **killing, CRASH_AT="0")
    total = int((tmp_path / "count").read_text())
    seen = set()
    for place in sorted({1 + n * (total - 1) // 7 for n in range(8)}):
        here = json.loads(dm("status", "--json").stdout)["branch"]
        there = "master" if here == "other" else "other"
        words = ["dm", "checkout", there]
        environment = {**os.environ, **bench.engine.environment, "DM_HOME": str(bench.store_path), **killing}
        subprocess.run(words, env={**environment, "CRASH_AT": str(place)}, capture_output=True, timeout=120, check=False, cwd="/")
        dm("tag", f"at-{place}")  # recovers
        now = json.loads(dm("status", "--json").stdout)["branch"]
        seen.add(now == there)
        assert bench.state(user) == "running"
        assert bench.inside(user, "cat /foo/file") == f"{now}\n"
    assert seen == {True, False}
