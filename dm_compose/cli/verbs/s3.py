"""`dm s3`: the ancestor's words for object storage. `dm remote` does the same."""

from __future__ import annotations

import re

import click

from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json
from dm_compose.cli.verbs.help import VerbGroup
from dm_compose.cli.verbs.remote import add_remote
from dm_compose.errors import UsageError

_KEY_AND_SECRET = re.compile(r"[^/:]+:[^@]+(?:@(?P<endpoint>.*))?")


@click.group(cls=VerbGroup)
def s3() -> None:
    """Use a bucket as a remote, in the ancestor's words."""


@s3.group(cls=VerbGroup)
def remote() -> None:
    """Give buckets names."""


@remote.command(short_help="Give a bucket a name.")
@click.argument("name")
@click.argument("url")
@json_option
def add(*, name: str, url: str, as_json: bool) -> None:
    """Give the bucket URL (s3://BUCKET/PREFIX) the name NAME, as `remote add` does. Keys are neither taken here nor stored."""
    given = _KEY_AND_SECRET.fullmatch(url)
    if given is not None and "://" not in url.partition("@")[0]:
        endpoint = "?endpoint=URL" if given["endpoint"] else ""
        raise UsageError(
            "the command line takes no key and secret, because other users of this machine could read them there",
            hint=f"Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then: remote add {name} 's3://BUCKET/PREFIX{endpoint}'",
        )
    added = add_remote(name, url)
    print_json(added) if as_json else click.echo("s3 remote added.")


@s3.command("clone-subset", short_help="Not supported.", context_settings={"ignore_unknown_options": True})
@click.argument("words", metavar="REMOTE BUCKET PREFIXES", nargs=-1, type=click.UNPROCESSED)
@json_option
def clone_subset(*, words: tuple[str, ...], as_json: bool) -> None:
    """Not supported: a remote holds dots, and other objects of a bucket are no commits."""
    raise UsageError(
        "clone-subset is not supported: a bucket is a remote that holds dots, not a dot",
        hint="Copy the objects into a dot with the provider's own tool: dm mount --create DOT ./data; aws s3 sync ... ./data",
    )
