"""Places outside the local store that keep dots: kinds of remote behind one interface. The only package that speaks HTTP."""

from dm_compose.remotes.base import Blob, Context, Credentials, Remote, RemoteKind, Repository
from dm_compose.remotes.names import Digest, RemoteName, Tag, digest_of
from dm_compose.remotes.registry import open_remote
from dm_compose.remotes.url import RemoteUrl

__all__ = [
    "Blob",
    "Context",
    "Credentials",
    "Digest",
    "Remote",
    "RemoteKind",
    "RemoteName",
    "RemoteUrl",
    "Repository",
    "Tag",
    "digest_of",
    "open_remote",
]
