"""The helper's side: it reads frames, calls methods of a LocalStore and writes frames.

It runs in a container that has the standard library only.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from dm_compose.core.plain import to_plain
from dm_compose.errors import DmError
from dm_compose.store.api import Store
from dm_compose.store.helper.calls import method
from dm_compose.store.helper.frames import read_frame, write_frame
from dm_compose.store.local.store import LocalStore

CALL_THREADS = 16
HELPER_STORE = "/dm/store"


def main() -> None:
    """Serve the store at /dm/store over standard input and output until the input ends."""
    serve(Path(HELPER_STORE), sys.stdin.buffer, sys.stdout.buffer)


def serve(root: Path, source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer calls until `source` ends. Calls run concurrently, and are answered in any order. Errors are sent as data."""
    writing = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with writing:
            write_frame(sink, message)

    served = _Served()

    def answer(frame: dict[str, Any]) -> None:
        try:
            if frame["method"] == "hello":
                served.add(Store, LocalStore(root, lambda event: send({"event": to_plain(event)})))
                send({"call": frame["call"], "result": None})
            else:
                result, attached = served.call(frame)
                send({"call": frame["call"], "result": result, "attached": attached})
        except DmError as error:
            send({"call": frame["call"], "error": {"kind": error.kind, "message": error.message, "hint": error.hint}})
        except Exception as error:  # a bug must reach the client as an error, not as silence
            message = f"the helper failed in {frame['method']}: {type(error).__name__}: {error}"
            send({"call": frame["call"], "error": {"kind": "store", "message": message, "hint": None}})

    with ThreadPoolExecutor(CALL_THREADS) as pool:
        while (frame := read_frame(source)) is not None:
            if frame["method"] == "hello":
                answer(frame)
            else:
                pool.submit(answer, frame)
    served.close()


class _Served:
    """The objects that the client calls, by number. The store is 0, and objects that its methods return follow. Thread-safe."""

    def __init__(self) -> None:
        self._objects: list[tuple[type, Any]] = []
        self._guard = threading.Lock()

    def add(self, interface: type, made: object) -> int:
        """Keep an object, and return its number."""
        with self._guard:
            self._objects.append((interface, made))
            return len(self._objects) - 1

    def call(self, frame: dict[str, Any]) -> tuple[Any, list[bytes]]:
        """Carry out a call. Return its result as plain data, with the attached bytes."""
        interface, target = self._objects[frame["target"]]
        described = method(interface, frame["method"])
        result = getattr(target, frame["method"])(**described.unpack(frame["arguments"], frame.get("attached", ())))
        if described.interface is not None:
            return self.add(described.interface, result), []
        attached: list[bytes] = []
        return to_plain(result, attached), attached

    def close(self) -> None:
        """Close the store."""
        for _, made in self._objects[:1]:
            made.close()
