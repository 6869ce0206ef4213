"""All errors of dm-compose: one base class, one exit code per class, one hint per message.

A message is one sentence that says what was tried, and `hint` says what the user can do. Exit codes are part of the interface
(docs/cli.md has the table), so they are explicit here and never reused.
"""

from __future__ import annotations


class DmError(Exception):
    """Base of every expected error. Any other exception that reaches the command line is a bug (exit code 70)."""

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return message and hint, for places that print an exception as it is, such as pytest's traceback."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(DmError):
    """The words of a command, or a setting in a file, are wrong."""

    exit_code = 2
    kind = "usage"


class ComposeError(DmError):
    """Compose is missing, or does not accept the project's files."""

    exit_code = 3
    kind = "compose"


class EngineError(DmError):
    """The Docker Engine cannot be reached, or refused a request."""

    exit_code = 4
    kind = "engine"


class NotFoundError(DmError):
    """A dot, commit, branch, service, volume or other thing of the given name does not exist."""

    exit_code = 5
    kind = "not_found"


class AmbiguousError(DmError):
    """A name or prefix fits more than one thing."""

    exit_code = 6
    kind = "ambiguous"


class UncommittedError(DmError):
    """The operation would lose changes that are in no commit."""

    exit_code = 7
    kind = "uncommitted"


class InUseError(DmError):
    """Somebody else uses the thing, for example a container of another project, or a process that holds the lock."""

    exit_code = 8
    kind = "in_use"


class VersionMismatchError(DmError):
    """The commit was made by another version of a datastore's engine."""

    exit_code = 9
    kind = "version_mismatch"


class NotReadyError(DmError):
    """A datastore did not answer its protocol within the time allowed."""

    exit_code = 10
    kind = "not_ready"


class StoreError(DmError):
    """The store cannot be read or written, or was written by a newer version."""

    exit_code = 11
    kind = "store"


class DiskFullError(StoreError):
    """No space (or no inodes, or no quota) is left for the store or a volume."""

    exit_code = 12
    kind = "disk_full"


class DamagedError(StoreError):
    """An object, a manifest or the database is missing, or is not as it was written."""

    exit_code = 14
    kind = "damaged"


class ExistsError(DmError):
    """The name is taken."""

    exit_code = 15
    kind = "exists"


class DivergedError(DmError):
    """Each side has commits that the other one does not have, or somebody else moved the branch at the same time."""

    exit_code = 16
    kind = "diverged"


class RemoteError(DmError):
    """A remote cannot be reached, or refused a request.

    A `passing` error may not come again at the next try. `denied` says that a right is missing.
    """

    exit_code = 17
    kind = "remote"

    def __init__(self, message: str, *, hint: str | None = None, passing: bool = False, denied: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.passing = passing
        self.denied = denied


class CommandError(DmError):
    """A command of the user's, which dm-compose ran for him, failed."""

    exit_code = 19
    kind = "command"


class PluginError(DmError):
    """A plugin cannot be loaded, or its code raised an exception that is not a DmError."""

    exit_code = 20
    kind = "plugin"


class UntrustedError(DmError):
    """A remote offers something that nobody may accept, for example a path that leads elsewhere, a device or an absurd size."""

    exit_code = 18
    kind = "untrusted"


def error_classes() -> dict[str, type[DmError]]:
    """Return every error class by its `kind`, for turning an error that crossed a pipe back into its class."""
    found: dict[str, type[DmError]] = {}
    pending: list[type[DmError]] = [DmError]
    while pending:
        cls = pending.pop()
        found.setdefault(cls.kind, cls)
        pending.extend(cls.__subclasses__())
    return found
