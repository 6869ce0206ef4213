"""`dm`: the ancestor's command line, on the dots of a store."""

from __future__ import annotations

import copy

import click

import dm_compose
from dm_compose.cli import branch_verbs, cluster_verbs, dot_verbs, state_verbs, store_verbs
from dm_compose.cli.completion import complete_branch, complete_dot, completion
from dm_compose.cli.targets import StoreTarget

_EPILOG = """\b
The dot is the one of --dot, of DM_DOT, of the Compose project of this directory, of `dm switch`, or the only one.
DM_HOME names the store: a folder, or a Docker volume (dotmesh).

\b
Exit codes: 1 failed, 2 usage, 3 Compose, 4 engine, 5 not found, 6 ambiguous, 7 uncommitted changes,
8 in use, 9 engine version, 10 not ready, 11 store, 12 disk full, 14 damaged, 15 exists, 70 bug, 130 interrupted.
"""
_OF_A_DOT = ("status", "diff", "undo", "reflog", "branch", "checkout", "tag", "worktree")


def _choose(name: str, ctx: click.Context, value: str | None) -> None:
    if value is not None:
        setattr(ctx.find_object(StoreTarget), name, value)


def with_dot(command: click.Command) -> click.Command:
    """Return a copy of a command that takes `--dot` and `--branch`, and so do the commands of a group."""
    made = copy.copy(command)
    if isinstance(made, click.Group):
        made.commands = {name: with_dot(inner) for name, inner in made.commands.items()}
        return made
    taken = {option for parameter in made.params for option in parameter.opts}
    options = [
        click.Option(
            ["--dot", "named_dot"],
            metavar="DOT",
            expose_value=False,
            callback=lambda ctx, _, value: _choose("dot_name", ctx, value),
            shell_complete=complete_dot,
            help="The dot to work with.",
        )
    ]
    if "--branch" not in taken:
        options.append(
            click.Option(
                ["--branch", "named_branch"],
                metavar="BRANCH",
                expose_value=False,
                callback=lambda ctx, _, value: _choose("branch_name", ctx, value),
                shell_complete=complete_branch,
                help="The branch to work with, by default the current one.",
            )
        )
    made.params = [*made.params, *options]
    return made


@click.group(
    epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None}, no_args_is_help=True
)
@click.option("--dot", metavar="DOT", shell_complete=complete_dot, help="The dot to work with.")
@click.option("--branch", metavar="BRANCH", help="The branch to work with, by default the current one.")
@click.version_option(dm_compose.__version__, "-V", "--version", prog_name="dm")
@click.pass_context
def cli(ctx: click.Context, dot: str | None, branch: str | None) -> None:
    """Git for data: the states of dots, which Docker volumes named after them hold."""
    ctx.obj = StoreTarget(dot, branch)


for _verb in (*state_verbs.VERBS, *branch_verbs.VERBS):
    if _verb.name in _OF_A_DOT:
        cli.add_command(with_dot(_verb))
for _verb in dot_verbs.OF_A_DOT:
    cli.add_command(with_dot(_verb))
for _verb in (*dot_verbs.OF_ALL, *store_verbs.VERBS, cluster_verbs.cluster, completion):
    cli.add_command(_verb)
