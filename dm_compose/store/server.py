"""The helper's side of a store: frames in, calls on a LocalStore, frames out. Runs in a container with the standard library
only.
"""

from __future__ import annotations

import sys
import threading
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from dm_compose.core.plain import from_plain, to_plain
from dm_compose.errors import DmError
from dm_compose.store.api import Store
from dm_compose.store.frames import read_frame, write_frame
from dm_compose.store.local import LocalStore

CALL_THREADS = 16
HELPER_STORE = "/dm/store"


def main() -> None:
    """Serve the store at /dm/store over standard input and output until the input ends."""
    serve(Path(HELPER_STORE), sys.stdin.buffer, sys.stdout.buffer)


def serve(root: Path, source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer calls until `source` ends. Calls run concurrently and are answered in any order; expected errors cross as data."""
    writing = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with writing:
            write_frame(sink, message)

    store: LocalStore | None = None

    def answer(frame: dict[str, Any]) -> None:
        nonlocal store
        try:
            if frame["method"] == "hello":
                store = LocalStore(root, lambda event: send({"event": to_plain(event)}))
                result = None
            else:
                assert store is not None
                result = _call(store, frame["method"], frame["arguments"])
            send({"call": frame["call"], "result": to_plain(result)})
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
    if store is not None:
        store.close()


def _call(store: LocalStore, method: str, arguments: dict[str, Any]) -> Any:
    declared = getattr(Store, method)
    hints = typing.get_type_hints(declared)
    return getattr(store, method)(**{name: from_plain(hints[name], value) for name, value in arguments.items()})
