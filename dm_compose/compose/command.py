"""The `docker compose` command."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dm_compose import process
from dm_compose.compose.model import parse_project
from dm_compose.core.project import Project
from dm_compose.errors import ComposeError

CONFIG_TIMEOUT_S = 120.0
_LOG_PREFIX = re.compile(r'^time="[^"]*" level=(\w+) msg="(.*)"$')
_DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


@dataclass(frozen=True)
class ComposeOptions:
    """Compose's global options that choose the project; each empty where the user gave none."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    project_directory: str | None = None

    def arguments(self) -> list[str]:
        """Return them as words of a command line, before the verb."""
        words: list[str] = []
        for option, values in (("-f", self.files), ("--profile", self.profiles), ("--env-file", self.env_files)):
            for value in values:
                words += [option, value]
        if self.project_name is not None:
            words += ["-p", self.project_name]
        if self.project_directory is not None:
            words += ["--project-directory", self.project_directory]
        return words


class Compose:
    """Compose for one choice of project."""

    def __init__(self, options: ComposeOptions) -> None:
        self.options = options

    def project(self, *, all_profiles: bool = False) -> Project:
        """Return the project as Compose resolves it: interpolation, includes, extends, profiles, merges. Needs no engine.

        ComposeError with Compose's own words when it refuses.
        """
        words = [*self.options.arguments(), *(["--profile", "*"] if all_profiles else []), "config"]
        # Compose leaves the extension fields of services and volumes out of JSON, and its YAML cannot be read back exactly.
        with ThreadPoolExecutor(2) as pool:
            yaml = pool.submit(self._run, words)
            json = pool.submit(self._run, [*words, "--format", "json"])
            return parse_project(json.result(), yaml.result())

    def _run(self, words: Sequence[str]) -> str:
        try:
            done = process.capture(["docker", "compose", *words], timeout_s=CONFIG_TIMEOUT_S)
        except FileNotFoundError:
            raise ComposeError("there is no `docker` command", hint="Install Docker with its compose plugin.") from None
        if done.code == 0:
            return done.stdout
        self._check_installed()
        raise ComposeError(self._named(_message(done.stderr)), hint=_hint(done.stderr))

    def _check_installed(self) -> None:
        if process.capture(["docker", "compose", "version"], timeout_s=CONFIG_TIMEOUT_S).code != 0:
            raise ComposeError(
                "`docker compose` does not work here", hint="Install the docker compose plugin, version 2 or later."
            )

    def _named(self, message: str) -> str:
        """Put the file's name before a message of Compose that has a line number but no name."""
        if not re.match(r"(yaml|json): ", message):
            return message
        names = list(self.options.files) or [f for f in os.environ.get("COMPOSE_FILE", "").split(os.pathsep) if f]
        where = Path(self.options.project_directory or ".")
        names = names or [str(where / name) for name in _DEFAULT_FILES if (where / name).exists()][:1]
        return f"{', '.join(names)}: {message}" if names else message

    def pass_through(
        self,
        words: Sequence[str],
        *,
        file: Path | None = None,
        directory: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> int:
        """Run a verb with Compose's own input, output and exit code; `file` replaces the project's files."""
        options = self.options
        if file is not None:
            options = ComposeOptions((str(file),), options.project_name, options.profiles, (), str(directory or Path.cwd()))
        try:
            return process.pass_through(["docker", "compose", *options.arguments(), *words], process.environment(**(extra or {})))
        except FileNotFoundError:
            raise ComposeError("there is no `docker` command", hint="Install Docker with its compose plugin.") from None


def _message(stderr: str) -> str:
    """Return Compose's complaint in one line, without its warnings."""
    lines = []
    for line in stderr.strip().splitlines():
        match = _LOG_PREFIX.match(line)
        if match is None:
            lines.append(line.strip())
        elif match[1] in ("error", "fatal"):
            lines.append(match[2])
    return " ".join(line for line in lines if line) or "docker compose failed without a message"


def _hint(stderr: str) -> str | None:
    if "no configuration file provided" in stderr:
        return "Run this in a directory with a compose.yaml, or name the file with -f."
    if "required variable" in stderr:
        return "Set the variable in the environment, in .env, or in a file given with --env-file."
    return None
