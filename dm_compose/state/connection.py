"""The connection to the SQLite file of a store. The only module that imports sqlite3."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dm_compose.errors import DamagedError, DiskFullError, StoreError, UsageError
from dm_compose.state.schema import MIGRATIONS, SCHEMA_VERSION

BUSY_TIMEOUT_S = 30.0


class Connection:
    """An open database file, made or migrated to the newest format if need be. Thread-safe.

    Each statement is a transaction of its own unless it runs inside `transaction()`. A change is durable when the outermost
    transaction has returned (WAL, synchronous=FULL). Several processes may have the file open. Errors of SQLite become
    DiskFullError, DamagedError or another StoreError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        with self._errors():
            self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()

    def _migrate(self) -> None:
        version = self._version()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the store was written by a newer version of dm-compose (format {version}, this one knows {SCHEMA_VERSION})",
                hint="Upgrade dm-compose, or point DM_HOME at another store.",
            )
        if version < SCHEMA_VERSION:
            with self.transaction():
                for number in range(self._version(), SCHEMA_VERSION):
                    for statement in MIGRATIONS[number].split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {number + 1}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file. No other method may be called afterwards."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "full" in text or error.sqlite_errorname == "SQLITE_IOERR_SHMSIZE":
                raise DiskFullError(
                    "writing the store's database: no space left on the device", hint="Free some space. Nothing was changed."
                ) from None
            if "readonly" in text or "unable to open" in text:
                raise StoreError(
                    f"the store at {self._path.parent} is not writable", hint="Check its owner and mode, or set DM_HOME."
                ) from None
            raise StoreError(f"using the store's database failed: {text}") from error
        except sqlite3.DatabaseError as error:
            raise DamagedError(f"the store's database is damaged: {error}") from error
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is not text") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of the block durable together, or none of them. In nested blocks the outermost one decides.

        No other thread or process writes to the file meanwhile.
        """
        with self._lock, self._errors():
            self._depth += 1
            try:
                if self._depth == 1:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._errors():
            return self._connection.execute(sql, values).fetchall()

    def _write(self, sql: str, *values: object) -> int:
        with self.transaction():
            return self._connection.execute(sql, values).rowcount
