"""The engine's API in our words: plain data out, our errors, no decisions."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import socket
import tarfile
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import docker.errors
import requests.exceptions
from docker.transport import UnixHTTPAdapter

from dm_compose.core.containers import Container, EngineEvent, EngineFacts, Image, Mount, Resource, Volume
from dm_compose.errors import EngineError, ExistsError, NotFoundError

API_TIMEOUT_S = 60
EVENTS_KEPT = 256  # `eventsLimit` in daemon/events/events.go, 20.10 to 29
PARALLEL_CALLS = 8
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
ROLE_LABEL = "dev.dotmesh.role"  # on every container and volume that dm-compose makes for itself
RESPAWN_LABEL = "dev.dotmesh.respawn"  # on containers whose first process is supervisor.SCRIPT
_MADE_LABEL = "dev.dotmesh.made"  # tells a volume that was made just now from one of the same name
_START_HINT = "Start Docker, or check DOCKER_HOST, DOCKER_CONTEXT and your permissions on its socket (`docker info`)."


@contextlib.contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn docker-py's errors of the block into EngineError, or NotFoundError for what does not exist."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise NotFoundError(f"{doing}: {error.explanation or error}") from None
    except docker.errors.APIError as error:
        raise EngineError(f"{doing}: {error.explanation or error}") from None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"{doing}: the Docker Engine does not answer ({error})", hint=_START_HINT) from None


def engine_answers(timeout_s: int) -> bool:
    """Whether the engine answers at all within some time. One that starts accepts connections, and answers when it is up."""
    try:
        client = docker.from_env(timeout=timeout_s)
        try:
            client.ping()
        finally:
            client.close()
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return False
    return True


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=API_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __del__(self) -> None:
        self.close()  # as the connections of docker-py do it, should nobody close the engine


class Engine:
    """One Docker Engine: the one the docker CLI would use (DOCKER_HOST, else the current context). Thread-safe."""

    def __init__(self) -> None:
        with engine_errors("connecting"):
            client = docker.from_env(timeout=API_TIMEOUT_S, max_pool_size=PARALLEL_CALLS * 2)
            self._api: Any = client.api  # its stubs lack several calls
            self._facts: EngineFacts | None = None
            self._api.ping()
        self._quick: _UnixConnection | None = None
        self._quick_lock = threading.Lock()

    def close(self) -> None:
        """Give the connections back. Not needed in a process that ends anyway."""
        self._api.close()
        if self._quick is not None:
            self._quick.close()

    def facts(self) -> EngineFacts:
        """Version, platform and address; asked once."""
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
            )
        return self._facts

    # Looking

    def containers(self, project: str | None = None, *, places: Iterable[str] = ()) -> list[Container]:
        """Return all containers, running or not, of a Compose project and those that mount one of `places`; not dm-compose's
        helpers.
        """
        wanted = set(places)
        with engine_errors("listing containers"):
            rows = self._api.containers(all=True)
        mine = [
            row["Id"]
            for row in rows
            if ROLE_LABEL not in (row["Labels"] or {})
            and (
                (project is not None and (row["Labels"] or {}).get(_PROJECT) == project)
                or any(_place(m) in wanted for m in row["Mounts"])
            )
        ]
        return self._inspected(mine)

    def containers_of_driver(self, driver: str) -> list[Container]:
        """Return all containers, running or not, that have a volume of a driver."""
        with engine_errors("listing containers"):
            rows = self._api.containers(all=True)
        return self._inspected([row["Id"] for row in rows if any(m.get("Driver") == driver for m in row["Mounts"])])

    def running(self) -> list[Container]:
        """Return all containers whose processes exist, whoever's they are."""
        with engine_errors("listing containers"):
            rows = self._api.containers()
        return [c for c in self._inspected([row["Id"] for row in rows]) if c.running]

    def events(self, since_ns: int, until_ns: int) -> list[EngineEvent]:
        """Return what the engine remembers of a time span, in its order: never more than its EVENTS_KEPT latest events.

        An API call's events are there before the call returns; a process that ends by itself may be there later. `until_ns` must
        not be in the future.
        """
        path = f"/events?since={_seconds(since_ns)}&until={_seconds(until_ns)}"
        with engine_errors("asking for events"):
            text = self._quick_get(path)
        return [_event(json.loads(line)) for line in text.splitlines() if line]

    def running_commands(self, container_id: str) -> list[tuple[str, ...]]:
        """Return the commands that run in a container by exec now, health checks among them; NotFoundError when it is gone."""
        with engine_errors(f"looking for commands in container {container_id[:12]}"):
            found = json.loads(self._quick_get(f"/containers/{container_id}/json"))["ExecIDs"] or ()
            commands = []
            for exec_id in found:
                with contextlib.suppress(docker.errors.NotFound):  # it has ended
                    looked = self._api.exec_inspect(exec_id)
                    if looked["Running"]:
                        process = looked["ProcessConfig"]
                        commands.append((process["entrypoint"], *(process["arguments"] or ())))
        return commands

    def _quick_get(self, path: str) -> bytes:
        """Ask over a connection of our own where the engine has a unix socket: docker-py takes 2 ms longer."""
        adapter = self._api.get_adapter(self._api.base_url)
        if not isinstance(adapter, UnixHTTPAdapter):
            answer = self._api.get(f"{self._api.base_url}/v{self._api.api_version}{path}")
            self._api._raise_for_status(answer)
            return bytes(answer.content)
        with self._quick_lock:
            try:
                for fresh in (False, True):  # the engine may have closed a connection that was idle
                    if self._quick is None or fresh:
                        self._quick = _UnixConnection(adapter.socket_path)
                    try:
                        self._quick.request("GET", f"/v{self._api.api_version}{path}")
                        response = self._quick.getresponse()
                        break
                    except (http.client.HTTPException, ConnectionError):
                        self._quick.close()
                        if fresh:
                            raise
                data = response.read()
            except (http.client.HTTPException, OSError) as error:
                self._quick = None
                raise docker.errors.DockerException(str(error)) from error
        if response.status == http.client.NOT_FOUND:
            raise docker.errors.NotFound(data.decode(errors="replace"))
        if response.status != http.client.OK:
            raise docker.errors.DockerException(data.decode(errors="replace"))
        return data

    def _inspected(self, container_ids: list[str]) -> list[Container]:
        with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
            found = pool.map(self._inspect_or_none, container_ids)
            return sorted((c for c in found if c is not None), key=lambda c: (c.service, c.name))

    def container(self, container_id: str) -> Container:
        """Return one container; NotFoundError when it is gone."""
        with engine_errors(f"inspecting container {container_id[:12]}"):
            return _container(json.loads(self._quick_get(f"/containers/{container_id}/json")))

    def _inspect_or_none(self, container_id: str) -> Container | None:
        try:
            return self.container(container_id)
        except NotFoundError:
            return None

    def image(self, reference: str) -> Image | None:
        """Return an image that the engine has, None when it has not."""
        try:
            with engine_errors(f"inspecting image {reference}"):
                found = self._api.inspect_image(reference)
        except NotFoundError:
            return None
        return _image(reference, found)

    def volume(self, name: str) -> Volume | None:
        """Return a volume, None when there is no such volume."""
        try:
            with engine_errors(f"inspecting volume {name}"):
                found = self._api.inspect_volume(name)
        except NotFoundError:
            return None
        options = found.get("Options") or {}
        bound = options.get("device") if "bind" in (options.get("o") or "").split(",") else None
        return Volume(found["Name"], found["Driver"], bound or found["Mountpoint"], found.get("Labels") or {}, options)

    def volumes_of_driver(self, driver: str) -> list[str]:
        """Return the names of a driver's volumes, sorted. The engine looks for plugins and asks each one it knows: that takes
        15 s when one of them has gone.
        """
        with engine_errors("listing volumes"):
            found = self._api.volumes(filters={"driver": driver})["Volumes"]
        return sorted(volume["Name"] for volume in found or () if volume["Driver"] == driver)

    def labelled(self, label: str, *, volumes: bool = True) -> list[Resource]:
        """Return everything that has a label, in the order in which it can be removed: containers, networks, volumes.

        Listing volumes takes as long as `volumes_of_driver` when a plugin has gone, so they can be left out.
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

    def volume_drivers(self) -> list[str]:
        """Return the volume drivers that the engine has met since it started. Asks none of them."""
        with engine_errors("asking for the engine's plugins"):
            return sorted(self._api.info()["Plugins"]["Volume"] or ())

    def logs(self, container_id: str, lines: int) -> str:
        """Return the last lines of a container's log, '' where its log driver cannot be read."""
        try:
            with engine_errors("reading a log"):
                data: bytes = self._api.logs(container_id, tail=lines)
        except (EngineError, NotFoundError):
            return ""
        return data.decode(errors="replace")

    # Acting

    def pause(self, container_id: str) -> None:
        """Freeze a running container. On a busy machine runc may give up and undo it, so it is asked a few times."""
        for last in (False, False, True):
            try:
                with engine_errors(f"pausing container {container_id[:12]}"):
                    self._api.pause(container_id)
                return
            except EngineError as error:
                if last or "unable to freeze" not in error.message:
                    raise

    def unpause(self, container_id: str) -> None:
        """Thaw a container; one that is not frozen, or gone, is left alone."""
        try:
            with engine_errors(f"resuming container {container_id[:12]}"):
                self._api.unpause(container_id)
        except NotFoundError:
            return
        except EngineError as error:
            if "not paused" not in error.message and "not running" not in error.message:
                raise

    def kill(self, container_id: str) -> None:
        """Take a container down by SIGKILL and return when it is down; one that is down or gone is left alone.

        The engine remembers that it was told to: `restart: always` does not bring the container back.
        """
        try:
            with engine_errors(f"killing container {container_id[:12]}"):
                self._api.kill(container_id)
                self._api.wait(container_id, timeout=API_TIMEOUT_S, condition="not-running")
        except NotFoundError:
            return
        except EngineError as error:
            if "is not running" not in error.message:
                raise

    def signal(self, container_id: str, number: int) -> None:
        """Send a signal to a container's first process."""
        with engine_errors(f"signalling container {container_id[:12]}"):
            self._api.kill(container_id, number)

    def processes(self, container_id: str) -> list[list[str]]:
        """Return pid and parent's pid on the engine's host, state and name of each process of a container."""
        with engine_errors(f"listing the processes of container {container_id[:12]}"):
            rows: list[list[str]] = self._api.top(container_id, "-eo pid,ppid,stat,comm")["Processes"]
        return rows

    def memory_bytes(self, container_id: str) -> int | None:
        """Return how much memory a container holds, files that are read from a disk not counted; None where that is not known."""
        with engine_errors(f"asking for the memory of container {container_id[:12]}"):
            found = self._api.stats(container_id, stream=False, one_shot=True).get("memory_stats") or {}
        stats = found.get("stats") or {}
        from_disk = stats.get("total_inactive_file", stats.get("inactive_file", 0))
        return int(found["usage"]) - int(from_disk) if "usage" in found else None

    def stop(self, container_id: str, timeout_s: int) -> None:
        """Ask a container to shut down and wait; after `timeout_s` it is killed."""
        with engine_errors(f"stopping container {container_id[:12]}"):
            self._api.stop(container_id, timeout=timeout_s)

    def start(self, container_id: str) -> None:
        """Start a stopped container; a running one is left alone."""
        with engine_errors(f"starting container {container_id[:12]}"):
            self._api.start(container_id)

    def create_volume(self, name: str, labels: Mapping[str, str], options: Mapping[str, str] | None = None) -> Volume:
        """Make a local volume, or return the one of that name. `options` are the driver's."""
        with engine_errors(f"creating volume {name}"):
            self._api.create_volume(name, driver="local", driver_opts=dict(options or {}), labels=dict(labels))
        volume = self.volume(name)
        assert volume is not None
        return volume

    def create_new_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Make a local volume; ExistsError when there is one of that name."""
        mark = uuid.uuid4().hex  # the engine returns a volume that is there, with the labels that it has
        volume = self.create_volume(name, {**labels, _MADE_LABEL: mark})
        if volume.labels.get(_MADE_LABEL) != mark:
            raise ExistsError(f"there is a volume {name} already")
        return volume

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses; one that is gone is left alone."""
        try:
            with engine_errors(f"removing volume {name}"):
                self._api.remove_volume(name)
        except NotFoundError:
            return

    @contextlib.contextmanager
    def scratch_container(self, image: str, entrypoint: Sequence[str], labels: Mapping[str, str]) -> Iterator[Container]:
        """Run a container without network or volumes for as long as the block lasts, and remove it."""
        with engine_errors(f"running a container of {image[:19]}"):
            host = self._api.create_host_config(network_mode="none")
            made = self._api.create_container(
                image, entrypoint=list(entrypoint), command=[], host_config=host, labels={ROLE_LABEL: "doctor", **labels}
            )["Id"]
        try:
            self.start(made)
            yield self.container(made)
        finally:
            self._remove(made)

    def image_has(self, image: str, paths: Sequence[Sequence[str]]) -> bool:
        """Whether an image has, of each of `paths`, at least one."""
        with engine_errors(f"looking into image {image[:19]}"):
            made = self._api.create_container(image, command=["true"], labels={ROLE_LABEL: "copier"})["Id"]
            try:
                return all(any(self._has(made, path) for path in choice) for choice in paths)
            finally:
                self._remove(made)

    def _has(self, container_id: str, path: str) -> bool:
        try:
            data, _ = self._api.get_archive(container_id, path)
        except docker.errors.NotFound:
            return False
        data.close()
        return True

    def remove(self, resource: Resource) -> None:
        """Remove a container by force and with its anonymous volumes, a network, or a volume; what is gone is left alone."""
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

    def has_data(self, container_id: str, path: str) -> bool:
        """Whether there is anything at a path of a container but an empty directory."""
        try:
            with engine_errors(f"looking at {path} in container {container_id[:12]}"):
                data, _ = self._api.get_archive(container_id, self._real_path(container_id, path))
                start = b"".join(itertools.islice(data, 2))
                data.close()
        except NotFoundError:
            return False
        with tarfile.open(fileobj=io.BytesIO(start)) as archive:
            first = archive.next()
            try:
                return first is None or not first.isdir() or archive.next() is not None
            except tarfile.TarError:  # cut off, so there is more
                return True

    def _real_path(self, container_id: str, path: str) -> str:
        """Return where a path of a container leads: a symbolic link is copied as one, but mounted where it points to."""
        data, about = self._api.get_archive(container_id, path)
        data.close()
        return about["linkTarget"] or path

    def copy_into_new_volume(self, container_id: str, path: str, volume: str, labels: Mapping[str, str]) -> None:
        """Make a volume with what a container has at `path`, owners and modes kept.

        ExistsError when there is such a volume, which is left alone. On any other error there is none.
        """
        self.create_new_volume(volume, labels)
        copier = None
        try:
            with engine_errors(f"copying {path} into volume {volume}"):
                path = self._real_path(container_id, path)
                found = self._api.inspect_container(container_id)
                host = self._api.create_host_config(binds=[f"{volume}:{path}:nocopy"])  # not what the image has
                copier = self._api.create_container(found["Image"], host_config=host, labels={ROLE_LABEL: "copier"})["Id"]
                data, _ = self._api.get_archive(container_id, path)
                self._api.put_archive(copier, path.rpartition("/")[0] or "/", data)
        except BaseException:
            try:
                self._remove(copier)
            finally:
                self.remove_volume(volume)
            raise
        self._remove(copier)

    def give_new_volume(self, image: str, path: str, user: str, volume: str, labels: Mapping[str, str]) -> None:
        """Make a volume for a path that an image does not have, owned by the image's `user` (a name or number, as in `user:`).

        Docker itself gives such a mount to root, and a server that runs as somebody else could not write there. Does nothing when
        the image has the path: then Docker copies it, owner and all.
        """
        with engine_errors(f"preparing volume {volume}"):
            copier = self._api.create_container(image, command=["true"], labels={ROLE_LABEL: "copier"})["Id"]
            try:
                if self._read_file(copier, path) is None:
                    uid, gid = _ids(user, self._read_file(copier, "/etc/passwd") or b"")
                    self._remove(copier)
                    self.create_new_volume(volume, labels)
                    host = self._api.create_host_config(binds=[f"{volume}:{path}"])
                    copier = self._api.create_container(image, command=["true"], host_config=host, labels={ROLE_LABEL: "copier"})[
                        "Id"
                    ]
                    self._api.put_archive(
                        copier, path.rpartition("/")[0] or "/", _directory_tar(path.rpartition("/")[2], uid, gid)
                    )
            finally:
                self._remove(copier)

    def _read_file(self, container_id: str, path: str) -> bytes | None:
        """Return the first file at a path of a container, b'' for a directory, None where there is nothing."""
        try:
            data, _ = self._api.get_archive(container_id, path)
        except docker.errors.NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as archive:
            member = archive.next()
            content = archive.extractfile(member) if member is not None and member.isfile() else None
            return content.read() if content is not None else b""

    def _remove(self, container_id: str | None) -> None:
        if container_id is not None:
            with engine_errors("removing a container"):
                self._api.remove_container(container_id, force=True, v=True)

    def run(
        self, container_id: str, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command in a running container; return its exit code and all it printed."""
        with engine_errors(f"running {command[0]} in container {container_id[:12]}"):
            created = self._api.exec_create(container_id, list(command), user=user, environment=dict(environment or {}))
            output: bytes = self._api.exec_start(created["Id"])
            code = self._api.exec_inspect(created["Id"])["ExitCode"]
        return int(code), output.decode(errors="replace")


def _ids(user: str, passwd: bytes) -> tuple[int, int]:
    """Return uid and gid of `name`, `uid`, `name:group` or `uid:gid`, with a container's /etc/passwd; root for what it does
    not know.
    """
    name, _, group = user.partition(":")
    lines = [line.split(":") for line in passwd.decode(errors="replace").splitlines()]
    entry = next((line for line in lines if len(line) > 3 and name in (line[0], line[2])), None)
    uid = int(name) if name.isdigit() else int(entry[2]) if entry else 0
    gid = int(group) if group.isdigit() else int(entry[3]) if entry else 0
    return uid, gid


def _directory_tar(name: str, uid: int, gid: int) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, uid, gid
        archive.addfile(entry)
    return data.getvalue()


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def _event(found: Mapping[str, Any]) -> EngineEvent:
    actor = found.get("Actor") or {}
    return EngineEvent(
        found.get("Type", ""), found.get("Action", ""), actor.get("ID", ""), found["timeNano"], actor.get("Attributes") or {}
    )


def _place(mount: Mapping[str, Any]) -> str:
    return str(mount.get("Name") or mount.get("Source") or "")


def _pairs(environment: Iterable[str] | None) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in environment or ())


def _image(reference: str, found: Mapping[str, Any]) -> Image:
    config = found.get("Config") or {}
    return Image(
        reference=reference,
        digest=found["Id"],
        environment=_pairs(config.get("Env")),
        volumes=tuple(sorted(config.get("Volumes") or {})),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=(*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])),
        user=config.get("User") or "",
        pulled=tuple(sorted(found.get("RepoDigests") or ())),
    )


def _command(found: Mapping[str, Any], *, respawns: bool) -> tuple[str, ...]:
    words = (found["Path"], *found["Args"]) if found.get("Path") else ()
    return words[4:] if respawns else words  # without `/bin/sh -c SCRIPT NAME`: see supervisor.supervised


def _container(found: Mapping[str, Any]) -> Container:
    config = found["Config"]
    labels = config.get("Labels") or {}
    host = found.get("HostConfig") or {}
    networks = found["NetworkSettings"]["Networks"] or {}
    ports: dict[int, tuple[tuple[str, int], ...]] = {}
    for name, bindings in (found["NetworkSettings"]["Ports"] or {}).items():
        number, _, protocol = name.partition("/")
        if bindings and protocol == "tcp":
            ports[int(number)] = tuple((b["HostIp"] or "0.0.0.0", int(b["HostPort"])) for b in bindings)  # noqa: S104 (as Docker reports it)
    environment = _pairs(config.get("Env"))
    return Container(
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        project=labels.get(_PROJECT, ""),
        service=labels.get(_SERVICE, ""),
        state="paused" if found["State"].get("Paused") else found["State"]["Status"],
        image=Image(reference=config["Image"], digest=found["Image"], environment=environment),
        mounts=tuple(
            Mount(m["Type"], _place(m), m["Destination"], bool(m["RW"]), m.get("Source") or "")
            for m in found["Mounts"]
            if m["Type"] in ("volume", "bind")
        ),
        addresses=tuple(a for n in networks.values() if (a := n.get("IPAddress") or n.get("GlobalIPv6Address"))),
        ports=ports,
        environment=environment,
        command=_command(found, respawns=RESPAWN_LABEL in labels),
        respawns=RESPAWN_LABEL in labels,
        exit_code=found["State"].get("ExitCode") or 0,
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        network_mode=host.get("NetworkMode") or "",
        one_off=labels.get(_ONE_OFF, "").lower() == "true",
        pid=found["State"].get("Pid") or 0,
        pid_mode=host.get("PidMode") or "",
        ipc_mode=host.get("IpcMode") or "",
        stdin_open=bool(config.get("OpenStdin")),
        shell=tuple(config.get("Shell") or ("/bin/sh", "-c")),
    )
