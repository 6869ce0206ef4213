"""A machine as the `dm` command sees one: a store in a folder, no Docker Engine, and the command, run in this process."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from dm_compose.cli import main as entry
from dm_compose.errors import EngineError, error_classes
from tests.support.commands import DM, INTERRUPTED, NO_ENGINE, TERMINATED, Ended, into_a_closed_pipe, on_terminal, run_script

DOCUMENTED = {0, INTERRUPTED, TERMINATED, *(cls.exit_code for cls in error_classes().values())}
_OURS = ("DM_", "_DM_", "COMPOSE_", "DOCKER_", "XDG_", "NO_COLOR", "FORCE_COLOR")


@dataclass
class Machine:
    """A store below `root`. `variables` are the environment of its commands beside the store's."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "store"

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        user = {"HOME": str(self.root / "user"), "SHELL": "/bin/bash"}  # no command writes into the tester's own folders
        ours = {"DM_HOME": str(self.home), "DOCKER_HOST": NO_ENGINE, "XDG_STATE_HOME": str(self.root / "state")}
        return {**kept, **user, **ours, **self.variables}

    def __call__(self, *words: str, answer: str = "", code: int | None = 0, **variables: str) -> Ended:
        """Run `dm` with `answer` on its standard input and check the exit code (None: any documented one).

        No words make a bug or a traceback, and with `--json` there is one document.
        """
        ended = _run(words, answer, {**self.environment(), **variables})
        assert ended.code in DOCUMENTED, ended
        assert "Traceback" not in ended.out + ended.err, ended
        assert code is None or ended.code == code, ended
        if "--json" in words and "--help" not in words:
            ended.json()
        return ended

    def script(self, *words: str, answer: str | None = None, **variables: str) -> Ended:
        """Run the installed `dm` in a process of its own."""
        return run_script(DM, *words, environment={**self.environment(), **variables}, answer=answer)

    def on_terminal(self, *words: str, **variables: str) -> str:
        """Run the installed `dm` on a terminal and return everything that it prints there."""
        return on_terminal(DM, *words, environment={**self.environment(), **variables})

    def into_a_closed_pipe(self, *words: str) -> str:
        """Run the installed `dm` whose output nobody reads; return its standard error."""
        return into_a_closed_pipe(DM, *words, environment=self.environment())

    def listing(self) -> list[str]:
        """Return every path below the root, but for what looking may leave: locks, and the database's own files."""
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return sorted(path for path in found if not re.search(r"/locks/|state\.db|^state|/index(/|$)", path))

    def tree(self, dot: str, *parts: str) -> Path:
        """Return a path in the live files of a dot's current branch."""
        return self.home.joinpath("trees", dot, ".current", *parts)

    def write(self, dot: str, name: str, content: str, subdot: str = "__default__") -> None:
        """Write a file of a subdot as a program that has it mounted would."""
        path = self.tree(dot, subdot, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def read(self, dot: str, name: str, subdot: str = "__default__") -> str | None:
        """Return a file of a subdot; None where there is none."""
        path = self.tree(dot, subdot, name)
        return path.read_text() if path.exists() else None

    def commit(self, dot: str, message: str) -> str:
        """Commit a dot and return the id."""
        return self("--dot", dot, "commit", "-m", message).out.strip()

    def chain(self, *contents: str) -> list[str]:
        """Commit `file` of the dot `a` with each content in turn, which is the message too; return the ids."""
        ids = []
        for content in contents:
            self.write("a", "file", content)
            ids.append(self.commit("a", content))
        return ids

    def messages(self, *words: str) -> list[str]:
        """Return the lines of the messages in a log."""
        return [line.strip() for line in self("log", *words).lines if line.startswith("    ")]

    def is_dirty(self) -> bool:
        """Return whether the current dot has uncommitted changes."""
        return bool(self("status", "--json").json()["dirty"])

    def objects(self) -> list[Path]:
        """Return the files that hold what was committed."""
        return sorted(path for path in (self.home / "objects").rglob("*") if path.is_file())


def overwrite(path: Path) -> None:
    """Overwrite a file with as many other bytes."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(b"x" * path.stat().st_size)
    path.chmod(mode)


def _run(words: tuple[str, ...], answer: str, environment: Mapping[str, str]) -> Ended:
    # docker-py leaves its socket open when nobody answers, so nobody is asked here.
    no_engine = mock.patch("dm_compose.dots.all_dots.Engine", side_effect=EngineError("there is no engine"))
    with _streams(answer) as (out, err), mock.patch.dict(os.environ, environment, clear=True), no_engine:
        before = signal.getsignal(signal.SIGTERM)
        try:
            entry.dm(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, before)
        out.flush()
        err.flush()
        return Ended(code, *(s.buffer.getvalue().decode() for s in (out, err)))  # type: ignore[attr-defined]


@contextlib.contextmanager
def _streams(answer: str) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with mock.patch("sys.stdin", io.StringIO(answer)), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err
