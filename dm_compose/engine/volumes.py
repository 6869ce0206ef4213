"""Volumes of the engine, and the files in the layers of containers and images, to look at and to copy into volumes."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import docker.errors

from dm_compose.core.containers import Volume
from dm_compose.core.labels import PROJECT_LABEL, ROLE_LABEL, helper_name, is_helper
from dm_compose.engine.calls import engine_errors
from dm_compose.engine.owners import OWNER_LABEL, Owner, abandoned
from dm_compose.errors import EngineError, ExistsError, NotFoundError

_MADE_LABEL = "dev.dotmesh.made"  # tells a volume that was made just now from an older one of the same name


class EngineVolumes:
    """The methods of an Engine that are about volumes and files."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def volume(self, name: str) -> Volume | None:
        """Return a volume, or None when there is no such volume."""
        try:
            with engine_errors(f"inspecting volume {name}"):
                found = self._api.inspect_volume(name)
        except NotFoundError:
            return None
        options = found.get("Options") or {}
        bound = options.get("device") if "bind" in (options.get("o") or "").split(",") else None
        return Volume(found["Name"], found["Driver"], bound or found["Mountpoint"], found.get("Labels") or {}, options)

    def volumes_of_driver(self, driver: str) -> list[str]:
        """Return the names of a driver's volumes, sorted.

        The engine asks every volume plugin that it knows. This takes 15 s when one of them has gone.
        """
        with engine_errors("listing volumes"):
            found = self._api.volumes(filters={"driver": driver})["Volumes"]
        return sorted(volume["Name"] for volume in found or () if volume["Driver"] == driver)

    def volume_drivers(self) -> list[str]:
        """Return the volume drivers that the engine has met since it started. None of them is asked."""
        with engine_errors("asking for the engine's plugins"):
            return sorted(self._api.info()["Plugins"]["Volume"] or ())

    def create_volume(self, name: str, labels: Mapping[str, str], options: Mapping[str, str] | None = None) -> Volume:
        """Make a local volume with the driver's `options`. A volume of that name is returned as it is."""
        with engine_errors(f"creating volume {name}"):
            self._api.create_volume(name, driver="local", driver_opts=dict(options or {}), labels=dict(labels))
        volume = self.volume(name)
        assert volume is not None
        return volume

    def create_new_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Make a local volume. ExistsError when there is one of that name."""
        mark = uuid.uuid4().hex  # the engine would return an older volume of that name, with its own labels
        volume = self.create_volume(name, {**labels, _MADE_LABEL: mark})
        if volume.labels.get(_MADE_LABEL) != mark:
            raise ExistsError(f"there is a volume {name} already")
        return volume

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses. Does nothing when it is gone."""
        try:
            with engine_errors(f"removing volume {name}"):
                self._api.remove_volume(name)
        except NotFoundError:
            return

    # Containers for a moment

    @contextlib.contextmanager
    def _momentary(self, role: str, image: str, *, labels: Mapping[str, str] | None = None, **more: Any) -> Iterator[str]:
        """Make a container for the time of the block, and do not start it. Containers that killed processes left go first."""
        self.remove_abandoned()
        labels = {ROLE_LABEL: role, PROJECT_LABEL: "", OWNER_LABEL: str(Owner.me()), **(labels or {})}  # not the image's own
        with engine_errors(f"making a container of {image[:19]}"):
            made = self._api.create_container(image, labels=labels, name=helper_name(role), **more)["Id"]
        try:
            yield made
        finally:
            self._remove(made)

    def remove_abandoned(self) -> None:
        """Remove the momentary containers that killed processes of this machine have left. Several may do so at once."""
        with engine_errors("looking for abandoned containers"):
            found = self._api.containers(all=True, filters={"label": [ROLE_LABEL, OWNER_LABEL]})
        for container in found:
            if is_helper(container["Names"][0], container["Labels"]) and abandoned(container["Labels"]):
                self._remove(container["Id"])

    def _remove(self, container_id: str) -> None:
        try:
            with engine_errors("removing a container"):
                self._api.remove_container(container_id, force=True, v=True)
        except NotFoundError:
            return
        except EngineError as error:
            if "already in progress" not in error.message:
                raise

    # Files of containers and images

    def image_has(self, image: str, paths: Sequence[Sequence[str]]) -> bool:
        """Whether an image has at least one path of each group in `paths`."""
        with engine_errors(f"looking into image {image[:19]}"), self._momentary("copier", image, command=["true"]) as made:
            return all(any(self._has(made, path) for path in choice) for choice in paths)

    def _has(self, container_id: str, path: str) -> bool:
        try:
            data, _ = self._api.get_archive(container_id, path)
        except docker.errors.NotFound:
            return False
        data.close()
        return True

    def _has_path(self, container_id: str, path: str) -> bool:
        try:
            with engine_errors(f"looking for {path} in container {container_id[:12]}"):
                return self._has(container_id, path)
        except NotFoundError:
            return False

    def has_data(self, container_id: str, path: str) -> bool:
        """Whether a path of a container exists and is not an empty directory."""
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
        """Return the path that a symbolic link points to: Docker copies a link as a link, but mounts the path behind it."""
        data, about = self._api.get_archive(container_id, path)
        data.close()
        return about["linkTarget"] or path

    def copy_into_new_volume(self, container_id: str, path: str, volume: str, labels: Mapping[str, str]) -> None:
        """Make a volume with the files that a container has at `path`; owners and modes are kept.

        ExistsError when there is such a volume, which stays as it is. After any other error there is no volume.
        """
        self.create_new_volume(volume, labels)
        try:
            with engine_errors(f"copying {path} into volume {volume}"):
                path = self._real_path(container_id, path)
                found = self._api.inspect_container(container_id)
                host = self._api.create_host_config(binds=[f"{volume}:{path}:nocopy"])  # without the files of the image
                with self._momentary("copier", found["Image"], host_config=host) as copier:
                    data, _ = self._api.get_archive(container_id, path)
                    self._api.put_archive(copier, path.rpartition("/")[0] or "/", data)
        except BaseException:
            self.remove_volume(volume)
            raise

    def give_new_volume(self, image: str, path: str, user: str, volume: str, labels: Mapping[str, str]) -> None:
        """Make a volume for a path that an image does not have, owned by `user` (a name or number, as in `user:`).

        Docker would give such a mount to root, and a server that runs as another user could not write there. Does nothing when
        the image has the path, because Docker then copies it with its owner.
        """
        with engine_errors(f"preparing volume {volume}"):
            with self._momentary("copier", image, command=["true"]) as copier:
                if self._read_file(copier, path) is not None:
                    return
                uid, gid = _ids(user, self._read_file(copier, "/etc/passwd") or b"")
            self.create_new_volume(volume, labels)
            host = self._api.create_host_config(binds=[f"{volume}:{path}"])
            with self._momentary("copier", image, command=["true"], host_config=host) as copier:
                self._api.put_archive(copier, path.rpartition("/")[0] or "/", _directory_tar(path.rpartition("/")[2], uid, gid))

    def _read_file(self, container_id: str, path: str) -> bytes | None:
        """Return the first file at a path of a container: b'' for a directory, None where there is nothing."""
        try:
            data, _ = self._api.get_archive(container_id, path)
        except docker.errors.NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as archive:
            member = archive.next()
            content = archive.extractfile(member) if member is not None and member.isfile() else None
            return content.read() if content is not None else b""


def _ids(user: str, passwd: bytes) -> tuple[int, int]:
    """Return uid and gid of `name`, `uid`, `name:group` or `uid:gid`, looked up in a container's /etc/passwd.

    A name that is not there counts as root.
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
