"""The engine's API as methods that return plain data, raise our errors, and decide nothing."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import docker.errors
import requests.exceptions

from dm_compose.core.at_once import at_once, in_time
from dm_compose.core.containers import Container, EngineEvent, EngineFacts, Image, Mount, Resource
from dm_compose.core.labels import PROJECT_LABEL, is_helper
from dm_compose.core.overlap import overlap, within
from dm_compose.engine import pauses
from dm_compose.engine.calls import API_TIMEOUT_S, QuickApi, connect, engine_errors
from dm_compose.engine.ourselves import Route, Whereabouts, own_file
from dm_compose.engine.reading import read_container, read_event, read_image, read_mounts
from dm_compose.engine.volumes import EngineVolumes
from dm_compose.errors import EngineError, NotFoundError, NotReadyError

EVENTS_KEPT = 256  # `eventsLimit` in daemon/events/events.go, 20.10 to 29
PARALLEL_CALLS = 8
RUN_TIMEOUT_S = 600.0
_THAW_AFTER_S = 1.0  # the engine thaws what it kills, unless it does not know yet that it is frozen (pauses.py)
STOP_TIMEOUT_S = 60  # a datastore writes its memory to its files first


def engine_answers(timeout_s: int) -> bool:
    """Whether the engine answers within `timeout_s`. An engine that is starting accepts connections, but answers only when up."""
    try:
        client = connect(timeout=timeout_s)
        try:
            client.ping()
        finally:
            client.close()
    except (EngineError, docker.errors.DockerException, requests.exceptions.RequestException):
        return False
    return True


class Engine(EngineVolumes):
    """The Docker Engine that the docker CLI would use: see calls.connect. Thread-safe.

    Every method raises EngineError when the engine does not answer or refuses.
    """

    def __init__(self) -> None:
        with engine_errors():
            client = connect(timeout=API_TIMEOUT_S, max_pool_size=PARALLEL_CALLS * 2)
            super().__init__(client.api)
            self._facts: EngineFacts | None = None
            self._whereabouts: Whereabouts | None = None
            self._route: Route | None = None
            self._shown: dict[str, bool] = {}
            self._directories: dict[str, str] = {}
            self._api.ping()
        self._quick = QuickApi(self._api)

    def close(self) -> None:
        """Close the connections. A process that is about to end need not call this."""
        self._api.close()
        self._quick.close()

    def facts(self) -> EngineFacts:
        """Return the engine's version, platform and address. The engine is asked once."""
        if self._facts is None:
            with engine_errors("asking for the engine's version"):
                info = self._api.info()
            endpoint = str(self._api.base_url)
            self._facts = EngineFacts(
                endpoint="unix socket" if endpoint.startswith("http+docker://") and "ssh" not in endpoint else endpoint,
                version=info["ServerVersion"],
                architecture=info["Architecture"],
                operating_system=info["OperatingSystem"],
                local=endpoint == "http+docker://localhost" and "Docker Desktop" not in info["OperatingSystem"],
                root=info["DockerRootDir"],
                remaps_users=any("name=userns" in option for option in info.get("SecurityOptions") or ()),
            )
        return self._facts

    # Looking

    def containers(self, project: str | None = None, *, places: Iterable[str] = (), overlapping: bool = False) -> list[Container]:
        """Return the containers of a Compose project and those that mount one of `places`, running or not.

        With `overlapping` also those that mount a directory above or below one. Containers that dm-compose made for itself are
        left out.
        """
        wanted = set(places)
        with engine_errors("listing containers"):
            rows = self._api.containers(all=True)
        directories = {self.directory(place) for place in wanted} if overlapping else set()
        found = []
        for row in rows:
            labels, mounts = row["Labels"] or {}, read_mounts(row["Mounts"])
            if is_helper(row["Names"][0] if row["Names"] else "", labels):
                continue
            if (project is not None and labels.get(PROJECT_LABEL) == project) or any(
                m.place in wanted or any(overlap(self.mounted(m, directories), d) for d in directories) for m in mounts
            ):
                found.append(row["Id"])
        return self._inspected(found)

    def directory(self, place: str) -> str:
        """Return the directory of a volume or host path, as mounts are compared. The engine is asked once about each volume.

        It is free of symbolic links if the engine is on this machine. '' where there is no such volume.
        """
        if place not in self._directories:
            volume = None if place.startswith("/") else self.volume(place)
            found = place if place.startswith("/") else volume.directory if volume is not None else ""
            self._directories[place] = os.path.realpath(found) if found and self.facts().local else found
        return self._directories[place]

    def mounted(self, mount: Mount, beside: Collection[str]) -> str:
        """Return the directory of a mount, to be compared with the directories `beside`.

        A local volume may bind a directory anywhere, so the engine is asked about it, but only where a directory in question is
        outside the engine's own: else it would be asked about every volume of the machine. It is not asked about volumes of other
        drivers, because that takes 15 s where a driver has gone.
        """
        inside = f"{self.facts().root}/volumes"
        if mount.kind == "volume" and (not within(mount.source, inside) or all(within(d, inside) for d in beside)):
            return mount.source
        return self.directory(mount.place)

    def containers_of_driver(self, driver: str) -> list[Container]:
        """Return all containers that have a volume of a driver, running or not."""
        with engine_errors("listing containers"):
            rows = self._api.containers(all=True)
        return self._inspected([row["Id"] for row in rows if any(m.get("Driver") == driver for m in row["Mounts"])])

    def running(self) -> list[Container]:
        """Return all containers of the engine whose processes exist, frozen or not."""
        with engine_errors("listing containers"):
            rows = self._api.containers()
        return [c for c in self._inspected([row["Id"] for row in rows]) if c.running]

    def events(self, since_ns: int, until_ns: int) -> list[EngineEvent]:
        """Return the events of a time span that the engine still remembers, in its order. It keeps its latest EVENTS_KEPT.

        The events of an API call are there before the call returns. The event of a process that ends by itself may come later.
        `until_ns` must not be in the future.
        """
        path = f"/events?since={_seconds(since_ns)}&until={_seconds(until_ns)}"
        with engine_errors("asking for events"):
            text = self._quick.get(path)
        return [read_event(json.loads(line)) for line in text.splitlines() if line]

    def running_commands(self, container_id: str) -> list[tuple[str, ...]]:
        """Return the commands that run in a container by exec now, health checks included. NotFoundError when it is gone."""
        with engine_errors(f"looking for commands in container {container_id[:12]}"):
            found = json.loads(self._quick.get(f"/containers/{container_id}/json"))["ExecIDs"] or ()
            commands = []
            for exec_id in found:
                with contextlib.suppress(docker.errors.NotFound):  # it has ended
                    looked = self._api.exec_inspect(exec_id)
                    if looked["Running"]:
                        process = looked["ProcessConfig"]
                        commands.append((process["entrypoint"], *(process["arguments"] or ())))
        return commands

    def lifeline(self, container: Container) -> str:
        """Say why this process could not go on without a container. '' if it could."""
        if self._whereabouts is None:
            self._whereabouts = Whereabouts.here()
        found = self._whereabouts.is_in(container)
        if found is None:
            found = self._shows_our_files(container)
        if found:
            return "dm-compose runs in it"
        if self._route is None:
            self._route = Route.of(str(self._api.base_url), self._quick.socket_path)
        return "the Docker Engine is reached through it" if self._route.leads_through(container) else ""

    def _shows_our_files(self, container: Container) -> bool:
        """Whether a file that we make in our root is in the container too. True if we cannot make one that would tell."""
        if (known := self._shown.get(container.id)) is None:
            hidden = [m.target.rstrip("/") for m in container.mounts]
            with own_file(hidden) as path:
                known = self._shown[container.id] = path is None or self._has_path(container.id, path)
        return known

    def _inspected(self, container_ids: list[str]) -> list[Container]:
        found = at_once(self._inspect_or_none, container_ids, most=PARALLEL_CALLS)
        return sorted((c for c in found if c is not None), key=lambda c: (c.service, c.name))

    def container(self, container_id: str) -> Container:
        """Return one container. NotFoundError when it is gone."""
        with engine_errors(f"inspecting container {container_id[:12]}"):
            return read_container(json.loads(self._quick.get(f"/containers/{container_id}/json")))

    def _inspect_or_none(self, container_id: str) -> Container | None:
        try:
            return self.container(container_id)
        except NotFoundError:
            return None

    def image(self, reference: str) -> Image | None:
        """Return an image, or None when the engine does not have it."""
        try:
            with engine_errors(f"inspecting image {reference}"):
                found = self._api.inspect_image(reference)
        except NotFoundError:
            return None
        return read_image(reference, found)

    def labelled(self, label: str, *, volumes: bool = True) -> list[Resource]:
        """Return everything that has a label, in the order in which it can be removed: containers, networks, volumes.

        Without `volumes` these are left out: listing them takes as long as `volumes_of_driver` when a plugin has gone.
        """
        filters = {"label": label}
        with engine_errors(f"listing what is labelled {label}"):
            containers = self._api.containers(all=True, filters=filters)
            networks = self._api.networks(filters=filters)
            listed = (self._api.volumes(filters=filters)["Volumes"] or []) if volumes else []
        found = [("container", c["Id"], c["Names"][0].lstrip("/"), c) for c in containers]
        found += [("network", n["Id"], n["Name"], n) for n in networks]
        found += [("volume", v["Name"], v["Name"], v) for v in listed]
        return [Resource(kind, id_, name, about["Labels"] or {}) for kind, id_, name, about in found]

    def logs(self, container_id: str, lines: int) -> str:
        """Return the last lines of a container's log. '' where its log driver cannot be read, or the container is gone."""
        try:
            with engine_errors("reading a log"):
                data: bytes = self._api.logs(container_id, tail=lines)
        except (EngineError, NotFoundError):
            return ""
        return data.decode(errors="replace")

    # Acting

    def pause(self, container_id: str) -> None:
        """Freeze a running container. An error also when somebody else has frozen it."""
        pauses.pause(self._api, container_id)

    def unpause(self, container_id: str) -> None:
        """Thaw a container, and return when it is thawed. Does nothing when it is not frozen or is gone."""
        pauses.unpause(self._api, container_id)

    def kill(self, container_id: str) -> None:
        """Take a container down by SIGKILL and return when it is down. Does nothing when it is down or gone already.

        The engine remembers the order, so `restart: always` does not bring the container back.
        """
        thaw = threading.Timer(_THAW_AFTER_S, self._thaw_what_dies, [container_id])
        thaw.start()
        try:
            with engine_errors(f"killing container {container_id[:12]}"):
                self._api.kill(container_id)
                self._api.wait(container_id, timeout=API_TIMEOUT_S, condition="not-running")
        except NotFoundError:
            return
        except EngineError as error:
            if "is not running" not in error.message:
                raise
        finally:
            thaw.cancel()

    def _thaw_what_dies(self, container_id: str) -> None:
        with contextlib.suppress(EngineError):  # `kill` tells what is wrong
            self.unpause(container_id)

    def signal(self, container_id: str, number: int) -> None:
        """Send a signal to a container's first process."""
        with engine_errors(f"signalling container {container_id[:12]}"):
            self._api.kill(container_id, number)

    def processes(self, container_id: str) -> list[list[str]]:
        """Return a row for each process of a container: pid and parent's pid on the engine's host, state, name."""
        with engine_errors(f"listing the processes of container {container_id[:12]}"):
            rows: list[list[str]] = self._api.top(container_id, "-eo pid,ppid,stat,comm")["Processes"]
        return rows

    def command_lines(self, container_id: str) -> list[tuple[int, int, list[str]]]:
        """Return for each process of a container: pid and parent's pid on the engine's host, and its command line."""
        with engine_errors(f"listing the processes of container {container_id[:12]}"):
            rows: list[list[str]] = self._api.top(container_id, "-eo pid,ppid,args")["Processes"]
        return [(int(pid), int(parent), words.split()) for pid, parent, words in rows]

    def memory_bytes(self, container_id: str) -> int | None:
        """Return the memory that a container holds, without the cached contents of files. None where that is not known."""
        with engine_errors(f"asking for the memory of container {container_id[:12]}"):
            found = self._api.stats(container_id, stream=False, one_shot=True).get("memory_stats") or {}
        stats = found.get("stats") or {}
        from_disk = stats.get("total_inactive_file", stats.get("inactive_file", 0))
        return int(found["usage"]) - int(from_disk) if "usage" in found else None

    def stop(self, container_id: str, timeout_s: int = STOP_TIMEOUT_S) -> None:
        """Ask a container to shut down and wait until it has. The engine kills it after `timeout_s`."""
        with engine_errors(f"stopping container {container_id[:12]}"):
            self._api.stop(container_id, timeout=timeout_s)

    def start(self, container_id: str) -> None:
        """Start a stopped container. Does nothing when it runs."""
        with engine_errors(f"starting container {container_id[:12]}"):
            self._api.start(container_id)

    @contextlib.contextmanager
    def scratch_container(self, image: str, entrypoint: Sequence[str], labels: Mapping[str, str]) -> Iterator[Container]:
        """Run a container without network or volumes for as long as the block lasts, and remove it."""
        host = self._api.create_host_config(network_mode="none")
        with self._momentary("doctor", image, entrypoint=list(entrypoint), command=[], host_config=host, labels=labels) as made:
            self.start(made)
            yield self.container(made)

    def remove(self, resource: Resource) -> None:
        """Remove a container (by force, with its anonymous volumes), a network or a volume. Does nothing when it is gone."""
        if resource.kind == "volume":
            self.remove_volume(resource.id)
            return
        try:
            with engine_errors(f"removing {resource.kind} {resource.name}"):
                if resource.kind == "container":
                    self._api.remove_container(resource.id, force=True, v=True)
                else:
                    self._api.remove_network(resource.id)
        except NotFoundError:
            return
        except EngineError as error:
            if "already in progress" not in error.message:
                raise

    def run(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        user: str = "",
        environment: Mapping[str, str] | None = None,
        timeout_s: float = RUN_TIMEOUT_S,
    ) -> tuple[int, str]:
        """Run a command in a running container; return its exit code and its output, standard error included.

        NotReadyError when the command has not ended after `timeout_s`. It goes on in the container, because the engine has no way
        to end it.
        """

        def work() -> tuple[int, str]:
            with engine_errors(f"running {command[0]} in container {container_id[:12]}"):
                created = self._api.exec_create(container_id, list(command), user=user, environment=dict(environment or {}))
                output: bytes = self._api.exec_start(created["Id"])  # waits without a limit
                code = self._api.exec_inspect(created["Id"])["ExitCode"]
            return int(code), output.decode(errors="replace")

        try:
            return in_time(work, timeout_s)
        except TimeoutError:
            raise NotReadyError(
                f"waited {timeout_s:.0f} s for `{' '.join(command[:4])}` in container {container_id[:12]}, which did not end"
            ) from None


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"
