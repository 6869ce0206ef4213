"""The SQLite file of a store. The only module that imports sqlite3."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dm_compose.core.commit import Commit, JournalEntry, ReflogEntry, Worktree
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.plain import from_plain, to_plain
from dm_compose.errors import DamagedError, DiskFullError, ExistsError, NotFoundError, StoreError, UsageError
from dm_compose.state.schema import MIGRATIONS, SCHEMA_VERSION

BUSY_TIMEOUT_S = 30.0
T = TypeVar("T")


class Database:
    """Typed access to the tables. Thread-safe; every call is a transaction of its own unless inside `transaction()`.

    Durable when the outermost transaction has returned (WAL, synchronous=FULL). Several processes may have the file open.
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
        """Close the file; the object is of no use afterwards."""
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
                    "writing the store's database: no space left on the device", hint="Free space; nothing was changed."
                ) from None
            if "readonly" in text or "unable to open" in text:
                raise StoreError(
                    f"the store at {self._path.parent} is not writable", hint="Check its owner and mode, or set DM_HOME."
                ) from None
            raise StoreError(f"using the store's database failed: {text}") from error
        except sqlite3.DatabaseError as error:
            raise DamagedError(f"the store's database is damaged: {error}") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of the block durable together, or none of them. Blocks may nest; the outermost one counts."""
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

    # Dots

    def dots(self) -> list[DotName]:
        """Names of all dots, sorted."""
        return [DotName(name) for (name,) in self._all("SELECT name FROM dots ORDER BY name")]

    def add_dot(self, dot: DotName, *, branch: RefName, worktree: WorktreeName) -> None:
        """Register a dot with one worktree on an unborn branch; ExistsError when the name is taken."""
        with self.transaction():
            if dot in self.dots():
                raise ExistsError(f"dot {dot} exists already")
            self._write("INSERT INTO dots VALUES (?, ?)", dot, datetime.now(UTC).isoformat())
            self.put_worktree(Worktree(dot, worktree, branch, None))

    # Commits

    def add_commit(self, commit: Commit) -> None:
        """Register a published commit."""
        document = json.dumps(to_plain(commit), separators=(",", ":"))
        self._write("INSERT INTO commits VALUES (?, ?, ?, ?)", commit.id, commit.dot, commit.created.isoformat(), document)

    def has_commit(self, commit_id: CommitId) -> bool:
        """Whether a commit has been registered."""
        return bool(self._all("SELECT 1 FROM commits WHERE id = ?", commit_id))

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        """Return a commit; NotFoundError when the dot has none of that id."""
        rows = self._all("SELECT document FROM commits WHERE dot = ? AND id = ?", dot, commit_id)
        if not rows:
            raise NotFoundError(f"dot {dot} has no commit {commit_id}")
        return _decoded(Commit, rows[0][0])

    def commits(self, dot: DotName | None = None) -> list[Commit]:
        """All commits of a dot, or of the store, hidden ones too, oldest first."""
        rows = self._all("SELECT document FROM commits WHERE ? IS NULL OR dot = ? ORDER BY created, rowid", dot, dot)
        return [_decoded(Commit, document) for (document,) in rows]

    def commits_by_prefix(self, dot: DotName, prefix: str) -> list[CommitId]:
        """Ids that begin with `prefix` (hex digits), hidden commits too."""
        rows = self._all("SELECT id FROM commits WHERE dot = ? AND substr(id, 1, ?) = ? ORDER BY id", dot, len(prefix), prefix)
        return [CommitId(commit_id) for (commit_id,) in rows]

    # Refs

    def refs(self, dot: DotName, kind: str) -> dict[RefName, CommitId]:
        """All branches or tags (`kind`) of a dot by name, sorted."""
        rows = self._all("SELECT name, commit_id FROM refs WHERE dot = ? AND kind = ? ORDER BY name", dot, kind)
        return {RefName(name): CommitId(commit_id) for name, commit_id in rows}

    def set_ref(self, dot: DotName, kind: str, name: RefName, commit_id: CommitId) -> None:
        """Create or move a branch or tag."""
        self._write("INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?)", dot, kind, name, commit_id)

    # Worktrees

    def worktrees(self, dot: DotName) -> dict[WorktreeName, Worktree]:
        """All worktrees of a dot by name. NotFoundError when there is no such dot."""
        rows = self._all("SELECT name, branch, places FROM worktrees WHERE dot = ? ORDER BY name", dot)
        if not rows and dot not in self.dots():
            raise NotFoundError(f"there is no dot {dot}", hint="`dm-compose commit` makes it.")
        heads = self.refs(dot, "branch")
        return {
            WorktreeName(name): Worktree(
                dot,
                WorktreeName(name),
                RefName(branch),
                heads.get(RefName(branch)),
                {SubdotName(k): v for k, v in json.loads(places).items()},
            )
            for name, branch, places in rows
        }

    def put_worktree(self, worktree: Worktree) -> None:
        """Create a worktree or replace its branch and places; its head is the branch's."""
        places = json.dumps(dict(worktree.places))
        self._write("INSERT OR REPLACE INTO worktrees VALUES (?, ?, ?, ?)", worktree.dot, worktree.name, worktree.branch, places)

    # Reflog

    def add_reflog(self, dot: DotName, worktree: WorktreeName, entry: ReflogEntry) -> None:
        """Append an entry; its number is given by the database."""
        self._write(
            "INSERT INTO reflog (dot, worktree, at, action, branch, old, new, saved) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(dot, worktree, entry.at.isoformat(), entry.action, entry.branch, entry.old, entry.new, entry.saved),
        )

    def reflog(self, dot: DotName, worktree: WorktreeName) -> list[ReflogEntry]:
        """Entries of a worktree, newest first."""
        rows = self._all(
            "SELECT number, at, action, branch, old, new, saved FROM reflog WHERE dot = ? AND worktree = ? ORDER BY number DESC",
            *(dot, worktree),
        )
        names = ("number", "at", "action", "branch", "old", "new", "saved")
        return [from_plain(ReflogEntry, dict(zip(names, row, strict=True))) for row in rows]

    # Journal

    def journal(self, dot: DotName) -> list[JournalEntry]:
        """Operations on a dot that have not said that they are over."""
        rows = self._all("SELECT document FROM journal WHERE dot = ? ORDER BY rowid", dot)
        return [_decoded(JournalEntry, document) for (document,) in rows]

    def put_journal(self, entry: JournalEntry) -> None:
        """Write down an operation, or its progress, before it touches anything; NotFoundError when there is no such dot."""
        if entry.dot not in self.dots():
            raise NotFoundError(f"there is no dot {entry.dot}", hint="`dm-compose commit` makes it.")
        self._write("INSERT OR REPLACE INTO journal VALUES (?, ?, ?)", entry.id, entry.dot, json.dumps(to_plain(entry)))

    def remove_journal(self, entry_id: CommitId) -> None:
        """Say that an operation is over. Idempotent."""
        self._write("DELETE FROM journal WHERE id = ?", entry_id)


def _decoded(kind: type[T], document: str) -> T:
    try:
        return from_plain(kind, json.loads(document))
    except (ValueError, TypeError, UsageError) as error:
        raise DamagedError(f"the store's database is damaged: a {kind.__name__} cannot be read: {error}") from None
