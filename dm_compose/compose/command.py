"""The `docker compose` command."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from dm_compose import process
from dm_compose.compose.model import can_be_parsed, parse_project
from dm_compose.core.project import Project
from dm_compose.errors import ComposeError

CONFIG_TIMEOUT_S = 120.0
_LOG_PREFIX = re.compile(r'^time="[^"]*" level=(\w+) msg="(.*)"$')
_NO_FILES, _ONLY_SOME_FILES = 4, 8 | 16  # ShellCompDirective of the library cobra, with which Compose completes
_FILE_OPTIONS = "-f FILE (with pytest: --dm-file FILE)"
_DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


@dataclass(frozen=True)
class ComposeOptions:
    """Compose's global options that choose the project, each empty where the user gave none.

    `others` are words that do not choose the project, such as `--ansi never`.
    """

    files: tuple[str, ...] = ()
    project_name: str | None = None
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    project_directory: str | None = None
    others: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return them as words of a command line, before the verb."""
        words = list(self.others)
        for option, values in (("-f", self.files), ("--profile", self.profiles), ("--env-file", self.env_files)):
            for value in values:
                words += [option, value]
        if self.project_name is not None:
            words += ["-p", self.project_name]
        if self.project_directory is not None:
            words += ["--project-directory", self.project_directory]
        return words


@dataclass(frozen=True)
class Offered:
    """Completions, each with a text that describes it. With `files` the names of files are completions too."""

    words: tuple[tuple[str, str], ...]
    files: bool


class Compose:
    """The command `docker compose` with the options that choose one project."""

    def __init__(self, options: ComposeOptions, files: Sequence[str] = ()) -> None:
        """Choose a project by options. `files` are those of COMPOSE_FILE, which count where the options name none."""
        self.options = options
        self._files = tuple(files)

    def project(self, *, all_profiles: bool = False) -> Project:
        """Return the project as Compose resolves it: interpolation, includes, extends, profiles, merges. Needs no engine.

        ComposeError repeats Compose's own words when Compose refuses the files.
        """
        if "-" in self.options.files:
            raise ComposeError(
                "the compose file cannot be read from standard input, because it is read more than once",
                hint="Write it to a file and name that with -f.",
            )
        words = self.options.arguments()
        everything = [*words, "--profile", "*"]
        # Compose leaves the extension fields of services and volumes out of JSON, and its YAML cannot be read back exactly.
        with ThreadPoolExecutor(2) as pool:
            extended = pool.submit(self._run, [*everything, "config"])
            resolved = self._run([*(everything if all_profiles else words), "config", "--format", "json"])
        try:
            return parse_project(resolved, extended.result())
        except ComposeError:  # perhaps only a service of a profile that is not enabled lacks something
            return parse_project(resolved, self._run([*words, "config"]))

    def services(self) -> list[str]:
        """Return the names of the project's services, also those of profiles that are not enabled. ComposeError."""
        return self._run([*self.options.arguments(), "--profile", "*", "config", "--services"]).split()

    def has_verb(self, name: str) -> bool:
        """Whether the installed Compose has a verb, also one that its help does not list. False if there is no Compose."""
        try:
            return _capture("compose", name, "--help").code == 0
        except ComposeError:
            return False

    def complete(self, words: Sequence[str], incomplete: str) -> Offered:
        """Return Compose's own completion of a word after `words`, which are a verb and what follows it, or none."""
        done = _capture("__complete", "compose", *self.options.arguments(), *words, incomplete)
        *lines, last = done.stdout.splitlines() or [""]
        directive = int(last[1:]) if re.fullmatch(r":\d+", last) else _NO_FILES
        if directive & _ONLY_SOME_FILES:
            return Offered((), files=True)
        found = tuple((name, text) for name, _, text in (line.partition("\t") for line in lines))
        return Offered(found, files=not directive & _NO_FILES)

    def _run(self, words: Sequence[str]) -> str:
        done = _capture("compose", *words)
        if done.code == 0:
            return done.stdout
        self._check_installed()
        raise ComposeError(self._named(_message(done.stderr)), hint=self.hint() or _hint(done.stderr))

    def hint(self) -> str | None:
        """Return a hint if COMPOSE_FILE names a file that is not there, which explains any failure of Compose."""
        missing = [] if self.options.files else [name for name in self._files if not Path(name).exists()]
        if not missing:
            return None
        return f"COMPOSE_FILE names {missing[0]}, which is not here: unset COMPOSE_FILE, or name the file: {_FILE_OPTIONS}."

    def _check_installed(self) -> None:
        if _capture("compose", "version").code != 0:
            raise ComposeError(
                "`docker compose` does not work here", hint="Install the docker compose plugin, version 2 or later."
            )

    def _named(self, message: str) -> str:
        """Put the file's name before a message of Compose that has a line number but no name."""
        if not re.match(r"(yaml|json): ", message):
            return message
        names = [os.path.relpath(file) if file.parent == Path.cwd() else str(file) for file in self.files()]
        broken = [name for name in names if not can_be_parsed(name)]
        return f"{broken[0]}: {message}" if broken else message

    def files(self) -> list[Path]:
        """Return the files that the user or COMPOSE_FILE names, otherwise the file that Compose finds here or above."""
        if named := self.options.files or self._files:
            return [Path(name).absolute() for name in named]
        start = Path(self.options.project_directory or ".").absolute()
        return [d / name for d in (start, *start.parents) for name in _DEFAULT_FILES if (d / name).exists()][:1]

    def directory(self) -> Path:
        """Return the directory that Compose takes the project to be in."""
        if self.options.project_directory is not None:
            return Path(self.options.project_directory).absolute()
        return next((file.parent for file in self.files()), Path.cwd())

    def pass_through(
        self,
        words: Sequence[str],
        *,
        file: Path | None = None,
        directory: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> int:
        """Run a verb on our own terminal and return Compose's exit code.

        `file` replaces the project's files, in the project directory `directory`. `extra` are environment variables to add.
        ComposeError when there is no `docker` command or no Compose plugin.
        """
        options = self.options
        if file is not None:
            options = replace(options, files=(str(file),), project_directory=str(directory or Path.cwd()))
        with _docker_command():
            code = process.pass_through(["docker", "compose", *options.arguments(), *words], extra)
        if code:
            self._check_installed()
        return code


def _capture(*words: str) -> process.Finished:
    """Run `docker`, and return its output. ComposeError if it cannot be run."""
    with _docker_command():
        return process.capture(["docker", *words], timeout_s=CONFIG_TIMEOUT_S)


@contextlib.contextmanager
def _docker_command() -> Iterator[None]:
    """Turn the errors of starting `docker` into ComposeError."""
    try:
        yield
    except FileNotFoundError:
        raise ComposeError("there is no `docker` command", hint="Install Docker with its compose plugin.") from None
    except OSError as error:
        raise ComposeError(f"`docker` cannot be run: {error.strerror}", hint="Install Docker with its compose plugin.") from None


def _message(stderr: str) -> str:
    """Return Compose's complaint in one line, without its warnings."""
    lines = []
    for line in stderr.strip().splitlines():
        match = _LOG_PREFIX.match(line)
        if match is None:
            lines.append(line.strip())
        elif match[1] in ("error", "fatal"):
            lines.append(re.sub(r'\\(["\\])', r"\1", match[2]))
    return " ".join(line for line in lines if line) or "docker compose failed without a message"


def _hint(stderr: str) -> str | None:
    if "no configuration file provided" in stderr:
        return f"Run this in a directory with a compose.yaml, or name the file: {_FILE_OPTIONS}."
    if "required variable" in stderr:
        return "Set the variable in the environment, in .env, or in a file given with --env-file."
    return None
