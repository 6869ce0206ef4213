"""`dm-compose`: Compose's own options and verbs, and the verbs for the stack's state."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

import click

import dm_compose
from dm_compose.cli import passing
from dm_compose.cli.targets import ComposeTarget
from dm_compose.compose import ComposeOptions
from dm_compose.compose.words import read_words
from dm_compose.errors import UsageError

_EPILOG = """\b
Every other verb (up, down, ps, logs, exec, ...) is Compose's own and is handed through.
`push` and `pull` move the dot when their first word is a remote, else they are Compose's, for images.

\b
Exit codes: 1 failed, 2 usage, 3 Compose, 4 engine, 5 not found, 6 ambiguous, 7 uncommitted changes,
8 in use, 9 engine version, 10 not ready, 11 store, 12 disk full, 14 damaged, 15 exists, 16 diverged,
17 remote, 18 untrusted, 19 seed command, 20 plugin, 70 bug, 129 hung up, 130 interrupted.
"""

_VERBS = {
    "state": ("plan", "commit", "status", "diff", "reset", "undo"),
    "history": ("log", "show", "reflog"),
    "branch": ("branch", "checkout", "tag", "worktree"),
    "prune": ("prune",),
    "doctor": ("doctor",),
    "remote": ("remote",),
    "seed": ("seed",),
    "stash": ("stash",),
}
"""The verbs that each module in `cli/verbs` brings. A module is imported when one of its verbs is wanted: this saves 20 ms."""


class ComposeGroup(click.Group):
    """A group that hands unknown commands to Compose."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of our own verbs."""
        return sorted(name for names in _VERBS.values() for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return our verb, or a command that hands the words to Compose."""
        if cmd_name in ("push", "pull"):
            return _of_a_remote_or_of_images(cmd_name)
        if cmd_name == "up":
            return _up()
        module = next((module for module, names in _VERBS.items() if cmd_name in names), None)
        if module is None:
            return passing.command(cmd_name)
        return cast(click.Command, getattr(_module(module), cmd_name))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb. UsageError for an option of Compose's after one of our verbs; it says where that option goes."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            composes = {name: option for option in self.params if option.expose_value for name in option.opts}
            if (option := composes.get(error.option_name)) is None or error.ctx is None:
                raise
            verb = error.ctx.command_path.removeprefix(f"{ctx.command_path} ")
            word = " ".join(filter(None, (error.option_name, option.metavar)))
            raise UsageError(
                f"{verb} has no option {error.option_name}",
                hint=f"Compose's options go before the verb: {ctx.command_path} {word} {verb}",
            ) from None


def _module(name: str) -> Any:
    return importlib.import_module(f"dm_compose.cli.verbs.{name}")


def _of_a_remote_or_of_images(name: str) -> click.Command:
    """Return a command that is ours when its first word is a remote, and otherwise Compose's verb for images."""
    ours = next(verb for verb in _module("remote").OF_A_DOT if verb.name == name)
    images = passing.command(name)

    def run(words: tuple[str, ...]) -> object:
        ctx = click.get_current_context()
        first = next((word for word in words if not word.startswith("-")), None)
        mine = first is not None and _module("remote").is_remote(first)
        chosen = ours if mine else images
        with chosen.make_context(name, list(words), parent=ctx.parent) as inner:
            return chosen.invoke(inner)

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
    return click.Command(name, params=[words], callback=run, context_settings=settings, add_help_option=False)


def _up() -> click.Command:
    """Return a command that is ours with `--from`, and otherwise Compose's verb."""
    composes = passing.command("up")

    def run(words: tuple[str, ...]) -> object:
        ctx = click.get_current_context()
        chosen = _module("seed").up if read_words(["up", *words]).values("from") else composes
        with chosen.make_context("up", list(words), parent=ctx.parent) as inner:
            return chosen.invoke(inner)

    return passing.HandedThrough("up", callback=run, add_help_option=False)


def _compose_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Compose file; may be given several times."),
        click.option("-p", "--project-name", metavar="NAME", help="Project name."),
        click.option(
            "--profile", "profiles", multiple=True, metavar="NAME", help="Profile to enable; may be given several times."
        ),
        click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="Environment file for interpolation."),
        click.option("--project-directory", metavar="DIR", help="Directory that relative paths start from."),
        click.option("--ansi", metavar="WHEN", help="Compose's control of ANSI characters."),
        click.option("--progress", metavar="TYPE", help="Compose's kind of progress output."),
        click.option("--parallel", metavar="N", help="Compose's limit of parallel work."),
        click.option("--compatibility", is_flag=True, help="Compose's backward compatibility mode."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group(
    cls=ComposeGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    no_args_is_help=True,
)
@_compose_options
@click.version_option(dm_compose.__version__, "-V", "--version", prog_name="dm-compose")
@click.pass_context
def cli(
    ctx: click.Context,
    files: tuple[str, ...],
    project_name: str | None,
    profiles: tuple[str, ...],
    env_files: tuple[str, ...],
    project_directory: str | None,
    ansi: str | None,
    progress: str | None,
    parallel: str | None,
    *,
    compatibility: bool,
) -> None:
    """Git for the state of a whole Docker Compose stack.

    The options choose the project, as they do for `docker compose`.
    """
    named = (("--ansi", ansi), ("--progress", progress), ("--parallel", parallel))
    others = [word for option, value in named if value is not None for word in (option, value)]
    others += ["--compatibility"] if compatibility else []
    ctx.obj = ComposeTarget(ComposeOptions(files, project_name, profiles, env_files, project_directory, tuple(others)))
