"""The variables of the environment that dm-compose itself goes by. docs/cli.md lists them.

The command lines and the pytest plugin read the environment, and hand a `Variables` down. Nothing else looks at it.
Child processes get the whole environment as it is, and the libraries that dm-compose uses read their own variables
(docker-py DOCKER_HOST, object storage AWS_...).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dm_compose.core.names import DotName
from dm_compose.errors import UsageError

DEFAULT_STORE = "dotmesh"
DEFAULT_HELPER_IMAGE = "python:3.14-slim"
DEFAULT_TIMEOUT_S = 120.0
ACCESSES = ("auto", "helper", "in-process")
_NAMES = (
    *("DM_DOT", "DM_FILES", "DM_HELPER_IMAGE", "DM_HOME", "DM_TIMEOUT"),
    *("COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "HOME", "XDG_STATE_HOME"),
    *("SHELL", "BASH_COMPLETION_USER_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
)


@dataclass(frozen=True)
class Variables:
    """The variables that are set, by name.

    A value is checked when it is asked for, because a wrong DM_TIMEOUT must not stop a command that waits for nothing.
    """

    given: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Take what dm-compose goes by out of an environment."""
        return cls({name: environment[name] for name in _NAMES if name in environment})

    @property
    def home(self) -> str:
        """DM_HOME, which says where the store is: a directory, or else the name of a volume; by default a volume."""
        return self.given.get("DM_HOME") or DEFAULT_STORE

    @property
    def home_is_directory(self) -> bool:
        """Whether the store is a directory. Its name then has a slash, and may be a relative path."""
        return "/" in self.home

    @property
    def files(self) -> str:
        """DM_FILES, which says how files are reached: one of ACCESSES. UsageError."""
        choice = self.given.get("DM_FILES", "auto")
        if choice not in ACCESSES:
            raise UsageError(f"DM_FILES={choice} is not known", hint="Use auto, helper or in-process.")
        return choice

    @property
    def helper_image(self) -> str:
        """DM_HELPER_IMAGE, the image of helper containers."""
        return self.given.get("DM_HELPER_IMAGE") or DEFAULT_HELPER_IMAGE

    @property
    def timeout_s(self) -> float:
        """DM_TIMEOUT, the seconds to wait for each datastore where the user gives no others. UsageError."""
        text = self.given.get("DM_TIMEOUT") or str(DEFAULT_TIMEOUT_S)
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise UsageError(f"DM_TIMEOUT: {text!r} is not a number of seconds")
        return seconds

    @property
    def dot(self) -> DotName | None:
        """DM_DOT, the dot that `dm` works with where no option names one. UsageError."""
        text = self.given.get("DM_DOT")
        return DotName.parse(text) if text else None

    @property
    def compose_files(self) -> tuple[str, ...]:
        """COMPOSE_FILE, the names of the compose files where no option names any. Compose reads it as well."""
        separator = self.given.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        return tuple(filter(None, self.given.get("COMPOSE_FILE", "").split(separator)))

    @property
    def user_home(self) -> str:
        """HOME, the user's own directory; `/` where there is none."""
        given = self.given.get("HOME", "")
        return given if given.startswith("/") else "/"

    @property
    def state_directory(self) -> Path:
        """The directory of generated project files and of the logs of bugs, below XDG_STATE_HOME."""
        return Path(self.given.get("XDG_STATE_HOME") or Path(self.user_home) / ".local" / "state") / "dm-compose"

    @property
    def shell(self) -> str:
        """SHELL, the user's shell; empty where it is not known."""
        return self.given.get("SHELL", "")

    def completion_file(self, program: str, shell: str) -> Path:
        """Return the file in which a shell (bash, zsh or fish) looks for a user's own completion of a program."""
        home = Path(self.user_home)
        data = Path(self.given.get("XDG_DATA_HOME") or home / ".local" / "share")
        if shell == "fish":
            config = Path(self.given.get("XDG_CONFIG_HOME") or home / ".config")
            return config / "fish" / "completions" / f"{program}.fish"
        if shell == "zsh":
            return data / "zsh" / "site-functions" / f"_{program}"
        return Path(self.given.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion") / "completions" / program
