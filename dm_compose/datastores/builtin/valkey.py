"""Valkey: a fork of Redis (2024) with the same protocol, files and ways to save them."""

from __future__ import annotations

from dm_compose.datastores.base import Checked, Datastore, Running, ServiceFacts
from dm_compose.datastores.builtin.redis import RELAXED, check_files, ready, save, unsaved
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--dir`, else the vendor's data path. `VALKEY_DATA_DIR` moves that of Bitnami."""
    if "bitnami" in service.image.repository:
        return (service.environment.get("VALKEY_DATA_DIR") or "/bitnami/valkey/data",)
    return (service.option("--dir") or "/data",)


def check(running: Running) -> Checked:
    """`valkey-check-rdb` on dump.rdb, and `valkey-check-aof` on the append-only file."""
    return check_files(running, data_paths(running.service)[0])


DATASTORE = Datastore(
    name="valkey",
    images=("valkey", "*/valkey", "valkey/valkey-bundle", "valkey-bundle", "bitnami*/valkey", "bitnami*/valkey-cluster"),
    data=data_paths,
    port=6379,
    ready=ready,
    volatile=("temp-*.rdb",),
    markers=("VALKEY_VERSION",),
    version_from=("VALKEY_VERSION",),
    quiesce=save,
    unsaved=unsaved,
    check=check,
    relaxed=RELAXED,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
