"""The driver's process: `python -m dm_compose.driver --store DIR --socket PATH`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import logging.handlers
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from dm_compose.core.volumes import DRIVER
from dm_compose.driver.calls import Calls
from dm_compose.driver.listening import Listening, socket_of
from dm_compose.driver.running import log_file, remove_pid_file, write_pid_file
from dm_compose.driver.server import DriverServer
from dm_compose.errors import DmError, NotFoundError

LOG_BYTES = 1 << 20  # the log's predecessor, which is kept, has as much


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dm_compose.driver", description="The dm volume driver of Docker.")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="directory of the store")
    parser.add_argument(
        "--socket",
        type=Path,
        default=socket_of(DRIVER),
        metavar="PATH",
        help="NAME/NAME.sock in Docker's plugin directory, where NAME is the driver's name (default: %(default)s)",
    )
    words = parser.parse_args()
    try:
        serve(words.store.absolute(), words.socket.absolute())
    except DmError as error:
        print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def serve(store: Path, path: Path) -> None:
    """Serve a store's volumes at a socket until the process is told to end, or until no engine needs a driver that was reset."""
    os.umask(0o022)  # directories of subdots are for all users that containers run as
    if not store.is_dir():
        raise NotFoundError(f"there is no store at {store}", hint="`dm cluster init` makes it.")
    listening = Listening(path)
    try:
        with _logging(log_file(store, path.stem)) as log:
            server = DriverServer(listening, Calls(store, log), log, left=lambda: _let_go(store, path.stem, log))
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: server.stop())
            write_pid_file(store, path.stem)
            _notify("READY=1")
            log.info("listening at %s", path)
            server.run()
            log.info("ended")
    finally:
        listening.close()
        remove_pid_file(store, path.stem)


@contextlib.contextmanager
def _logging(file: Path) -> Iterator[logging.Logger]:
    log = logging.getLogger("dm_compose.driver")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield log
    finally:
        _stop_logging(log)


def _stop_logging(log: logging.Logger) -> None:
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()


def _let_go(store: Path, plugin: str, log: logging.Logger) -> None:
    """Let go of the store's files, so that the store may be removed."""
    log.info("reset: the store is used no more")
    remove_pid_file(store, plugin)
    _stop_logging(log)
    log.addHandler(logging.NullHandler())


def _notify(state: str) -> None:
    """Tell systemd the state of this process, if systemd started it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


if __name__ == "__main__":
    sys.exit(main())
