"""InfluxDB: three databases under one name. Versions 1 and 2 have the TSM engine, version 3 has an object store.

All acknowledge a write when the write is in the write-ahead log's file, unless a client of version 3 asks for no_sync.
"""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

_CORE = "/var/lib/influxdb3"


def _tops(default: str, chosen: list[str | None]) -> tuple[str, ...]:
    """Return the chosen directories, each once. Those below `default`, and those that are not set, become `default`."""
    paths = [path if path and not f"{path}/".startswith(f"{default}/") else default for path in chosen]
    return tuple(dict.fromkeys(paths))


def generation(service: ServiceFacts) -> int:
    """Return 1, 2 or 3: by the version, else by the volumes that the image declares, else by its name."""
    version = INFLUXDB.version(service)
    if version:
        return int(version.split(".")[0])
    if "/var/lib/influxdb" in service.image.volumes:
        return 1
    named = service.image.tag.startswith(("core", "enterprise")) or "influxdb3" in service.image.repository
    return 3 if named else 2


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the directories that the version's settings name; nothing if a version 3 has its objects in memory or a cloud."""
    environment = service.environment
    if "bitnami" in service.image.repository:
        return ("/bitnami/influxdb",)
    number = generation(service)
    if number == 1:
        names = ("INFLUXDB_DATA_DIR", "INFLUXDB_META_DIR", "INFLUXDB_DATA_WAL_DIR")
        return _tops("/var/lib/influxdb", [environment.get(name) for name in names])
    if number == 2:
        bolt = service.option("--bolt-path") or environment.get("INFLUXD_BOLT_PATH") or ""
        engine = service.option("--engine-path") or environment.get("INFLUXD_ENGINE_PATH")
        return _tops("/var/lib/influxdb2", [bolt.rpartition("/")[0], engine])
    store = (
        service.option("--object-store")
        or environment.get("INFLUXDB3_OBJECT_STORE")
        or environment.get("INFLUXDB_IOX_OBJECT_STORE")
        or "file"
    )
    directory = service.option("--data-dir") or environment.get("INFLUXDB3_DB_DIR") or environment.get("INFLUXDB_IOX_DB_DIR")
    return (directory or _CORE,) if store == "file" else ()


INFLUXDB = Datastore(
    name="influxdb",
    images=("influxdb", "*/influxdb", "bitnami*/influxdb"),
    data=data_paths,
    port=lambda service: 8181 if generation(service) == 3 else 8086,
    ready=http_or_https("/ping", also=(401, 403)),
    not_data={"/etc/influxdb2": "configuration of server and command line"},
    markers=("INFLUXDB_VERSION",),
    version_from=("INFLUXDB_VERSION",),
)
INFLUXDB3 = Datastore(
    name="influxdb3",
    images=("influxdb3", "influxdb3-core", "influxdb3-enterprise", "*/influxdb3-core", "*/influxdb3-enterprise"),
    data=data_paths,
    port=8181,
    ready=http_or_https("/ping", also=(401, 403)),
    version_from=("INFLUXDB_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(INFLUXDB)
    register(INFLUXDB3)
