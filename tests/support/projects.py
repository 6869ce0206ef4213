"""Compose projects of the tests: every resource labelled, cleaned up by id, leftovers of killed runs swept."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import docker
import psycopg
import pymongo.errors
import pymysql
import redis
import yaml

from dm_compose.compose import ComposeOptions
from dm_compose.core.events import Event
from dm_compose.core.variables import Variables
from dm_compose.dots.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNS = Path(__file__).parents[2] / ".dev" / "test-runs"
LABEL = "dm-test.run"
T = TypeVar("T")
_NOT_YET = (
    OSError,
    psycopg.Error,
    pymongo.errors.PyMongoError,
    pymysql.Error,
    redis.RedisError,
    subprocess.CalledProcessError,
)


class RedisClient(redis.Redis):
    """Has a connection per command, closed with its answer.

    A client of the library refers to itself, so a forgotten one is closed when the garbage collector comes: to the witness of a
    later test that is a packet from outside.
    """

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*arguments, **options)
        finally:
            self.connection_pool.disconnect()


def eventually(check: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """Return what `check` returns once it is true and raises nothing; AssertionError names what was waited for."""
    deadline = time.monotonic() + timeout_s
    problem: object = None
    while time.monotonic() < deadline:
        try:
            if result := check():
                return result
        except _NOT_YET as error:
            problem = error
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout_s:.0f} s for {what}; last error: {problem}")


@dataclass
class Run:
    """One test run: the names of the projects it makes are on record before they exist, so that a later run can sweep them."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    projects: list[str] = field(default_factory=list)

    @property
    def record(self) -> Path:
        return RUNS / f"{self.id}.json"

    @property
    def prefix(self) -> str:
        """How the names of all its projects begin."""
        return f"dmt{self.id}-"

    def new_project(self, name: str) -> str:
        project = f"{self.prefix}{len(self.projects)}-{name}"
        self.projects.append(project)
        RUNS.mkdir(parents=True, exist_ok=True)
        self.record.write_text(
            json.dumps({"pid": os.getpid(), "start": _start_of(os.getpid()), "id": self.id, "projects": self.projects})
        )
        return project

    def finish(self) -> None:
        remove_leftovers(self.id, self.projects)
        self.record.unlink(missing_ok=True)


def _start_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return ""


def sweep_dead_runs() -> None:
    """Remove what runs left whose process is gone."""
    for record in RUNS.glob("*.json"):
        run = json.loads(record.read_text())
        if _start_of(run["pid"]) != run["start"]:
            remove_leftovers(run["id"], run["projects"])
            record.unlink(missing_ok=True)


def remove_leftovers(run_id: str | None, projects: list[str]) -> None:
    """Remove containers, networks and volumes of these projects, and of a whole run by its label."""
    client = docker.from_env()
    filters = [*([f"{LABEL}={run_id}"] if run_id else []), *(f"com.docker.compose.project={p}" for p in projects)]
    for label in filters:
        for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
            container.remove(force=True, v=True)
    for label in filters:
        for network in client.networks.list(filters={"label": label}):
            network.remove()
        for volume in client.volumes.list(filters={"label": label}):
            volume.remove(force=True)
    client.close()


@dataclass
class TestProject:
    """A Compose project under test: its file in a directory of its own, a store of its own, and clients for its datastores."""

    __test__ = False
    name: str
    directory: Path
    home: Path
    run_id: str
    seed: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.directory / "compose.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that keep dm-compose away from the user's own store and files."""
        return {"DM_HOME": str(self.home), "XDG_STATE_HOME": str(self.directory.parent / "state")}

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the compose file; every service, network and volume in it gets the run's label, and the project its name."""
        document = json.loads(json.dumps(document))
        document["name"] = self.name
        for section in ("services", "volumes"):
            for key, value in (document.get(section) or {}).items():
                document[section][key] = {**(value or {}), "labels": {LABEL: self.run_id}}
        for value in (document.get("volumes") or {}).values():
            if value.get("external"):
                del value["labels"]
        document.setdefault("networks", {}).setdefault("default", {"labels": {LABEL: self.run_id}})
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    @property
    def variables(self) -> Variables:
        """The variables that dm-compose goes by in this project."""
        return Variables.of({**os.environ, **self.environment})

    def stack(self) -> Stack:
        """Return the façade, in this process."""
        return Stack(ComposeOptions(files=(str(self.file),)), self.variables, self.events.append)

    def in_project(self, name: str) -> TestProject:
        """Return the same files and store as another Compose project."""
        return replace(self, name=name)

    def dm(self, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run dm-compose as a user does."""
        return self.command("dm-compose", "-f", str(self.file), "-p", self.name, *words, check=check, **environment)

    def command(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program with this project's store, in a directory without a compose file."""
        env = {**os.environ, **self.environment, **environment}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=170, check=False, cwd=self.home.parent)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *words: str, **environment: str) -> Any:
        """Run dm-compose with --json and return what it prints."""
        return json.loads(self.dm(*words, "--json", **environment).stdout)

    def compose(self, *words: str, check: bool = True) -> str:
        """Run plain docker compose."""
        command = ["docker", "compose", "-f", str(self.file), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def down(self) -> None:
        """Take the stack down. Volumes with a name stay; those without one, of images that hold no state there, go."""
        self.compose("rm", "--force", "--stop", "--volumes")
        self.dm("down")

    # The engine's view

    def container(self, service: str) -> Any:
        """Return docker-py's attributes of the service's container."""
        client = docker.from_env()
        try:
            filters = {"label": [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]}
            (found,) = client.containers.list(all=True, filters=filters)
            return found.attrs
        finally:
            client.close()

    def state(self, service: str) -> str:
        state = self.container(service)["State"]
        return "paused" if state["Paused"] else str(state["Status"])

    def started_at(self, service: str) -> str:
        return str(self.container(service)["State"]["StartedAt"])

    def address(self, service: str) -> str:
        networks = self.container(service)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    # Clients

    def postgres(self, service: str = "db") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.address(service),
            user="postgres",
            password="webapp",
            autocommit=True,
            connect_timeout=5,  # type: ignore[arg-type]
        )

    def sql(self, statement: str, service: str = "db") -> list[tuple[Any, ...]]:
        with self.postgres(service) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def redis(self, service: str = "cache") -> redis.Redis:
        return RedisClient(self.address(service), decode_responses=True, socket_timeout=10)

    def wait_ready(self) -> None:
        """Wait until Postgres and Redis answer, where the project has them."""
        services = yaml.safe_load(self.file.read_text())["services"]
        if "db" in services:
            eventually(lambda: self.sql("select 1"), "postgres")
        if "cache" in services:
            eventually(lambda: self.redis().ping(), "redis")


def project_in(directory: Path, run: Run, name: str, document: Mapping[str, Any]) -> Iterator[TestProject]:
    """Make a project with its own directory and store, and remove it with all it made."""
    project_name = run.new_project(name)
    (directory / "project").mkdir(parents=True)
    project = TestProject(project_name, directory / "project", directory / "home", run.id)
    project.write(document)
    try:
        yield project
    finally:
        remove_leftovers(None, [project_name])


def example(name: str) -> dict[str, Any]:
    """Return an example's compose file as data, its relative bind sources made absolute."""
    path = EXAMPLES / name
    document = yaml.safe_load(path.read_text())
    for service in document["services"].values():
        mounts = service.get("volumes") or []
        service["volumes"] = [str(path.parent / m[2:]) if isinstance(m, str) and m.startswith("./") else m for m in mounts]
    return dict(document)
