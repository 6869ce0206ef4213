"""Object storage as remote (`s3://`, `gs://`, `az://`), through an extra: `pip install 'dm-compose[s3]'`."""

from __future__ import annotations

import importlib
from typing import cast

from dm_compose.errors import UsageError
from dm_compose.hookspecs import hookimpl
from dm_compose.remotes.base import Context, Remote, RemoteKind
from dm_compose.remotes.url import RemoteUrl

SCHEMES = ("s3", "gs", "az")


def _open(url: RemoteUrl, _: Context) -> Remote:
    try:
        module = importlib.import_module("dm_compose.remotes.bucket")  # 25 MB of library, which not every installation has
    except ImportError as error:
        if error.name != "obstore":
            raise
        raise UsageError(
            f"{url.scheme}:// remotes need the library obstore, which is not installed", hint="pip install 'dm-compose[s3]'"
        ) from None
    return cast(Remote, module.BucketRemote(url))


@hookimpl
def dm_register_remotes(register):  # type: ignore[no-untyped-def]
    register(RemoteKind("object storage", SCHEMES, _open))
