"""The installed scripts `dm-compose` and `dm`, run in processes of their own, and what their verbs and exit codes are."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dm_compose.cli.verbs import branch, history
from dm_compose.cli.verbs.state import VERBS
from dm_compose.errors import (
    DamagedError,
    DiskFullError,
    ExistsError,
    InUseError,
    NotFoundError,
    StoreError,
    UncommittedError,
    UsageError,
)

DM_COMPOSE, DM = (str(Path(sys.executable).with_name(name)) for name in ("dm-compose", "dm"))
NO_ENGINE = "unix:///nonexistent.sock"
PATIENCE_S = 60
OWN_VERBS = sorted(verb.name or "" for verb in (*VERBS, *history.VERBS, *branch.VERBS))  # of dm-compose; all others are Compose's
BUG, INTERRUPTED, TERMINATED = 70, 130, 143
USAGE, NOT_FOUND, EXISTS, IN_USE = (cls.exit_code for cls in (UsageError, NotFoundError, ExistsError, InUseError))
UNCOMMITTED, STORE, DISK_FULL, DAMAGED = (cls.exit_code for cls in (UncommittedError, StoreError, DiskFullError, DamagedError))


@dataclass(frozen=True)
class Ended:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return standard output as the one JSON document that it is."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def fields(self) -> list[list[str]]:
        """Return the fields of the output of `-H`."""
        return [line.split("\t") for line in self.lines]


def run_script(program: str, *words: str, environment: Mapping[str, str], answer: str | None = None) -> Ended:
    """Run an installed script with `answer` on its standard input, or with none."""
    done = subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        env=environment,
        input=answer,
        stdin=subprocess.DEVNULL if answer is None else None,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def script(*words: str, **variables: str) -> Ended:
    """Run `dm-compose` in the environment of this process, with `variables` added."""
    return run_script(DM_COMPOSE, *words, environment={**os.environ, **variables})


def on_terminal(program: str, *words: str, environment: Mapping[str, str]) -> str:
    """Run an installed script on a terminal of its own and return everything that it prints there."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [program, *words], stdin=slave, stdout=slave, stderr=slave, env={**environment, "TERM": "xterm-256color"}
    )
    os.close(slave)
    text = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while data := os.read(master, 4096):
            text += data
    os.close(master)
    child.wait(PATIENCE_S)
    return text.decode()


def into_a_closed_pipe(program: str, *words: str, environment: Mapping[str, str]) -> str:
    """Run an installed script whose standard output nobody reads; return its standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [program, *words], stdout=writing, stderr=subprocess.PIPE, env=environment, text=True, timeout=PATIENCE_S, check=False
    )
    os.close(writing)
    return done.stderr


def verbs(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every verb of a command line with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*before, name))
        else:
            yield (*before, name), command
