"""`up`, `down` and the rest: where state gets a lasting volume, and what is said before it goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.commands import DM
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
IDLE = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
NewProject = Callable[[Mapping[str, Any]], TestProject]


def volumes_of(project: TestProject) -> set[str]:
    client = docker.from_env()
    try:
        return {v.name for v in client.volumes.list(filters={"label": f"com.docker.compose.project={project.name}"})}
    finally:
        client.close()


def test_up_gives_an_image_volume_a_name_that_survives_down(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d")
    assert project.container("cache")["Mounts"][0]["Name"] == f"{project.name}_dm-cache"
    project.wait_ready()
    project.redis().set("note", "kept")
    project.redis().save()
    project.dm("down")
    project.dm("up", "-d")
    project.wait_ready()
    assert project.redis().get("note") == "kept"


def test_plain_compose_afterwards_recreates_nothing_and_loses_nothing(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS, "app": IDLE}})
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "kept")
    project.redis().save()
    before = project.started_at("app")
    project.compose("up", "-d")
    assert project.started_at("app") == before
    project.wait_ready()
    assert project.redis().get("note") == "kept"


def test_a_stack_of_plain_compose_with_anonymous_volumes_is_committed_and_reset(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": {**REDIS, "volumes": ["/data"]}}})
    project.compose("up", "-d")
    project.wait_ready()
    volume = project.container("cache")["Mounts"][0]["Name"]
    assert len(volume) == 64
    assert f"in {volume[:12]}" in " ".join(project.dm("plan").stdout.split())
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.redis().set("note", "x")
    project.dm("reset", "--hard")
    assert project.redis().get("note") == "seed"
    assert project.container("cache")["Mounts"][0]["Name"] == volume


def test_up_leaves_the_anonymous_volume_of_a_running_container_alone(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.compose("up", "-d")
    before = project.container("cache")
    project.dm("up", "-d")
    after = project.container("cache")
    assert after["Id"] == before["Id"]
    assert after["Mounts"][0]["Name"] == before["Mounts"][0]["Name"]


def test_an_anonymous_volume_comes_back_after_down_once_it_was_committed(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.compose("up", "-d")
    project.wait_ready()
    volume = project.container("cache")["Mounts"][0]["Name"]
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.dm("down")
    project.dm("up", "-d")
    project.wait_ready()
    assert project.container("cache")["Mounts"][0]["Name"] == volume
    assert project.redis().get("note") == "seed"
    project.dm("down")
    client = docker.from_env()
    client.volumes.get(volume).remove()
    client.close()


def test_an_anonymous_volume_that_was_committed_is_meant_while_the_stack_is_down(new_project: NewProject) -> None:
    """And not the volume of ours that it had before, which is there still."""
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d")
    project.compose("down")
    project.compose("up", "-d")
    project.wait_ready()
    volume = project.container("cache")["Mounts"][0]["Name"]
    project.dm("commit", "-m", "seed")
    project.dm("down")
    assert [s["place"] for s in project.json("status")["subdots"]] == [volume]
    client = docker.from_env()
    client.volumes.get(volume).remove()
    client.close()


def test_up_takes_data_out_of_a_containers_writable_layer(new_project: NewProject) -> None:
    document = {"services": {"store": {**IDLE, "image": "dm-example/python", "x-dotmesh": {"engine": "meilisearch"}}}}
    project = new_project(document)
    project.compose("up", "-d")
    project.compose(
        "exec", "store", "sh", "-c", "mkdir -p /meili_data/deep && echo precious > /meili_data/deep/file && chown 7:8 /meili_data"
    )
    refused = project.dm("commit", "-m", "x", check=False)
    assert refused.returncode == 5
    assert "in its container" in refused.stderr
    project.dm("up", "-d")
    assert project.compose("exec", "store", "cat", "/meili_data/deep/file").strip() == "precious"
    assert project.compose("exec", "store", "stat", "-c", "%u:%g", "/meili_data").strip() == "7:8"
    assert [m["Name"] for m in project.container("store")["Mounts"]] == [f"{project.name}_dm-store"]
    project.dm("commit", "-m", "x", "--unready")  # nothing in it speaks the protocol


def test_a_file_for_the_ancestors_driver_works_without_the_driver(new_project: NewProject) -> None:
    document = {
        "services": {"cache": {**REDIS, "volumes": ["shop.sessions:/data"]}},
        "volumes": {"shop.sessions": {"driver": "dm"}},
    }
    project = new_project(document)
    plan = project.json("plan")
    assert plan["dot"] == f"{project.name}_shop"
    assert [s["name"] for s in plan["subdots"]] == ["sessions"]
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.redis().set("note", "x")
    project.dm("reset", "--hard")
    assert project.redis().get("note") == "seed"


def test_compose_exit_codes_and_output_come_through(new_project: NewProject) -> None:
    project = new_project({"services": {"app": IDLE}})
    project.dm("up", "-d")
    assert "app" in project.dm("ps").stdout
    assert project.dm("exec", "-T", "app", "sh", "-c", "echo hi; exit 42", check=False).returncode == 42
    assert project.dm("exec", "-T", "app", "echo", "hi").stdout.strip() == "hi"
    assert project.dm("up", "--no-such-option", check=False).returncode != 0


def test_a_bind_mounted_data_directory_is_committed_and_reset(new_project: NewProject, tmp_path: Any) -> None:
    data = tmp_path / "redis-data"
    data.mkdir()
    project = new_project({"services": {"cache": {**REDIS, "volumes": [f"{data}:/data"]}}})
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    assert (data / "dump.rdb").exists()
    project.redis().set("note", "x")
    project.dm("reset", "--hard")
    assert project.redis().get("note") == "seed"


def test_a_volume_that_vanished_is_named_and_filled_again_by_reset(cache_only: TestProject) -> None:
    cache_only.dm("down")
    client = docker.from_env()
    client.volumes.get(f"{cache_only.name}_dm-cache").remove()
    client.close()
    done = cache_only.dm("commit", "-m", "x", check=False)
    assert done.returncode == 5
    assert f"{cache_only.name}_dm-cache" in done.stderr
    cache_only.dm("reset", "--hard")
    cache_only.dm("up", "-d")
    cache_only.wait_ready()
    assert eventually(lambda: cache_only.redis().get("note"), "redis") == "seed"


def test_a_server_that_is_not_root_can_write_to_the_volume_it_is_given(new_project: NewProject) -> None:
    document = {
        "services": {
            "store": {**IDLE, "user": "nobody", "command": ["sh", "-c", "echo hi > /meili_data/file && sleep infinity"]}
        },
    }
    document["services"]["store"]["x-dotmesh"] = {"engine": "meilisearch"}  # type: ignore[index]
    project = new_project(document)
    project.dm("up", "-d")
    written = eventually(lambda: project.compose("exec", "store", "cat", "/meili_data/file", check=False), "the file")
    assert written.strip() == "hi"
    assert project.compose("exec", "store", "stat", "-c", "%U", "/meili_data").strip() == "nobody"


def test_scaled_services_do_not_share_a_generated_volume(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d", "--scale", "cache=2")
    client = docker.from_env()
    filters = {"label": f"com.docker.compose.project={project.name}"}
    places = [c.attrs["Mounts"][0]["Name"] for c in client.containers.list(filters=filters, ignore_removed=True)]
    client.close()
    assert len(set(places)) == 2


def test_a_dry_run_of_compose_pulls_stops_copies_and_makes_nothing(new_project: NewProject) -> None:
    store = {**IDLE, "x-dotmesh": {"engine": "meilisearch"}}
    project = new_project({"services": {"store": store, "cache": REDIS, "db": {"image": "localhost:9/no/such/postgres"}}})
    project.compose("up", "-d", "store")
    project.compose("exec", "store", "sh", "-c", "mkdir /meili_data && echo precious > /meili_data/file")
    before = project.container("store")["Id"], project.started_at("store")
    for words in (["up", "-d"], ["create"], ["up", "--pull", "never"], ["run", "cache", "true"], ["scale", "store=1"]):
        done = project.dm(words[0], "--dry-run", *words[1:], check=False)
        assert "Pulled" not in done.stderr
        assert (project.container("store")["Id"], project.started_at("store")) == before
        assert volumes_of(project) == set()
        assert not project.home.exists()
        assert not (project.directory.parent / "state").exists()
    project.dm("up", "-d", "store")
    assert project.compose("exec", "store", "cat", "/meili_data/file").strip() == "precious"


def test_a_dry_run_shows_the_volume_that_state_would_get(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    assert f"{project.name}_dm-cache" in project.dm("up", "-d", "--dry-run").stderr


def test_a_dry_run_of_down_with_volumes_keeps_nothing_and_removes_nothing(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "precious")
    cache_only.redis().save()
    before = cache_only.json("reflog")
    cache_only.dm("down", "-v", "--dry-run")
    assert cache_only.json("reflog") == before
    assert volumes_of(cache_only) == {f"{cache_only.name}_dm-cache"}
    assert cache_only.redis().get("note") == "precious"


def test_reset_dry_run_prints_steps_with_causes_and_does_nothing(cache_only: TestProject) -> None:
    before = cache_only.started_at("cache")
    cache_only.redis().set("note", "x")
    cache_only.redis().save()
    done = cache_only.dm("reset", "--dry-run")
    lines = done.stdout.splitlines()
    assert lines[0] == "1. kill cache: cache differs"
    assert [line.split()[1] for line in lines] == ["kill", "restore", "sync", "start", "await"]
    assert cache_only.started_at("cache") == before
    assert cache_only.redis().get("note") == "x"


def test_engines_own_writes_at_an_up_are_no_reason_to_refuse_and_a_users_are(webapp: TestProject) -> None:
    webapp.dm("down")
    webapp.dm("reset", "--hard")
    webapp.dm("up", "-d")
    words = {s["name"]: s["state"] for s in webapp.json("status")["subdots"]}
    assert words == dict.fromkeys(("db-data", "cache"), "housekeeping only") | {n: w for n, w in words.items() if w == "clean"}
    webapp.dm("reset")
    webapp.dm("down")
    webapp.dm("up", "-d")
    webapp.sql("insert into notes values ('mine')")
    assert {s["name"]: s["state"] for s in webapp.json("status")["subdots"]}["db-data"] == "written to"
    assert webapp.dm("reset", check=False).returncode == 7
    webapp.dm("down")
    webapp.dm("up", "-d", "--wait")
    assert {s["name"]: s["state"] for s in webapp.json("status")["subdots"]}["db-data"] == "written to"
    webapp.dm("reset", "--hard")


def test_an_up_that_is_told_to_do_more_runs_once(webapp: TestProject) -> None:
    webapp.dm("down")
    webapp.dm("reset", "--hard")
    webapp.dm("up", "-d", "--force-recreate")
    webapp.wait_ready()
    first = webapp.started_at("db")
    webapp.dm("up", "-d")
    assert webapp.started_at("db") == first


def test_while_another_program_of_the_stack_runs_no_write_counts_as_the_engines_own(new_project: NewProject) -> None:
    postgres = {"image": "dm-example/postgres:15", "pull_policy": "never", "environment": {"POSTGRES_PASSWORD": "webapp"}}
    project = new_project({"services": {"db": postgres, "app": IDLE}})
    project.dm("up", "-d", "--wait")
    project.dm("commit", "-m", "seed")
    project.compose("kill", "db")
    project.dm("up", "-d", "--wait")
    assert [s["state"] for s in project.json("status")["subdots"]] == ["written to"]
    project.dm("reset", "--hard")
    project.compose("kill", "db", "app")
    project.dm("up", "-d")
    assert [s["state"] for s in project.json("status")["subdots"]] == ["housekeeping only"]


def test_down_takes_the_volumes_of_both_names_of_a_service(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d", "--wait")
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.dm("down")
    project.write({"services": {"store": REDIS}})
    project.dm("up", "-d", "--wait")
    project.write({"services": {"store": {**REDIS, "x-dotmesh": {"subdot": "cache"}}}})
    assert volumes_of(project) == {f"{project.name}_dm-cache", f"{project.name}_dm-store"}
    project.dm("down", "-v")
    assert volumes_of(project) == set()


def test_nothing_that_runs_is_not_called_ready_and_a_program_that_has_ended_is_told(new_project: NewProject) -> None:
    mounts = {**IDLE, "volumes": ["uploads:/uploads"]}
    web = {**mounts, "command": ["sh", "-c", "sleep 2; test -e /uploads/crash && exit 3; exec sleep 600"]}
    slow = {**mounts, "command": ["sh", "-c", "rm -f /tmp/up; sleep 6; touch /tmp/up; exec sleep 600"]}
    slow["healthcheck"] = {"test": ["CMD", "test", "-e", "/tmp/up"], "interval": "1s", "retries": 100}
    project = new_project({"services": {"web": web, "slow": slow}, "volumes": {"uploads": {}}})
    project.dm("up", "-d")
    project.dm("commit", "-m", "sound")
    assert project.json("status")["running"] is True
    project.dm("exec", "web", "touch", "/uploads/crash")
    project.dm("commit", "-m", "crashing")
    told = project.dm("reset", "--hard").stderr
    assert "slow: ready, " in told
    assert "web: started, " in told
    assert "web: ready" not in told
    assert f"web was started, and is exited (3): `docker logs {project.name}-web-1` says why" in told
    project.compose("stop", "-t", "0")
    for service in ("web", "slow"):
        eventually(lambda service=service: project.state(service) == "exited", f"{service} to end")
    nothing = "no container of the stack runs: `dm-compose up -d` brings it up"
    assert nothing in project.dm("status").stdout
    done = project.dm("reset", "--hard", "HEAD^").stdout
    assert "all subdots are empty, as they were, done after" in done
    assert nothing in done
    assert project.json("reset", "--hard")["running"] is False


def generated(project: TestProject) -> list[Path]:
    return list((project.directory.parent / "state" / "dm-compose").glob(f"{project.name}-{'?' * 12}"))


def test_a_worktree_is_listed_with_its_project_and_takes_its_generated_file_along(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d")
    project.dm("commit", "-m", "seed")
    project.dm("worktree", "add", "second")
    second = project.in_project(f"{project.name}-second")
    second.dm("create")
    assert {w["name"]: w["project"] for w in second.json("worktree", "list")} == {"main": project.name, "second": second.name}
    assert re.search(rf" {project.name}$", project.dm("worktree", "list").stdout, re.MULTILINE)
    second.dm("down")
    assert generated(second)
    project.dm("worktree", "remove", "--force", "second")
    assert generated(second) == []
    assert generated(project)


def test_the_generated_file_goes_with_the_stack_or_its_dot(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("create")
    project.dm("commit", "-m", "empty")
    project.dm("down", "-v")
    assert generated(project) == []
    project.dm("create")
    project.compose("down")
    client = docker.from_env()
    client.volumes.get(f"{project.name}_dm-cache").remove()
    client.close()
    assert generated(project)
    assert project.command(DM, "dot", "delete", "-f", project.name).stderr == f"dot {project.name} is deleted\n"
    assert generated(project) == []
