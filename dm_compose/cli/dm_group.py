"""`dm`: the ancestor's command line, on the dots of a store."""

from __future__ import annotations

import copy

import click

import dm_compose
from dm_compose.cli.completion import complete_branch, complete_dot, completion
from dm_compose.cli.targets import StoreTarget
from dm_compose.cli.verbs import branch as branch_verbs
from dm_compose.cli.verbs import cluster as cluster_verbs
from dm_compose.cli.verbs import dot as dot_verbs
from dm_compose.cli.verbs import history as history_verbs
from dm_compose.cli.verbs import remote as remote_verbs
from dm_compose.cli.verbs import s3 as s3_verbs
from dm_compose.cli.verbs import stash as stash_verbs
from dm_compose.cli.verbs import state as state_verbs
from dm_compose.cli.verbs import store as store_verbs
from dm_compose.cli.verbs.help import VerbGroup, help_verb
from dm_compose.core.names import DotName, RefName

_EPILOG = """\
The dot is, in this order: that of --dot, of DM_DOT, of the Compose project of this directory, of `dm switch`, or the only one.
DM_HOME names the store: a folder, or a Docker volume (dotmesh).

\b
Exit codes: 1 failed, 2 usage, 3 Compose, 4 engine, 5 not found,
6 ambiguous, 7 uncommitted changes, 8 in use, 9 engine version,
10 not ready, 11 store, 12 disk full, 14 damaged, 15 exists, 16 diverged,
17 remote, 18 untrusted, 19 seed command, 20 plugin, 70 bug,
129 hung up, 130 interrupted.
"""
_OF_A_DOT = ("status", "diff", "undo", "show", "reflog", "branch", "checkout", "tag", "worktree", "stash")


def _choose_dot(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    target = ctx.ensure_object(StoreTarget)  # made here, because shell completion calls nothing else
    if value is not None:
        target.named_dot = DotName.parse(value)


def _choose_branch(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    target = ctx.ensure_object(StoreTarget)
    if value is not None:
        target.named_branch = RefName.parse(value)


def _options() -> list[click.Option]:
    dot = click.Option(
        ["--dot"],
        metavar="DOT",
        expose_value=False,
        callback=_choose_dot,
        shell_complete=complete_dot,
        help="The dot to work with.",
    )
    branch = click.Option(
        ["--branch"],
        metavar="BRANCH",
        expose_value=False,
        callback=_choose_branch,
        shell_complete=complete_branch,
        help="The branch to work with, by default the current one.",
    )
    return [dot, branch]


def with_dot(command: click.Command) -> click.Command:
    """Return a copy of a command that takes `--dot` and `--branch`. The commands of a group take them too."""
    made = copy.copy(command)
    if isinstance(made, click.Group):
        made.commands = {name: with_dot(inner) for name, inner in made.commands.items()}
        return made
    taken = {option for parameter in made.params for option in parameter.opts}
    made.params = [*made.params, *(option for option in _options() if taken.isdisjoint(option.opts))]
    return made


class DmGroup(VerbGroup):
    """The verbs of `dm`. The hint for a verb that only `dm-compose` has says so."""

    def hint_for(self, ctx: click.Context, name: str) -> str:
        from dm_compose.cli.compose_group import cli as dm_compose_cli

        if name in dm_compose_cli.list_commands(ctx):
            return f"It is a verb of `dm-compose`: dm-compose {name}."
        return super().hint_for(ctx, name)


@click.group(
    cls=DmGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    no_args_is_help=True,
)
@click.version_option(dm_compose.__version__, "-V", "--version", prog_name="dm")
def cli() -> None:
    """Git for data: the states of dots, which Docker volumes named after them hold.

    A *dot* is committed and put back as a whole. Each directory in it that a volume DOT.SUBDOT holds is a *subdot*.
    """


cli.params[:0] = _options()
dot_verbs.dot.add_command(with_dot(dot_verbs.show))
for _verb in (*state_verbs.VERBS, *history_verbs.VERBS, *branch_verbs.VERBS, stash_verbs.stash):
    if _verb.name in _OF_A_DOT:
        cli.add_command(with_dot(_verb))
dot_verbs.dot.add_command(with_dot(remote_verbs.set_upstream))
for _verb in (*dot_verbs.OF_A_DOT, *remote_verbs.OF_A_DOT):
    cli.add_command(with_dot(_verb))
for _verb in (
    *dot_verbs.OF_ALL,
    *store_verbs.VERBS,
    *remote_verbs.OF_ALL,
    s3_verbs.s3,
    cluster_verbs.cluster,
    completion,
    help_verb,
):
    cli.add_command(_verb)
