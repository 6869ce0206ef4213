"""Moving commits between a store and a remote. docs/format.md describes what the remote holds."""

from dm_compose.transfer.fetch import Download, download, fetch, find_tip
from dm_compose.transfer.push import push
from dm_compose.transfer.reports import (
    Fetched,
    Pushed,
    Relation,
    RemoteBranch,
    RemoteCheckup,
    RemoteDot,
    RemoteGarbage,
)
from dm_compose.transfer.upkeep import (
    collect_remote,
    describe_remote,
    list_remote,
    remote_garbage,
    remove_remote,
    verify_remote,
)

__all__ = [
    "Download",
    "Fetched",
    "Pushed",
    "Relation",
    "RemoteBranch",
    "RemoteCheckup",
    "RemoteDot",
    "RemoteGarbage",
    "collect_remote",
    "describe_remote",
    "download",
    "fetch",
    "find_tip",
    "list_remote",
    "push",
    "remote_garbage",
    "remove_remote",
    "verify_remote",
]
