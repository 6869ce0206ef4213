"""The verbs that fill a stack from a remote before its datastores start: up --from, seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from dm_compose.cli.options import hard_option, json_option, privileged_option, timeout_option
from dm_compose.cli.output import as_commit, output_kept_for_json, print_json, printable, say
from dm_compose.cli.targets import ComposeTarget, target
from dm_compose.core.units import seconds, size
from dm_compose.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from dm_compose.dots.stack import Stack
    from dm_compose.remotes.names import RemoteName
    from dm_compose.sharing.named_remotes import Remotes
    from dm_compose.sharing.remote_ref import RemoteRef
    from dm_compose.sharing.seed import Seeded
    from dm_compose.sharing.up_from import Filling

any_version_option = click.option("--any-version", is_flag=True, help="Accept a commit made by another version of an engine.")


def _parts(*, quiet: bool) -> tuple[Stack, Remotes]:
    from dm_compose.sharing.named_remotes import Remotes

    chosen = cast(ComposeTarget, target())
    return chosen.stack(quiet=quiet), Remotes(chosen.dots(quiet=quiet))


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    short_help="Bring the stack up on a commit from a remote.",
)
@click.option("--from", "source", metavar="REMOTE:NS/DOT[@REF]", help="The commit to start on.")
@hard_option
@any_version_option
@privileged_option
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMPOSE'S OPTIONS] [SERVICE]...")
def up(*, source: str, hard: bool, any_version: bool, privileged: bool, as_json: bool, words: tuple[str, ...]) -> None:
    """Bring the stack up, with a lasting volume for each directory of state that has none.

    Alone it is Compose's own verb, and with --wait it waits for datastores too. With --from the stack comes up in the background
    on a commit from a remote, and the command returns when every datastore answers. The other options go with --from.

    For example: up --from hub:team/shop
    """
    from dm_compose.sharing.remote_ref import RemoteRef
    from dm_compose.sharing.up_from import UpOptions, up_from

    parsed = RemoteRef.parse(source)
    stack, remotes = _parts(quiet=as_json)
    with output_kept_for_json(as_json=as_json):
        options = UpOptions(hard, any_version, target().variables.timeout_s, words=words, privileged=privileged)
        done = up_from(stack, remotes, parsed, options)
    print_json(as_filling(done)) if as_json else print_filling(done, parsed, started=True)


def as_filling(done: Filling) -> dict[str, object]:
    """Return the outcome of `up --from` as plain data."""
    return {
        "commit": as_commit(done.commit),
        "branch": done.branch,
        "remote": done.remote,
        "received_bytes": done.received_bytes,
        "filled": done.filled,
        "saved": done.saved,
        "total_s": done.total_s,
    }


def print_filling(done: Filling, source: RemoteRef, *, started: bool) -> None:
    """Print the outcome of `up --from` in a line or two or three."""
    what = f"filled {', '.join(done.filled)}" if done.filled else "it was there already"
    received = f"{size(done.received_bytes)} received" if done.received_bytes else "nothing received"
    where = f"on branch {done.branch} at {done.commit.id.short} {done.commit.message}"
    say(f"{where}: {received}, {what}, {'ready' if started else 'done'} after {seconds(done.total_s)}")
    if done.remote != source.remote:
        say(f"{printable(source.remote)} is the remote {done.remote}, for `push` and `pull`")
    if done.saved:
        say("uncommitted changes are kept: `dm-compose undo` brings them back")


class _WithCommand(click.Command):
    """A command that takes a command of the user's after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = args[: args.index("--")] if "--" in args else args
        ctx.params["command"] = tuple(args[len(own) + 1 :])
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- CMD...]"]


@click.command(cls=_WithCommand)
@click.argument("kept", required=False, metavar="[REMOTE:NS/DOT]")
@click.option("--from", "source", metavar="REMOTE:NS/DOT[@REF]", help="Fill the volumes from this commit, and start nothing.")
@click.option("--key-from", "globs", multiple=True, metavar="GLOB", help="Files that the seed is made from; several are allowed.")
@click.option("--key", "text", default="", metavar="STRING", help="Something else that the seed depends on.")
@click.option("--no-push", is_flag=True, help="Keep a seed that was made on this machine.")
@hard_option
@any_version_option
@timeout_option
@json_option
def seed(
    *,
    kept: str | None,
    source: str | None,
    globs: tuple[str, ...],
    text: str,
    no_push: bool,
    hard: bool,
    any_version: bool,
    timeout: float,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Bring the stack up on the seed for the files GLOB. It comes from REMOTE, or is made by the command CMD if it is not there.

    REMOTE:NS/DOT defaults to the current remote and the dot's name there.

    For example: seed hub:team/shop --key-from 'migrations/**' -- make seed
    """
    from dm_compose.sharing.remote_ref import RemoteRef
    from dm_compose.sharing.seed import SeedRequest
    from dm_compose.sharing.seed import seed as make_or_take
    from dm_compose.sharing.up_from import UpOptions, up_from

    how = UpOptions(hard, any_version, timeout, start=source is None)
    stack, remotes = _parts(quiet=as_json)
    if source is not None:
        if kept is not None or globs or text or no_push or command:
            raise UsageError("--from names one commit, and goes without a remote, a key and a command")
        parsed = RemoteRef.parse(source)
        with output_kept_for_json(as_json=as_json):
            filling = up_from(stack, remotes, parsed, how)
        print_json(as_filling(filling)) if as_json else print_filling(filling, parsed, started=False)
        return
    remote, name = _kept_on(kept, stack, remotes)
    with output_kept_for_json(as_json=as_json):
        done = make_or_take(stack, remotes, SeedRequest(remote, name, globs, text, command, push=not no_push), how)
    _print_seeded(done, as_json=as_json)


def _kept_on(kept: str | None, stack: Stack, remotes: Remotes) -> tuple[str, RemoteName]:
    """Return the remote, and the dot on it, where seeds are kept."""
    from dm_compose.sharing.remote_ref import RemoteRef

    if kept is not None:
        if "@" in kept.rpartition(":")[2]:
            raise UsageError(f"{kept!r} names a commit, and a seed is found by its key", hint="Leave out the @ and all after it.")
        found = RemoteRef.parse(kept)
        return found.remote, found.name
    current = next((remote.name for remote in remotes.known() if remote.current), None)
    if current is None:
        raise NotFoundError("there is no current remote", hint="Name one: dm-compose seed REMOTE:NS/DOT ...")
    with remotes.dots.store() as store:
        return current, remotes.upstream(store, current, stack.identity(store)[0])


def _print_seeded(done: Seeded, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "key": done.key.key,
                "branch": done.key.branch,
                "parts": done.key.parts,
                "outcome": done.outcome,
                "why": done.why,
                "commit": as_commit(done.commit),
                "pushed": done.pushed,
                "total_s": done.total_s,
            }
        )
        return
    for part in done.key.parts:
        click.echo(f"  {part.kind} {part.name}  {part.digest}".rstrip())
    pushed = ", pushed" if done.pushed else ""
    say(f"seed {done.key.key}: {done.outcome.value}{pushed}, ready after {seconds(done.total_s)}\n{'; '.join(done.why)}")
