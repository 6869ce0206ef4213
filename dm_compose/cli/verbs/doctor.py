"""`dm-compose doctor` tells what test runs can expect on this machine."""

from __future__ import annotations

from typing import cast

import click

from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json, printable, say, table
from dm_compose.cli.targets import ComposeTarget, target
from dm_compose.core.units import seconds, size


@click.command(short_help="Tell how each datastore goes down and up in test runs.")
@json_option
def doctor(*, as_json: bool) -> None:
    """Tell how each datastore goes down and up in test runs, and why. Measure the time of copying files and pausing here.

    The stack is not touched. The command uses a scratch container of one of its images, and a scratch file in the store.
    """
    from dm_compose.sessions.doctor import examine

    found = examine(cast(ComposeTarget, target()).stack(quiet=as_json))
    if as_json:
        print_json(found)
        return
    engine, probe, costs = found.engine, found.probe, found.costs
    say(f"engine   {engine.version}, {engine.operating_system}, {engine.architecture}, at {engine.endpoint}")
    say(f"files    {'directly' if found.files == 'in-process' else 'through a helper container'}")
    how = "shared with the volumes" if probe.reflink else "copied, because this file system cannot share blocks between files"
    say(f"objects  {how} (reflink); {size(probe.size_bytes)} take {seconds(probe.copy_s)}")
    proof = "proven, and left alone" if found.untouched else "cannot be proven, because the engine is not on this machine"
    say(f"a datastore that a test did not touch: {proof}")
    if costs is not None:
        say(
            f"one container, whatever runs in it: pause {seconds(costs.pause_s)}, unpause {seconds(costs.unpause_s)},"
            f" its program alone down and up (respawn) {seconds(costs.respawn_s)},"
            f" the whole container down and up (restart) {seconds(costs.restart_s)}"
        )
    click.echo()
    rows = [(s.service, ", ".join(s.engines) or "-", s.strategy, s.obstacle or "its image has a shell") for s in found.services]
    table(("SERVICE", "ENGINE", "STRATEGY", "WHY"), rows)
    click.echo()
    told = [(s.service, " ".join(s.relaxed) or f"as it is: {s.durable_because}") for s in found.services]
    table(("SERVICE", "WITH --dm-durability off"), told)
    click.echo()
    say("clones for parallel workers: " + ("yes" if found.clonable else "no"))
    for problem in found.clones:
        say(f"  {printable(problem)}")
