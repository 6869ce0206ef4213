"""The verbs for remotes: remote, push, pull, clone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dm_compose.cli.asking import ask
from dm_compose.cli.completion import complete_branch, complete_dot, complete_remote
from dm_compose.cli.options import hard_option, json_option, privileged_option
from dm_compose.cli.outcomes import say_kept
from dm_compose.cli.output import age, print_json, printable, say, table
from dm_compose.cli.progress import EventLines, Narrator, is_quiet
from dm_compose.cli.targets import target
from dm_compose.cli.verbs.help import VerbGroup
from dm_compose.core.events import Event
from dm_compose.core.names import DEFAULT_BRANCH, DotName, RefName
from dm_compose.core.units import counted, size
from dm_compose.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from dm_compose.remotes.base import Remote
    from dm_compose.remotes.names import RemoteName
    from dm_compose.sharing.named_remotes import Remotes

_stash = click.option("--stash-on-divergence", "stash", is_flag=True, help="Keep the losing side as BRANCH-DIVERGED-TIME.")


def _remotes(*, quiet: bool) -> Remotes:
    from dm_compose.sharing.named_remotes import Remotes

    return Remotes(target().dots(quiet=quiet))


@contextlib.contextmanager
def _transfer(*, as_json: bool) -> Iterator[Remotes]:
    """Give the remotes, and tell their progress: in words and with a bar, or as JSON on standard error."""
    from dm_compose.dots.all_dots import Dots
    from dm_compose.sharing.named_remotes import Remotes

    teller = EventLines() if as_json else Narrator(quiet=False)

    def tell(event: Event) -> None:
        if not as_json and not is_quiet() and event.what in ("begin", "calculate"):
            say(printable(event.text) or "Calculating...")
        else:
            teller(event)

    try:
        yield Remotes(Dots(target().variables, tell))
    finally:
        teller.close()


def remote_names() -> list[str]:
    """Return the names of the remotes. No store is made to find out. DmError if the store cannot be read."""
    from dm_compose.live.access import store_exists

    dots = target().dots()
    return [found.name for found in _remotes(quiet=True).known()] if store_exists(dots.engine, dots.variables) else []


def _name(text: str) -> RemoteName:
    from dm_compose.sharing.remote_ref import remote_name

    return remote_name(text)


@click.group(cls=VerbGroup, invoke_without_command=True, short_help="List, add, remove and look after remotes.")
@click.option("-v", "--verbose", is_flag=True, help="Show the addresses, and which one is the current remote.")
@json_option
@click.pass_context
def remote(ctx: click.Context, *, verbose: bool, as_json: bool) -> None:
    """List, add, remove and look after remotes: directories, registries (oci://) and buckets (s3://, gs://, az://)."""
    if ctx.invoked_subcommand is not None:
        return
    known = _remotes(quiet=True).known()
    if as_json:
        print_json([{"name": r.name, "url": str(r.url), "current": r.current} for r in known])
        return
    if not known:
        say("there is no remote; `remote add NAME ADDRESS` adds one", err=True)
    for found in known:
        click.echo(f"{'* ' if found.current else '  '}{found.name}\t{found.url}" if verbose else found.name)


@remote.command()
@click.argument("name")
@click.argument("url")
@json_option
def add(*, name: str, url: str, as_json: bool) -> None:
    """Give the address URL the name NAME. Credentials are not stored: they stay with `docker login` or the provider."""
    added = add_remote(name, url)
    if as_json:
        print_json(added)
    elif click.get_current_context().find_root().info_name == "dm":
        say("Remote added.")  # the ancestor's words
    else:
        say(printable(f"remote {added['name']} is {added['url']}"))


def add_remote(name: str, url: str) -> dict[str, str]:
    """Give an address a name. Return both as they are stored."""
    from dm_compose.remotes.url import RemoteUrl

    parsed = RemoteUrl.parse(url, target().variables.user_home)
    _remotes(quiet=True).add(name, parsed)
    return {"name": name, "url": str(parsed)}


@remote.command()
@click.argument("name", shell_complete=complete_remote)
@json_option
def rm(*, name: str, as_json: bool) -> None:
    """Forget the remote NAME. Its dots stay there."""
    _remotes(quiet=as_json).remove(name)
    if as_json:
        print_json({"name": name})


@remote.command()
@click.argument("name", shell_complete=complete_remote)
@json_option
def switch(*, name: str, as_json: bool) -> None:
    """Make NAME the current remote."""
    _remotes(quiet=as_json).switch(name)
    if as_json:
        print_json({"name": name})


def _tell_where(opened: Remote) -> None:
    """Say that there are no dots at an address, and at which longer ones there are."""
    say(f"no dots at {printable(str(opened.url))}", err=True)
    for url in opened.below():
        say(f"  there are dots at {printable(str(url))}", err=True)


@remote.command("ls")
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@json_option
def list_dots(*, name: str, as_json: bool) -> None:
    """List the dots of REMOTE with their branches, sizes and ages."""
    from dm_compose.transfer import list_remote

    with _remotes(quiet=True).opened(name) as opened:
        dots = list_remote(opened)
        if not dots:
            _tell_where(opened)
    if as_json:
        print_json(dots)
        return
    rows = [
        (str(d.name), b.name, b.head.short, size(b.size_bytes), age(b.created), str(d.commits)) for d in dots for b in d.branches
    ]
    table(("DOT", "BRANCH", "HEAD", "SIZE", "COMMITTED", "COMMITS"), rows)


def _dots(opened: Remote, named: str | None) -> list[RemoteName]:
    """Return the dot that was named, or all of a remote."""
    if named is not None:
        return [_name(named)]
    found = opened.repositories()
    if not found:
        _tell_where(opened)
    return found


@remote.command("rm-dot")
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@click.argument("theirs", metavar="NS/DOT")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@json_option
def remove_dot(*, name: str, theirs: str, force: bool, as_json: bool) -> None:
    """Delete a dot with all its branches and commits from REMOTE. There is no way back."""
    from dm_compose.transfer import remove_remote

    found = _name(theirs)
    agreed = force or ask(f"Delete {found} from {name}, with all its branches and commits? (enter Y to continue):") == "Y"
    if agreed:
        with _remotes(quiet=as_json).opened(name) as opened:
            remove_remote(opened, found)
    if as_json:
        print_json({"dot": str(found), "deleted": agreed})
    elif not agreed:
        say("Aborted.")


@remote.command("gc", short_help="Free what no branch on a remote leads to any more.")
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@click.argument("theirs", metavar="[NS/DOT]", required=False)
@click.option("--dry-run", is_flag=True, help="Name the commits that can go, and why. Free nothing.")
@json_option
def collect(*, name: str, theirs: str | None, dry_run: bool, as_json: bool) -> None:
    """Free space on REMOTE: commits that no branch leads to any more, and uploads that were cut off."""
    from dm_compose.transfer import collect_remote, remote_garbage

    found = {}
    with _remotes(quiet=as_json).opened(name) as opened:
        for dot in _dots(opened, theirs):
            found[str(dot)] = remote_garbage(opened, dot) if dry_run else collect_remote(opened, dot)
    if as_json:
        print_json(found)
        return
    verb = "can go" if dry_run else "went"
    for dot_name, garbage in found.items():
        what = f"{counted(len(garbage.commits), 'commit')} and {counted(garbage.blobs, 'blob')}"
        say(f"{dot_name}: {what} {verb}: {size(garbage.size_bytes)}")
        for commit_id, why in garbage.commits.items():
            say(f"  {commit_id.short}  {why}")


@remote.command()
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@click.argument("theirs", metavar="[NS/DOT]", required=False)
@json_option
def verify(*, name: str, theirs: str | None, as_json: bool) -> int:
    """Read every blob of REMOTE and compare it with its digest."""
    from dm_compose.transfer import verify_remote

    with _remotes(quiet=as_json).opened(name) as opened:
        found = {str(dot): verify_remote(opened, dot, Narrator(quiet=as_json)) for dot in _dots(opened, theirs)}
    damage = sum(len(checkup.damage) for checkup in found.values())
    if as_json:
        print_json({"sound": not damage, "dots": found})
        return DamagedError.exit_code if damage else 0
    for dot_name, checkup in found.items():
        say(f"{dot_name}: {counted(checkup.commits, 'commit')}, {counted(checkup.blobs, 'blob')}, {size(checkup.size_bytes)}")
        for problem in checkup.damage:
            say(printable(f"  damaged: {problem.where}: {problem.what}"))
    if damage:
        raise DamagedError(
            counted(damage, f"blob of {name} is damaged", f"blobs of {name} are damaged"),
            hint="Push again from a store that is whole.",
        )
    return 0


@click.command()
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@click.argument("which", metavar="[DOT]", required=False, shell_complete=complete_dot)
@click.argument("of_it", metavar="[BRANCH]", required=False, shell_complete=complete_branch)
@click.option("--remote-name", metavar="NS/NAME", help="The dot's namespace and name there, by default admin/DOT.")
@_stash
@json_option
def push(*, name: str, which: str | None, of_it: str | None, remote_name: str | None, stash: bool, as_json: bool) -> None:
    """Send a branch with its whole history to REMOTE. Contents that are there already are not sent again.

    REMOTE is a name from `remote` or an address. Without DOT and BRANCH the current branch of the current dot is sent. There the
    dot is NS/NAME, by default admin/DOT; --remote-name says another one, and later pushes and pulls remember it.

    For example: push hub
    """
    chosen = target().named_or_current(which, quiet=as_json)
    theirs = _name(remote_name) if remote_name is not None else None
    with _transfer(as_json=as_json) as remotes:
        chosen.listener = remotes.dots.listener
        done = remotes.push(name, chosen, target().named_branch if of_it is None else RefName.parse(of_it), theirs, stash=stash)
    if as_json:
        print_json(done)
        return
    for warning in done.warnings:
        say(f"warning: {printable(warning)}", err=True)
    if done.before == done.head and not done.commits:
        say(f"Done! {done.name} has {done.head.short} on branch {done.branch} already")
        return
    where = f"{done.name} branch {done.branch} is at {done.head.short}"
    sent = f"{size(done.sent_bytes)} sent" + (f", {size(done.reused_bytes)} there already" if done.reused_bytes else "")
    say(f"Done! {where}: {counted(len(done.commits), 'commit')}, {sent}")


@click.command()
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@click.argument("which", metavar="[DOT]", required=False, shell_complete=complete_dot)
@click.argument("of_it", metavar="[BRANCH]", required=False, shell_complete=complete_branch)
@_stash
@hard_option
@privileged_option
@json_option
def pull(*, name: str, which: str | None, of_it: str | None, stash: bool, hard: bool, privileged: bool, as_json: bool) -> None:
    """Bring a branch up to its state on REMOTE. Refuses when there are uncommitted changes, or histories have diverged."""
    chosen = target().named_or_current(which, quiet=as_json)
    with _transfer(as_json=as_json) as remotes:
        chosen.listener = remotes.dots.listener
        branch = target().named_branch if of_it is None else RefName.parse(of_it)
        done = remotes.pull(name, chosen, branch, stash=stash, hard=hard, privileged=privileged)
    if as_json:
        print_json(done)
        return
    if not done.fetched.commits:
        say(f"Done! branch {done.branch} has all that {done.fetched.name} has")
        return
    received = f"{size(done.fetched.received_bytes)} received, {size(done.fetched.reused_bytes)} reused"
    say(f"Done! branch {done.branch} is at {done.head.short}: {counted(len(done.fetched.commits), 'commit')}, {received}")
    if done.stashed:
        say(f"the commits that were here are on branch {done.stashed}")
    if done.saved is not None:
        say_kept()


@click.command(short_help="Make a dot from a dot on a remote.")
@click.argument("name", metavar="REMOTE", shell_complete=complete_remote)
@click.argument("theirs", metavar="NS/DOT")
@click.argument("branch", required=False)
@click.option("--local-name", metavar="DOT", help="The dot's name here.")
@json_option
def clone(*, name: str, theirs: str, branch: str | None, local_name: str | None, as_json: bool) -> None:
    """Make a dot from a dot on REMOTE, with its history, and check BRANCH (master) out."""
    found = _name(theirs)
    local = DotName.parse(local_name) if local_name is not None else None
    with _transfer(as_json=as_json) as remotes:
        done = remotes.clone(name, found, DEFAULT_BRANCH if branch is None else RefName.parse(branch), local)
    if as_json:
        print_json(done)
        return
    say(f"Done! {counted(len(done.commits), 'commit')}, {size(done.received_bytes)} received")


@click.command("set-upstream")
@click.argument("words", nargs=-1, metavar="[DOT] REMOTE NS/DOT")
@json_option
def set_upstream(*, words: tuple[str, ...], as_json: bool) -> None:
    """Set a dot's name on a remote, for `push` and `pull`."""
    if len(words) not in (2, 3):
        raise UsageError("give [DOT] REMOTE NS/DOT", hint="For example: dm dot set-upstream shop hub team/shop")
    name, theirs = words[-2:]
    remotes = _remotes(quiet=as_json)
    dot = DotName.parse(words[0]) if len(words) == 3 else target().named_or_current(None, quiet=True).name
    remotes.set_upstream(name, dot, _name(theirs))
    if as_json:
        print_json({"dot": dot, "remote": name, "upstream": str(_name(theirs))})


OF_A_DOT: tuple[click.Command, ...] = (push, pull)
OF_ALL: tuple[click.Command, ...] = (remote, clone)
