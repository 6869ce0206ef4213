"""The store in this process: a directory with objects/, incoming/, trees/, index/, locks/ and state.db."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from dm_compose.core.events import Listener, ignore
from dm_compose.core.names import (
    DotName,
    WorktreeName,
)
from dm_compose.core.upkeep import Checkup, FileSystemProbe, Garbage, Holdings, Space
from dm_compose.objects.contents import copy_file
from dm_compose.objects.system import file_errors
from dm_compose.store.history import Directories
from dm_compose.store.local.checking import Checking
from dm_compose.store.local.history import LocalHistory
from dm_compose.store.local.locks import Locks, StoreLock
from dm_compose.store.local.looking import Looking
from dm_compose.store.local.restoring import Restoring
from dm_compose.store.local.sending import LocalExchange
from dm_compose.store.local.upkeep import Upkeep

PROBE_BYTES = 16 << 20


class LocalStore(LocalHistory, Looking, Restoring):
    """See dm_compose.store.api.Store. Its directory is made when it is missing. Thread-safe. Several processes may use one."""

    def __init__(self, root: Path, listener: Listener = ignore) -> None:
        super().__init__(root, listener)
        with file_errors(f"opening the store at {root}"):
            (root / "locks").mkdir(mode=0o700, exist_ok=True)
        self._locks = Locks(root / "locks")
        self._store_lock = StoreLock(root / "objects")
        self._exchange = LocalExchange(
            self._database, self._objects, self._store_lock, root, lambda dot: self.create_dot(dot, tree=True)
        )
        self._upkeep = Upkeep(self._database, self._objects, self._indexes, self._trees, listener)
        self._checking = Checking(self._database, self._objects, self._indexes)

    def close(self) -> None:
        self._locks.release_all()
        super().close()

    def delete_dot(self, dot: DotName) -> None:
        is_clone = dot in self.clones()
        super().delete_dot(dot)
        if is_clone:  # no dot will ever have this name again
            self._locks.forget(dot)

    def lock(self, name: str, who: str, timeout_s: float) -> str:
        return self._locks.acquire(name, who, timeout_s)

    def unlock(self, token: str) -> None:
        self._locks.release(token)

    def holder(self, name: str) -> str | None:
        return self._locks.holder(name)

    def space(self) -> Space:
        return self._upkeep.space()

    def holdings(self, keep_since: datetime | None) -> Holdings:
        return self._upkeep.holdings(keep_since)

    def is_undo_over_budget(self) -> bool:
        return self._upkeep.is_undo_over_budget()

    def garbage(self, keep_since: datetime | None) -> Garbage:
        return self._upkeep.garbage(keep_since)

    def collect(self, keep_since: datetime | None) -> Garbage:
        with self._store_lock.collecting():
            found = self._upkeep.collect(keep_since)
        with file_errors("removing garbage"):
            self._locks.forget_others(self.dots())
        return found

    def check(self, live: Mapping[DotName, Mapping[WorktreeName, Directories]], *, repair: bool) -> Checkup:
        with self._counting("check") as progress:
            return self._checking.check(live, progress, repair=repair)

    def probe(self, directories: Directories) -> FileSystemProbe:
        with (
            file_errors("probing the store's file system"),
            tempfile.TemporaryDirectory(dir=self.root, prefix="probe-") as scratch,
        ):
            device = os.stat(scratch).st_dev
            source, copy = os.path.join(scratch, "source"), os.path.join(scratch, "copy")
            with open(source, "wb") as file:
                file.write(os.urandom(PROBE_BYTES))
            began = time.monotonic()
            cloned = copy_file(os.fsencode(source), os.fsencode(copy))
            took = time.monotonic() - began
            shared = tuple(str(name) for name, path in directories.items() if os.stat(path).st_dev == device)
        return FileSystemProbe(cloned, PROBE_BYTES, took, shared)

    def exchange(self) -> LocalExchange:
        return self._exchange
