"""MinIO. It acknowledges an object when the object is in its drives' files."""

from __future__ import annotations

import re

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

BITNAMI_MOVED_IN = (2023, 7)  # until then the data of Bitnami's images was in /data

# Options of `minio server` that stand alone; every other one takes the next word as its value.
_SWITCHES = {"--anonymous", "--quiet", "--json", "--compat", "--no-compat"}
_RANGE = re.compile(r"\{(\d+)\.\.\.(\d+)\}")


def _drives(words: list[str]) -> list[str]:
    """Return the paths that `server` is given. Those of other nodes (http://host/path) count: each node has the same paths."""
    drives = []
    position = 0
    while position < len(words) and words[position] not in ("&&", "||", ";", "|", "&"):
        word = words[position]
        if word.startswith("-"):
            position += 1 if "=" in word or word in _SWITCHES else 2
            continue
        path = re.sub(r"^https?://[^/]*", "", word)
        if path.startswith("/"):
            drives += _expanded(path)
        position += 1
    return drives


def _expanded(path: str) -> list[str]:
    """Return all paths that a word with MinIO's ranges names: /data{1...4} is four drives."""
    match = _RANGE.search(path)
    if match is None:
        return [path]
    numbers = range(int(match[1]), int(match[2]) + 1)
    return [done for number in numbers for done in _expanded(f"{path[: match.start()]}{number}{path[match.end() :]}")]


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the paths after `server` (also inside `sh -c "..."`), else `MINIO_VOLUMES`, else the vendor's default."""
    words = re.split(r"\s+", " ".join(service.command).replace('"', " ").replace("'", " ").replace(";", " ; ").strip())
    drives = _drives(words[words.index("server") + 1 :]) if "server" in words else []
    drives = drives or _drives((service.environment.get("MINIO_VOLUMES") or "").split())
    if not drives and "bitnami" in service.image.repository:
        released = re.match(r"(\d{4})\.(\d{1,2})\.", service.image.tag)
        old = released is not None and (int(released[1]), int(released[2])) < BITNAMI_MOVED_IN
        drives = [service.environment.get("MINIO_DATA_DIR") or ("/data" if old else "/bitnami/minio/data")]
    return tuple(dict.fromkeys(drives or ["/data"]))


DATASTORE = Datastore(
    name="minio",
    images=("minio", "*/minio", "minio/minio", "bitnami*/minio"),
    data=data_paths,
    port=9000,
    ready=http_or_https("/minio/health/ready"),
    volatile=(
        ".minio.sys/tmp/*",
        ".minio.sys/buckets/.usage.json/*",
        ".minio.sys/buckets/.bloomcycle.bin/*",
        ".minio.sys/buckets/*.usage-cache.bin/*",
    ),
    markers=("MINIO_UPDATE_MINISIGN_PUBKEY",),
    tag_version=r"(?:RELEASE\.)?(\d{4})",  # releases are dates; the format on the drives changes once in years
    version_parts=1,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
