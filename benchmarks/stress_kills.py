"""Part two of benchmarks.stress: kill test runs. The next run starts from the seed, and nothing is left at the end."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.stress_leaks import FILES, Original, ViolationError, pytest_command, pytest_environment
from benchmarks.stressed import stores
from dm_compose.dots.all_dots import Dots
from tests.support.leftovers import engine_view, leftovers, processes_with
from tests.support.projects import Run, TestProject, eventually, project_in
from tests.support.watching import Watch, watched

REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
IDLE = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "stop_signal": "SIGKILL"}
UP = {"services": {"cache": REDIS}}
DOWN = {"services": {"cache": REDIS, "idle": IDLE}}  # a service without state is a case of its own in spares and recovery
TESTS = 3
BEGIN_S, RUN_S, END_S = 60.0, 170.0, 90.0
FIRST_GUESS_S = 6.0
UNCOMMITTED = 7  # exit code of a reset that would lose something

Tell = Callable[[str], None]
PLAIN = ()
MODES = {
    "plain": PLAIN,
    "-n 2": ("-n", "2"),
    "--dm-spares 1": ("--dm-spares", "1"),
    "--dm-isolate": ("--dm-isolate",),
    "-n 2 --dm-spares 1": ("-n", "2", "--dm-spares", "1"),
    "-n 2 --dm-workers-share": ("-n", "2", "--dm-workers-share"),
    "-n 2 --dm-workers-share --dm-isolate": ("-n", "2", "--dm-workers-share", "--dm-isolate"),
}
WEIGHTS = (6, 2, 2, 1, 1, 1, 1)


@dataclass
class Tally:
    """Counts of everything that was done so far."""

    killed: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    checks: int = 0


@dataclass
class _Run:
    """One run of pytest. It says in files how far it is."""

    id: str
    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def stage(self) -> str:
        """Return how far it is, or how far its first worker is."""
        for worker in ("gw0", "gw1", "main"):
            with contextlib.suppress(OSError):
                return (self.directory / f"stage-{self.id}-{worker}").read_text()
        return "interpreter"

    def failures(self, before: float = float("inf")) -> list[str]:
        """Return the failures in it up to some time."""
        file = self.directory / f"failed-{self.id}.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [f"{line['test']} ({line['when']}): {line['what']}" for line in lines if line["time"] < before]

    @property
    def output(self) -> str:
        """Return the end of its output."""
        return (self.directory / f"output-{self.id}").read_text(errors="replace")[-3000:]


class Victim:
    """A user's stack, up or down, with uncommitted work in it, whose test runs are killed."""

    def __init__(self, project: TestProject, directory: Path, watch: Watch, *, up: bool) -> None:
        self.project, self.watch, self.up = project, watch, up
        self.directory = directory
        self.marker = f"STRESS={uuid.uuid4().hex}"
        self.temporary = directory / "tmp"
        self.temporary.mkdir(parents=True)
        shutil.copy(FILES / "stores.py", directory / "stores.py")
        shutil.copy(FILES / "kills.py", directory / "test_kills.py")
        shutil.copy(FILES / "kills_conftest.py", directory / "conftest.py")
        (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\n")
        self._work: stores.View = {}
        self._engine: dict[str, list[str]] = {}
        self._history: list[Any] = []
        self._numbers = 0

    # Its user

    def work(self, text: str) -> None:
        """Commit another seed, and go on working without committing. The stack stays up or down, as it was."""
        project = self.project
        if not self.up or not self._engine:
            project.dm("up", "-d")
        stack = Original(project)
        client = stores.cache(stack)
        eventually(lambda: client.ping(), "redis")
        client.flushall()
        stores.seed_redis(stack)
        client.set("seed", text)
        project.dm("commit", "-m", f"seed {text}")
        seen = {"cache": stores.see_redis(stack)}
        (self.directory / "settings.json").write_text(json.dumps({"tests": TESTS, "seen": seen}))
        client.set("work", text)
        self._work = stores.see_redis(stack)
        client.close()
        if not self.up:
            project.dm("down")
        self._engine, self._history = self._seen(), self._told()

    def _seen(self) -> dict[str, list[str]]:
        return {**engine_view(self.project), "without a name": self.watch.without_a_name()}

    def _told(self) -> list[Any]:
        return [self.project.json(*words) for words in (("log",), ("branch",))]

    # Test runs

    def start(self, options: Sequence[str]) -> _Run:
        """Start a test run and return when it has begun."""
        self._numbers += 1
        run_id = f"{self._numbers:04}"
        name, _, value = self.marker.partition("=")
        environment = {name: value, "STRESS_RUN": run_id, "TMPDIR": str(self.temporary)}
        with open(self.directory / f"output-{run_id}", "wb") as output:
            process = subprocess.Popen(
                pytest_command("-q", "--tb=short", "-p", "no:pytester", *options),
                cwd=self.directory,
                env={**pytest_environment(self.project), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        run = _Run(run_id, process, self.directory)
        begun = self.directory / f"stage-{run_id}-main"
        eventually(lambda: begun.exists() or process.poll() is not None, f"run {run_id} to begin", timeout_s=BEGIN_S)
        return run

    def check_run(self, run: _Run, what: str) -> None:
        """Raise ViolationError unless a run that ended by itself has ended well."""
        if run.process.wait(timeout=RUN_S) or run.failures():
            said = "\n".join(run.failures()) or run.output
            raise ViolationError(f"run {run.id} ({what}) failed: {said[:4000]}")

    def kill(self, run: _Run, *, whole: bool) -> float:
        """Kill a run, the group of its processes or the first one only; return the time."""
        at = time.time()
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(run.process.pid, signal.SIGKILL)
        run.process.wait(timeout=END_S)
        return at

    def await_ends(self) -> None:
        """Wait until no process of any run is left."""
        deadline = time.monotonic() + END_S
        while left := processes_with(self.marker):
            if time.monotonic() > deadline:
                raise ViolationError(f"{END_S:.0f} s after the last kill there are processes of killed runs: {left}")
            time.sleep(0.05)

    def check_thawed(self) -> None:
        """Check that nothing of the user's stack stays frozen. Nobody has to run a command: the watchdog thaws it."""
        eventually(lambda: not any("paused" in c for c in self._own_containers()), f"{self.project.name} to be thawed", 20)

    def _own_containers(self) -> list[str]:
        return [c for c in engine_view(self.project)["containers"] if not c.startswith(f"{self.project.name}-t")]

    # When all is over

    def check(self, chance: Random) -> None:
        """Check, after a `prune` and a run that is not killed, that everything is as the user left it, and nothing more."""
        self.await_ends()
        words = [("prune",), *([("status",)] if chance.random() < 0.5 else [])]
        chance.shuffle(words)
        for word in words:
            self.project.dm(*word)
        left = [name for name in leftovers(self.project) if "/locks/" not in name]
        self._expect([], left, "left of clones after `prune`")
        self.check_run(self.start(PLAIN), "not killed, at the end")
        self.await_ends()
        self._expect(self._engine, self._seen(), "on the engine")
        self._expect(
            [], [p.name for p in self.temporary.iterdir() if p.name != f"pytest-of-{getpass.getuser()}"], "temporary files"
        )
        self._expect(self._history, self._told(), "history")
        self._check_store()
        if self.up:
            self._expect(
                UNCOMMITTED, self.project.dm("reset", check=False).returncode, "exit code of a reset: work is uncommitted"
            )
        else:
            self.project.dm("up", "-d")
            self.project.wait_ready()
        self._expect(self._work, stores.see_redis(Original(self.project)), "the user's uncommitted work")
        if not self.up:
            self.project.dm("down")

    def _check_store(self) -> None:
        stack = self.project.stack()
        with Dots(self.project.variables).store() as store:
            self._expect([], [*store.clones()], "clones in the store")
            self._expect([], store.unfinished(stack.identity(store)[0]), "unfinished in the store")
        self._expect([], [str(p) for p in (self.project.home / "incoming").rglob("*")], "files in the store's incoming/")
        self._expect([], [*Dots(self.project.variables).check(repair=False).damage], "what fsck finds")

    def _expect(self, wanted: object, found: object, what: str) -> None:
        if wanted != found:
            if isinstance(wanted, dict) and isinstance(found, dict):
                wanted, found = (
                    {k: v for k, v in one.items() if other.get(k) != v} for one, other in ((wanted, found), (found, wanted))
                )
            raise ViolationError(f"{self.project.name}: {what}: should be {wanted}, is {found}")


@contextlib.contextmanager
def victims(directory: Path, run: Run) -> Iterator[list[Victim]]:
    """Make a stack that is up and one that is down, each with a seed and uncommitted work."""
    with contextlib.ExitStack() as made:
        watch = made.enter_context(watched(run))
        found = []
        for name, document in (("up", UP), ("down", DOWN)):
            place = directory / name
            project = made.enter_context(contextlib.contextmanager(project_in)(place, run, name, document))
            victim = Victim(project, place / "tests", watch, up=name == "up")
            victim.work("0")
            found.append(victim)
        yield found


def kill_runs(
    found: Sequence[Victim],
    kills: int,
    seed: int,
    *,
    check_every: int = 20,
    until: float = float("inf"),
    tell: Tell = lambda _: None,
) -> Tally:
    """Kill so many test runs, or as many as fit `until` a time.monotonic(), and tell `tell` of each.

    ViolationError names the first thing that is wrong.
    """
    chance, tally = Random(seed), Tally()
    guesses_s: dict[tuple[str, bool], float] = {}
    while sum(tally.killed.values()) < kills and time.monotonic() < until:
        tell(_one(chance.choice(found), chance, tally, guesses_s))
        if sum(tally.killed.values()) % check_every == 0 and sum(tally.killed.values()) // check_every > tally.checks:
            _check_all(found, chance, tally)
            tell("nothing is left")
    _check_all(found, chance, tally)
    return tally


def _one(victim: Victim, chance: Random, tally: Tally, guesses_s: dict[tuple[str, bool], float]) -> str:
    """Start a run and kill it, unless it ends before; return a word for what was done."""
    (mode,) = chance.choices(list(MODES), WEIGHTS)
    what = f"{mode}, stack that is {'up' if victim.up else 'down'}"
    run = victim.start(MODES[mode])
    began = time.monotonic()
    try:
        run.process.wait(chance.uniform(0, guesses_s.get((mode, victim.up), FIRST_GUESS_S)))
    except subprocess.TimeoutExpired:
        whole = chance.random() < 0.7
        stage = run.stage
        at = victim.kill(run, whole=whole)
        if failures := run.failures(before=at):
            raise ViolationError(f"run {run.id} ({what}) failed before it was killed: {failures[0][:4000]}") from None
        if victim.up:
            victim.check_thawed()
        if not whole and ("share" in mode or chance.random() < 0.5):
            victim.await_ends()  # workers of a controller that is gone go on for a while, with the stack that they share too
        tally.killed[what] += 1
        tally.stages[stage] += 1
        who = "all processes" if whole else "the first process"
        tally.whole[who] += 1
        return f"run {run.id} of {victim.project.name} ({what}): {who} killed after {time.monotonic() - began:.2f} s, {stage}"
    victim.check_run(run, what)
    guesses_s[mode, victim.up] = time.monotonic() - began
    tally.ended += 1
    return f"run {run.id} of {victim.project.name} ({what}): ended by itself after {time.monotonic() - began:.2f} s"


def _check_all(found: Sequence[Victim], chance: Random, tally: Tally) -> None:
    tally.checks += 1
    for victim in found:
        victim.check(chance)
        victim.work(str(tally.checks))
