"""Access to the store and to the directories of subdots: in this process if we may, else in a helper container."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dm_compose.core.events import Listener
from dm_compose.core.labels import ROLE_LABEL
from dm_compose.core.variables import DEFAULT_STORE, Variables
from dm_compose.engine import Engine
from dm_compose.errors import NotFoundError, StoreError, UsageError
from dm_compose.store.api import Store
from dm_compose.store.helper.client import HELPER_STORE, connect_helper, helper_directory
from dm_compose.store.local.store import LocalStore

_VOLUMES = Path("/var/lib/docker/volumes")


@dataclass(frozen=True)
class Access:
    """An open store, and the directories of places as its process sees them. `how` is `in-process` or `helper`."""

    store: Store
    how: str
    directories: Mapping[str, str]

    def directory(self, place: str) -> str:
        """Return the directory of a volume or host path as the store's process sees it."""
        return self.directories[place]


def open_access(engine: Engine | None, places: Iterable[str], variables: Variables, listener: Listener) -> Access:
    """Open the store and reach the places of subdots.

    The store is the volume `dotmesh`. DM_HOME may name another volume, or a directory (a text with a slash). A store that is
    missing is made, but not the volume that DM_HOME names: NotFoundError, because the name may be a mistake. Root on the engine's
    own host works on the files directly. Any other user, and Docker Desktop and remote engines, get a helper container that
    mounts the places. DM_FILES=helper or in-process insists on one of the two.

    If the engine remaps users, it is always a helper, which sees the same owners as all other containers. This process would see
    the host's numbers, which mean nothing on another machine. UsageError for DM_FILES=in-process.
    """
    wanted = list(dict.fromkeys(places))
    home = _home(variables)
    choice = variables.files
    if engine is None:
        if not home.startswith("/"):
            raise StoreError("without a Docker Engine the store must be a directory", hint="Set DM_HOME to one.")
        return Access(LocalStore(Path(home), listener), "in-process", {p: p for p in wanted})
    _ensure_volume(engine, home)
    if home.startswith("/") and choice != "helper" and engine.facts().local:
        _refuse_unusable(Path(home))
    store, store_mount = _locate(engine, home)
    found = {place: _locate(engine, place) for place in wanted}
    on_host = {place: directory for place, (directory, _) in found.items()}
    if choice == "in-process" and engine.facts().remaps_users:
        raise UsageError(
            "DM_FILES=in-process: this engine remaps users (userns-remap), so only a helper sees the owners that containers see",
            hint="Leave DM_FILES out, or set it to helper.",
        )
    if choice != "helper" and (choice == "in-process" or _reachable(engine, [store, *on_host.values()])):
        return Access(LocalStore(Path(store), listener), "in-process", on_host)
    inside, mounted = inside_helper(on_host)
    mounts = {store_mount: HELPER_STORE, **{found[place][1]: inside[place] for place in mounted}}
    return Access(connect_helper(mounts, variables.helper_image, listener), "helper", inside)


def inside_helper(on_host: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the directories of places in a helper, and the places that are mounted there. `on_host` has those on the host.

    A place within another one is not mounted again, so that the store sees one within the other.
    """
    real = {place: os.path.normpath(directory) for place, directory in on_host.items()}
    outer: dict[str, str | None] = {}
    for place, directory in real.items():
        around = [o for o, top in real.items() if directory.startswith(f"{top.rstrip('/')}/")]
        outer[place] = min(around, key=lambda o: len(real[o]), default=None)
    mounted = [place for place in real if outer[place] is None]
    inside = {place: helper_directory(number) for number, place in enumerate(mounted)}
    for place, top in outer.items():
        if top is not None:
            inside[place] = f"{inside[top]}/{os.path.relpath(real[place], real[top])}"
    return inside, mounted


def find_store(engine: Engine, variables: Variables, *, make: bool) -> Path | None:
    """Return the directory of the store on the engine's host. If there is none, `make` it or return None. See open_access."""
    home = _home(variables)
    if make:
        _ensure_volume(engine, home)
    elif not home.startswith("/") and engine.volume(home) is None:
        return None
    path = Path(_locate(engine, home)[0])
    if make:
        LocalStore(path).close()
    return path if path.is_dir() else None


def store_exists(engine: Engine | None, variables: Variables) -> bool:
    """Whether there is a store. For a directory this looks at this machine, also if the engine is on another one."""
    home = _home(variables)
    return os.path.isdir(home) if home.startswith("/") else engine is not None and engine.volume(home) is not None


def likely_store(variables: Variables) -> Path:
    """Return the store's directory without asking the engine. It is wrong if the engine's data root is not the usual one."""
    home = _home(variables)
    return Path(home) if home.startswith("/") else _VOLUMES / home / "_data"


def _home(variables: Variables) -> str:
    return str(Path(variables.home).absolute()) if variables.home_is_directory else variables.home


def _ensure_volume(engine: Engine, home: str) -> None:
    """Make the volume of the store if it is the usual one. NotFoundError if it is another one, whose name may be a mistake."""
    if home.startswith("/") or engine.volume(home) is not None:
        return
    if home != DEFAULT_STORE:
        raise NotFoundError(
            f"DM_HOME={home} names a volume that does not exist",
            hint=f"For the folder {home} write DM_HOME=./{home}; `docker volume create {home}` makes the volume.",
        )
    engine.create_volume(home, {ROLE_LABEL: "store"})


def _refuse_unusable(home: Path) -> None:
    """Raise StoreError if no store can be in this directory of this machine. A helper could only say that it has ended."""
    there = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise StoreError(f"the store cannot be at {home}: {there} is no directory", hint="Set DM_HOME to one.")
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        raise StoreError(f"the store at {home} cannot be written: its file system is read-only", hint="Set DM_HOME to another.")


def _locate(engine: Engine, place: str) -> tuple[str, str]:
    """Return the directory of a place on the engine's host, and the source that a mount of it has to name.

    If a volume only binds a host directory, both are that directory, because Docker binds it only while a container uses it.
    """
    if place.startswith("/"):
        return place, place
    volume = engine.volume(place)
    if volume is None:
        raise NotFoundError(
            f"there is no volume {place}", hint="`dm-compose up -d` makes it; `dm-compose reset --hard` fills it again."
        )
    return volume.directory, volume.directory if "device" in volume.options else place


def _reachable(engine: Engine, directories: list[str]) -> bool:
    if os.geteuid() != 0 or not engine.facts().local or engine.facts().remaps_users:
        return False
    return all(os.access(d if os.path.exists(d) else os.path.dirname(d), os.R_OK | os.W_OK | os.X_OK) for d in directories)
