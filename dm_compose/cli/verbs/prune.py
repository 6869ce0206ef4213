"""`dm-compose prune` repairs stacks that killed test runs had, and removes clones that they have left."""

from __future__ import annotations

from collections import Counter

import click

from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json, printable, say
from dm_compose.cli.targets import target
from dm_compose.core.units import counted
from dm_compose.errors import EngineError


@click.command(short_help="Put back and remove what killed test runs have left.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def prune(*, dry_run: bool, as_json: bool) -> None:
    """Put back the state of stacks from before test runs that were killed, and remove the clones that such runs have left.

    This is about all stacks of the store. Work that any other killed command has left is finished, or taken back, as well. The
    state that was live is kept first; `undo` brings it back.

    Clones go with their containers, networks, volumes and files in the store. A clone whose test run is alive stays, and so does
    everything that is not a clone. The next test run on clones removes them too. Project files that dm-compose has generated for
    stacks of which nothing is left on the engine go as well.
    """
    from dm_compose.clones.sweep import sweep
    from dm_compose.up.run import forget_generated_files, gone_projects

    dots = target().dots(quiet=as_json)
    if dots.engine is None:
        raise EngineError("no Docker Engine answers", hint="Start Docker, or check DOCKER_HOST.")
    with dots.store() as store:
        found = sweep(dots.engine, store, dots.variables, dots.listener, thorough=True, dry_run=dry_run)
    left = dots.left()
    gone = gone_projects(dots.engine, dots.variables.state_directory)
    for project in [] if dry_run else gone:
        forget_generated_files(dots.variables.state_directory, project)
    for unfinished in [] if dry_run else left:
        dots.finish(unfinished)
    if as_json:
        print_json({"dry_run": dry_run, "clones": found, "projects": gone, "unfinished": left})
        return
    for unfinished in left:
        say(printable(unfinished.left.text if dry_run else f"{unfinished.left.short}; cleaned up after it"))
    for leftover in found:
        kinds = Counter(resource.kind for resource in leftover.resources)
        what = ", ".join(counted(count, kind) for kind, count in kinds.items()) or "its state in the store"
        say(f"{'would remove' if dry_run else 'removed'} {leftover.name}: {what}")
    for project in gone:
        say(f"{'would remove' if dry_run else 'removed'} the generated project file of {project}, of which nothing is left")
    if not found and not gone and not left:
        say("no test run has left anything")
