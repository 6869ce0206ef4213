"""`dm-compose`: Compose's own options and verbs, and the verbs for the stack's state."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

import dm_compose
from dm_compose.cli import passing
from dm_compose.cli.completion import complete_as_compose
from dm_compose.cli.targets import ComposeTarget
from dm_compose.cli.verbs.help import VerbGroup, help_verb
from dm_compose.compose import ComposeOptions
from dm_compose.compose.words import VERBS, VerbWords
from dm_compose.core.names import did_you_mean
from dm_compose.errors import DmError, NotFoundError, UsageError

_EPILOG = """\
Every other verb (up, down, ps, logs, exec, ...) is Compose's own and is handed through. `push` and `pull` move the dot
when their first word is a remote, else they are Compose's, for images. `dm-compose help VERB` shows what dm-compose
adds to a verb of Compose's, and then Compose's own help.

The commits of all stacks are in one store: the Docker volume `dotmesh`, or what DM_HOME names. `dm list` shows them, and
`dm dot delete DOT` deletes one with its history.

\b
Exit codes: 1 failed, 2 usage, 3 Compose, 4 engine, 5 not found,
6 ambiguous, 7 uncommitted changes, 8 in use, 9 engine version,
10 not ready, 11 store, 12 disk full, 14 damaged, 15 exists, 16 diverged,
17 remote, 18 untrusted, 19 seed command, 20 plugin, 70 bug,
129 hung up, 130 interrupted.
"""

_VERBS = {
    "verbs.state": ("plan", "commit", "status", "diff", "reset", "undo"),
    "verbs.history": ("log", "show", "reflog"),
    "verbs.branch": ("branch", "checkout", "tag", "worktree"),
    "verbs.prune": ("prune",),
    "verbs.doctor": ("doctor",),
    "verbs.remote": ("remote",),
    "verbs.seed": ("seed",),
    "verbs.stash": ("stash",),
    "verbs.store": ("gc", "fsck"),
    "completion": ("completion",),
}
"""The verbs that each module in `cli` brings. A module is imported when one of its verbs is wanted: this saves 20 ms."""

_BESIDE = {
    "down": "Compose's own. Before -v removes volumes, changes that are in no commit are named and, if there is a commit, kept: "
    "`reset --hard` then brings the last commit back, and `undo` those changes.",
    **dict.fromkeys(("create", "run", "scale", "watch"), "Compose's own, with a lasting volume for each subdot that has none."),
}
"""The help of Compose's verbs that dm-compose does more than hand through. It stands above Compose's."""

_INSTEAD = {
    "clone": "`dm-compose up --from REMOTE:NS/DOT` brings this stack up on it; `dm clone` makes a dot without a stack.",
    "fetch": "`pull` brings a branch up to its state on a remote.",
    "init": "The first `commit` makes the dot.",
    "restore": "`reset` puts the state of a commit back.",
    "rollback": "`reset` puts the state of a commit back.",
    "switch": "`checkout` goes to a branch; `dm switch` chooses a dot.",
}
"""Hints for verbs of other programs."""


class ComposeGroup(VerbGroup):
    """Our own verbs, and those of Compose, which are handed through."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context, in which the project is chosen. Shell completion calls this, and no callback."""
        ctx = super().make_context(info_name, args, parent, **extra)
        ctx.obj = ComposeTarget(_chosen(ctx.params))
        return ctx

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of our own verbs."""
        return sorted(("help", *(name for names in _VERBS.values() for name in names)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List our own verbs, and those of Compose that have a second meaning here."""
        labels = {name: "up --from" if name == "up" else name for name in (*self.list_commands(ctx), *_SHARED)}
        limit = formatter.width - 6 - max(len(label) for label in labels.values())
        found = {name: self.get_command(ctx, name) for name in sorted(labels)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [(labels[name], verb.get_short_help_str(limit)) for name, verb in found.items() if verb is not None]
            )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return our verb, or a command that hands the words to Compose."""
        if cmd_name == "help":
            return help_verb
        if (module := next((module for module, names in _VERBS.items() if cmd_name in names), None)) is not None:
            return cast(click.Command, getattr(_module(module), cmd_name))
        if cmd_name in _SHARED:
            module, is_ours = _SHARED[cmd_name]
            return passing.HandedThrough(cmd_name, lambda: cast(click.Command, getattr(_module(module), cmd_name)), is_ours)
        if cmd_name in _BESIDE:
            return passing.HandedThrough(cmd_name, lambda: click.Command(cmd_name, help=_BESIDE[cmd_name], add_help_option=False))
        return passing.HandedThrough(cmd_name)

    def refuse_unknown(self, ctx: click.Context, name: str) -> None:
        """Raise UsageError if neither we nor Compose has a verb. Compose is asked about verbs that are not in VERBS only."""
        if name in self.list_commands(ctx) or name in VERBS or ctx.obj.compose().has_verb(name):
            return
        raise UsageError(f"{name!r} is no verb of dm-compose or Compose", hint=self.hint_for(ctx, name))

    def hint_for(self, ctx: click.Context, name: str) -> str:
        from dm_compose.cli.dm_group import cli as dm

        if name in _INSTEAD:
            return _INSTEAD[name]
        if name in dm.commands:
            return f"It is a verb of `dm`: dm {name}."
        return did_you_mean(name, [*self.list_commands(ctx), *sorted(VERBS)]) or f"`{ctx.command_path} --help` lists the verbs."

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        own = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            return own
        return [*own, *(item for item in complete_as_compose(ctx, [], incomplete) if item.value not in self.list_commands(ctx))]

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
    return importlib.import_module(f"dm_compose.cli.{name}")


def _has_source(verb: VerbWords) -> bool:
    return bool(verb.values("from"))


def _is_remotes(verb: VerbWords) -> bool:
    """Whether `push` or `pull` is about a remote, not about images. NotFoundError if its first word is no remote or service."""
    if not verb.names:
        return False
    first = verb.names[0]
    if "/" in first:
        return True
    try:
        remotes = _module("verbs.remote").remote_names()
        services = [] if first in remotes else click.get_current_context().obj.compose().services()
    except DmError:  # then the verb is Compose's, and Compose reports the error
        return False
    if first in remotes:
        return True
    if first in services:
        return False
    there = ", ".join(remotes) or "none"
    raise NotFoundError(
        f"no remote {first} (there are: {there}), and no such service",
        hint=did_you_mean(first, [*remotes, *services]) or "`remote add NAME ADDRESS` adds a remote.",
    )


_SHARED = {"up": ("verbs.seed", _has_source), "push": ("verbs.remote", _is_remotes), "pull": ("verbs.remote", _is_remotes)}
"""The verbs that Compose has too: the module of ours, and the function that says from the words which of the two is meant."""


def _chosen(params: Mapping[str, Any]) -> ComposeOptions:
    """Return Compose's options of the command line."""
    named = (("--ansi", params.get("ansi")), ("--progress", params.get("progress")), ("--parallel", params.get("parallel")))
    others = [word for option, value in named if value is not None for word in (option, value)]
    others += ["--compatibility"] if params.get("compatibility") else []
    return ComposeOptions(
        tuple(params.get("files") or ()),
        params.get("project_name"),
        tuple(params.get("profiles") or ()),
        tuple(params.get("env_files") or ()),
        params.get("project_directory"),
        tuple(others),
    )


def _compose_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "-f",
            "--file",
            "files",
            multiple=True,
            type=click.Path(),
            metavar="FILE",
            help="Compose file; may be given several times.",
        ),
        click.option("-p", "--project-name", metavar="NAME", help="Project name."),
        click.option(
            "--profile", "profiles", multiple=True, metavar="NAME", help="Profile to enable; may be given several times."
        ),
        click.option(
            "--env-file",
            "env_files",
            multiple=True,
            type=click.Path(),
            metavar="FILE",
            help="Environment file for interpolation.",
        ),
        click.option("--project-directory", type=click.Path(), metavar="DIR", help="Directory that relative paths start from."),
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
def cli(**_: object) -> None:
    """Git for the state of a whole Docker Compose stack.

    That state is the stack's *dot*: it is committed and put back as a whole. Each directory in it, such as the files of a
    database, is a *subdot*; `plan` lists them. The options choose the project, as they do for `docker compose`.
    """
