"""Redpanda: Kafka's protocol, files of its own."""

from __future__ import annotations

import time

from dm_compose.datastores.base import Datastore, Running
from dm_compose.datastores.builtin.kafka import ready
from dm_compose.hookspecs import hookimpl

FLUSHED_AFTER_S = 0.5


def await_flush(running: Running) -> None:
    """Wait until the broker has flushed by itself, now that nobody writes.

    With write caching, which development mode switches on, and for acks=0 and 1 records are acknowledged in memory; the broker
    flushes a partition at most 100 ms later (raft_replica_max_flush_delay_ms).
    """
    time.sleep(FLUSHED_AFTER_S)


DATASTORE = Datastore(
    name="redpanda",
    images=(
        "redpanda",
        "redpandadata/redpanda",
        "redpandadata/redpanda-nightly",
        "redpandadata/redpanda-unstable",
        "vectorized/redpanda",
    ),
    data=("/var/lib/redpanda/data",),
    port=9092,
    ready=ready,
    volatile=("pid.lock",),
    quiesce=await_flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
