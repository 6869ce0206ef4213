"""A proof that lasts from one command to the next: nothing has reached a stack's datastores since their files were marked quiet.

An engine may write on its own for a while after its start: a MariaDB that has recovered writes a checkpoint a second later. By
their files these writes cannot be told from a user's.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from json import JSONDecodeError

from dm_compose.core.names import SubdotName
from dm_compose.errors import EngineError, NotFoundError
from dm_compose.live.worktree import LiveWorktree, Member, mounted_subdots
from dm_compose.untouched.witness import Witness


def take_note(live: LiveWorktree, but: Collection[SubdotName]) -> str:
    """Return a note about the datastores of all subdots `but` some, for `untouched_since`. It is '' if nothing could be proven.

    Takes it before the files are marked, so that it says nothing of writes that come in between. Waits for 0.2 s at most.
    """
    if live.engine is None or live.tree or not live.engine.facts().local:
        return ""
    subdots = [subdot for subdot in live.places if subdot not in but]
    try:
        witness = Witness(live.engine)
        witness.remember([live.engine.container(m.container.id) for m in _writers(live, subdots)])
        return json.dumps({"subdots": subdots, "witness": witness.noted()})
    except (EngineError, NotFoundError):
        return ""


def untouched_since(live: LiveWorktree, note: str, subdots: Collection[SubdotName]) -> set[SubdotName]:
    """Return those of the subdots whose datastores are proven untouched since the note was taken.

    Their containers run, and no other container that mounts the subdot was started since.
    """
    try:
        known = json.loads(note) if note else {}
        if live.engine is None or not known.get("witness"):
            return set()
        witness, watched = Witness(live.engine), _writers(live, subdots)
        witness.recall(known["witness"], [m.container for m in watched])
        touched = witness.touches([m.container for m in watched])
    except (EngineError, NotFoundError, JSONDecodeError, KeyError, TypeError):  # the note of another version
        return set()
    met = {subdot for other in witness.others for subdot in mounted_subdots(live.engine, other, live.places)}
    found = set()
    for subdot in {*subdots}.intersection(known["subdots"]) - met:
        writers = _writers(live, [subdot])
        if writers and all(m.datastore is not None and m.container.id not in touched for m in writers):
            found.add(subdot)
    return found


def _writers(live: LiveWorktree, subdots: Collection[SubdotName]) -> list[Member]:
    """Return the members that may write to any of the subdots, running or not."""
    return [m for m in live.members if any(m.mounts.get(subdot) for subdot in subdots)]
