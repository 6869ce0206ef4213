"""Moving commits between a store and a remote. The format is in docs/format.md."""

from dm_compose.transfer.fetch import Download, download, fetch
from dm_compose.transfer.push import push
from dm_compose.transfer.reports import Fetched, Pushed, Relation

__all__ = ["Download", "Fetched", "Pushed", "Relation", "download", "fetch", "push"]
