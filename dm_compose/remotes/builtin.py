"""The kinds of remote that come with dm-compose. A kind that needs a large library is imported when somebody opens it."""

from __future__ import annotations

import importlib
from typing import cast

from dm_compose.errors import UsageError
from dm_compose.hookspecs import hookimpl
from dm_compose.remotes.base import Context, Remote, RemoteKind
from dm_compose.remotes.directory import DirectoryRemote
from dm_compose.remotes.url import RemoteUrl


def _directory(url: RemoteUrl, _: Context) -> Remote:
    if url.options:
        raise UsageError(f"a directory as remote has no options, such as {', '.join(url.options)}")
    return DirectoryRemote(url)


def _registry(url: RemoteUrl, context: Context) -> Remote:
    module = importlib.import_module("dm_compose.remotes.oci")  # requests takes 65 ms to import
    return cast(Remote, module.OciRemote(url, context))


def _bucket(url: RemoteUrl, _: Context) -> Remote:
    try:
        module = importlib.import_module("dm_compose.remotes.bucket")  # its library is an extra
    except ImportError as error:
        if error.name != "obstore":
            raise
        raise UsageError(
            f"{url.scheme}:// remotes need the library obstore, which is not installed", hint="pip install 'dm-compose[s3]'"
        ) from None
    return cast(Remote, module.BucketRemote(url))


@hookimpl
def dm_register_remotes(register):  # type: ignore[no-untyped-def]
    register(RemoteKind("directory", ("file",), _directory))
    register(RemoteKind("registry", ("oci",), _registry))
    register(RemoteKind("object storage", ("s3", "gs", "az"), _bucket))
