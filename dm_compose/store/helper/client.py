"""The store in a helper container: the same interface over the container's standard input and output.

The helper is one `docker run -i --rm`. It mounts the store and the volumes of the subdots, and gets our own code as its first
input. It ends when its input ends, so a killed client leaves no container behind.
docs/decisions/0015-file-work-in-process-or-in-a-helper.md says why.
"""

from __future__ import annotations

import csv
import io
import itertools
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import filelock

from dm_compose import process
from dm_compose.core.events import Event, Listener
from dm_compose.core.labels import PROJECT_LABEL, ROLE_LABEL, helper_name
from dm_compose.core.plain import from_plain
from dm_compose.core.variables import DEFAULT_HELPER_IMAGE
from dm_compose.errors import StoreError, error_classes
from dm_compose.store.api import Store
from dm_compose.store.helper.calls import method
from dm_compose.store.helper.frames import read_frame, write_frame
from dm_compose.store.helper.server import HELPER_STORE

CLOSE_TIMEOUT_S = 30.0
ENDED = "the helper container ended"
_BOOT = (
    "import sys;i=sys.stdin.buffer;n=int.from_bytes(i.read(8),'big');open('/tmp/dm.zip','wb').write(i.read(n));"
    "sys.path.insert(0,'/tmp/dm.zip');from dm_compose.store.helper.server import main;main()"
)
_PACKAGES = ("core", "objects", "storage", "state", "store")


__all__ = ["HELPER_STORE", "HelperStore", "bundle", "connect_helper", "helper_directory"]


def helper_directory(number: int) -> str:
    """Return the directory at which the helper mounts the place of this number."""
    return f"/dm/places/{number}"


def connect_helper(mounts: Mapping[str, str], image: str, listener: Listener) -> Store:
    """Start a helper that mounts volumes or host paths (keys) at directories (values), and return its store.

    The image needs nothing but Python 3.11 or later (DM_HELPER_IMAGE, by default python:3.14-slim). It gets no network.
    """
    command = ["docker", "run", "-i", "--rm", "--name", helper_name("helper"), "--label", f"{ROLE_LABEL}=helper"]
    command += ["--label", f"{PROJECT_LABEL}="]  # not that of an image which Compose has built
    command += ["--network", "none"]
    command += ["--log-driver", "none"]  # a log of all answers, line by line, makes it slow: 0.6 MB/s instead of 60
    for source, target in mounts.items():
        command += ["--mount", mount_option(source, target)]
    command += ["--entrypoint", "python3", image, "-c", _BOOT]
    try:
        pipe = process.start_pipe(command)
    except FileNotFoundError:
        raise StoreError(
            "a helper container is needed, and there is no `docker` command", hint="Install the docker CLI."
        ) from None
    code = bundle()
    return cast(Store, HelperStore(pipe, len(code).to_bytes(8, "big") + code, listener))


def mount_option(source: str, target: str) -> str:
    """Return the value of `docker run --mount` that mounts a volume or a host path, whatever characters the path has.

    The value is a line of CSV, so a comma or quote in a path has to be quoted: it would begin an option of its own otherwise.
    StoreError for a path that cannot be written there.
    """
    if any(ord(c) < 32 or 0xDC80 <= ord(c) <= 0xDCFF for c in source):
        raise StoreError(
            f"{source!r} cannot be mounted in a helper container: its name has bytes that `docker run` does not take",
            hint="Rename the directory, or run this as root on the engine's own host.",
        )
    line = io.StringIO()
    kind = "bind" if source.startswith("/") else "volume"
    csv.writer(line, lineterminator="").writerow((f"type={kind}", f"source={source}", f"target={target}"))
    return line.getvalue()


def bundle() -> bytes:
    """Return the code of the helper as a zip file: filelock, and those of our packages that need nothing else but the standard
    library.
    """
    root = Path(__file__).parents[2]
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dm_compose/__init__.py", "")
        archive.write(root / "errors.py", "dm_compose/errors.py")
        for package in _PACKAGES:
            for file in sorted((root / package).rglob("*.py")):
                archive.write(file, f"dm_compose/{file.relative_to(root)}")
        library = Path(filelock.__file__).parent
        for file in sorted(library.rglob("*.py")):
            archive.write(file, f"filelock/{file.relative_to(library)}")
    return data.getvalue()


class HelperStore:
    """A Store whose methods run in a process at the other end of a pipe. Thread-safe, and calls run concurrently."""

    def __init__(self, pipe: process.Pipe, greeting: bytes, listener: Listener) -> None:
        self._pipe = pipe
        self._listener = listener
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[tuple[Any, Sequence[bytes]]]] = {}
        self._writing = threading.Lock()
        self._gone: str | None = None
        try:
            pipe.to_child.write(greeting)
            pipe.to_child.flush()
        except BrokenPipeError:
            self._fail(ENDED)
        self._reader = threading.Thread(target=self._read, name="helper", daemon=True)
        self._reader.start()
        try:
            self.call(0, "hello", {}, [])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the helper. Its container is gone when this returns. Idempotent."""
        self._pipe.close(CLOSE_TIMEOUT_S)
        self._reader.join(CLOSE_TIMEOUT_S)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _calling(self, Store, 0, name)

    def call(self, target: int, name: str, arguments: Mapping[str, Any], attached: list[bytes]) -> tuple[Any, Sequence[bytes]]:
        """Call a method of the object with the number `target`. Return its result as plain data, with the attached bytes."""
        number = next(self._numbers)
        future: Future[tuple[Any, Sequence[bytes]]] = Future()
        self._waiting[number] = future
        try:
            with self._writing:
                message = {"call": number, "target": target, "method": name, "arguments": arguments, "attached": attached}
                write_frame(self._pipe.to_child, message)
        except (BrokenPipeError, ValueError):
            self._fail(ENDED)
        if self._gone is not None:  # the reader may have failed all calls before this one was among them
            self._fail(self._gone)
        return future.result()

    def _read(self) -> None:
        reason = ENDED
        try:
            while (frame := read_frame(self._pipe.from_child)) is not None:
                self._take(frame)
        except Exception as error:  # otherwise nobody would notice, and every call would wait for ever
            reason = f"the helper container sent a message that cannot be understood: {type(error).__name__}: {error}"
        finally:
            self._fail(reason)

    def _take(self, frame: Mapping[str, Any]) -> None:
        if "event" in frame:
            self._listener(from_plain(Event, frame["event"]))
            return
        future = self._waiting.pop(frame["call"])
        if "error" in frame:
            error = frame["error"]
            cls = error_classes().get(error["kind"], StoreError)
            future.set_exception(cls(error["message"], hint=error["hint"]))
        else:
            future.set_result((frame["result"], frame.get("attached", ())))

    def _fail(self, reason: str) -> None:
        """Answer all waiting and all future calls with an error."""
        self._gone = reason
        for number in list(self._waiting):
            future = self._waiting.pop(number, None)
            if future is not None:
                hint = f"Check whether its image can be started. DM_HELPER_IMAGE names it, by default {DEFAULT_HELPER_IMAGE}."
                future.set_exception(StoreError(reason, hint=hint))


class _Remote:
    """An object that a method of the store has returned and that stays in the helper, where it has a number."""

    def __init__(self, store: HelperStore, interface: type, number: int) -> None:
        self._store, self._interface, self._number = store, interface, number

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _calling(self._store, self._interface, self._number, name)


def _calling(store: HelperStore, interface: type, number: int, name: str) -> Callable[..., Any]:
    described = method(interface, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        attached: list[bytes] = []
        answer, with_it = store.call(number, name, described.pack(args, kwargs, attached), attached)
        if described.interface is not None:
            return _Remote(store, described.interface, answer)
        return described.answer(answer, with_it)

    return call
