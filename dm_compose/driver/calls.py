"""Docker's volume plugin protocol, version 1: the answers to its calls.

https://docs.docker.com/engine/extend/plugins_volume/. The engine calls at any time and any number of times. It calls for names
that are not ours too: to find the driver of a volume that it does not know, it asks every driver.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dm_compose.driver.volumes import DotVolume, DotVolumes
from dm_compose.errors import DmError, StoreError
from dm_compose.store.local.store import LocalStore

Answer = dict[str, Any]
BUG = "this is a bug in dm-compose; the driver's log has the details"


class BadRequestError(Exception):
    """A request that no engine sends, so nothing that a user could have done. `status` is the HTTP status of the answer."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnknownCallError(BadRequestError):
    """The path of a request names no call."""

    status = 404


class Calls:
    """The driver's answers. Thread-safe.

    Nothing is kept between two calls. Each call opens the store anew, because the store may have been removed and made again, or
    upgraded, in between.
    """

    def __init__(self, store: Path, log: logging.Logger) -> None:
        self.store = store
        self._log = log
        self._calls: Mapping[str, Callable[[Answer], Answer]] = {
            "Plugin.Activate": lambda _: {"Implements": ["VolumeDriver"]},
            "VolumeDriver.Capabilities": lambda _: {"Capabilities": {"Scope": "local"}},
            "VolumeDriver.Create": self._create,
            "VolumeDriver.Remove": self._remove,
            "VolumeDriver.Mount": self._mountpoint,
            "VolumeDriver.Path": self._mountpoint,
            "VolumeDriver.Unmount": _nothing,
            "VolumeDriver.Get": self._get,
            "VolumeDriver.List": self._list,
        }

    def answer(self, call: str, body: bytes) -> Answer:
        """Return the answer to a call. Its `Err` is '' for success. Raises BadRequestError only; a bug is logged and told."""
        try:
            work = self._calls[call]
        except KeyError:
            raise UnknownCallError(f"no such call: {call!r}") from None
        request = _decoded(body)
        try:
            return {"Err": "", **work(request)}
        except BadRequestError:
            raise
        except DmError as error:
            return {"Err": error.message + (f" ({error.hint})" if error.hint else "")}
        except Exception:
            self._log.exception("%s %r", call, request)
            return {"Err": BUG}

    @contextlib.contextmanager
    def _volumes(self) -> Iterator[DotVolumes]:
        if not self.store.is_dir():
            raise StoreError(f"the driver's store at {self.store} is gone", hint="`dm cluster reset`, then `dm cluster init`.")
        store = LocalStore(self.store)
        try:
            yield DotVolumes(store)
        finally:
            store.close()

    def _create(self, request: Answer) -> Answer:
        name = _name(request)
        if request.get("Opts"):
            self._log.warning("volume %r: the driver has no options, %r mean nothing", name, request["Opts"])
        with self._volumes() as volumes:
            volumes.create(name)
        return {}

    def _remove(self, request: Answer) -> Answer:
        with self._volumes() as volumes:
            volumes.remove(_name(request))
        return {}

    def _mountpoint(self, request: Answer) -> Answer:
        with self._volumes() as volumes:
            return {"Mountpoint": volumes.mountpoint(_name(request))}

    def _get(self, request: Answer) -> Answer:
        with self._volumes() as volumes:
            return {"Volume": _volume(volumes.get(_name(request)))}

    def _list(self, _: Answer) -> Answer:
        with self._volumes() as volumes:
            return {"Volumes": [_volume(found) for found in volumes.registered()]}


class Farewell:
    """The answers of a driver that has been reset: it has no volumes.

    The engine goes on asking until it restarts. It would wait 15 s each time for a driver that does not answer.
    """

    def answer(self, call: str, body: bytes) -> Answer:
        """See Calls.answer."""
        known: Mapping[str, Answer] = {
            "Plugin.Activate": {"Implements": ["VolumeDriver"]},
            "VolumeDriver.Capabilities": {"Capabilities": {"Scope": "local"}},
            "VolumeDriver.Remove": {},
            "VolumeDriver.Unmount": {},
            "VolumeDriver.List": {"Volumes": []},
        }
        _decoded(body)
        return {"Err": "", **known[call]} if call in known else {"Err": "the dm driver was reset (`dm cluster init` sets it up)"}


def _nothing(_: Answer) -> Answer:
    return {}


def _decoded(body: bytes) -> Answer:
    """Decode the body of a request. It is empty or `null` where a call takes no arguments."""
    try:
        found = json.loads(body or b"null")
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequestError("the body is no JSON object")
    return found


def _name(request: Answer) -> str:
    name = request.get("Name")
    if not isinstance(name, str):
        raise BadRequestError("the call names no volume")
    return name


def _volume(found: DotVolume) -> Answer:
    """Return a volume as the engine wants it. `docker volume inspect` shows its `Status`."""
    shown = (("dot", found.dot), ("branch", found.branch), ("worktree", found.worktree), ("subdot", found.subdot))
    return {"Name": found.name, "Mountpoint": found.directory, "Status": {key: value for key, value in shown if value}}
