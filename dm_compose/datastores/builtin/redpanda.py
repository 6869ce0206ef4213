"""Redpanda, which speaks Kafka's protocol and has files of its own."""

from __future__ import annotations

import time

from dm_compose.datastores.base import Datastore, Running
from dm_compose.datastores.builtin.kafka import ready
from dm_compose.hookspecs import hookimpl

FLUSHED_AFTER_S = 0.5


def await_flush(running: Running) -> None:
    """Wait 0.5 s, in which the broker flushes by itself.

    With write caching, which development mode switches on, and for acks=0 and 1 the broker acknowledges records that are in
    memory. It flushes a partition at most 100 ms later (raft_replica_max_flush_delay_ms). Nobody writes during the wait.
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
