"""`dm-compose seed`: a command makes a state once, and from then on a remote has it under its content key."""

from __future__ import annotations

import enum
import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dm_compose import process
from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.names import RefName
from dm_compose.dots.stack import Stack
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import CommandError, DivergedError, ExistsError, RemoteError, UsageError
from dm_compose.remotes.names import RemoteName, Tag
from dm_compose.sharing.named_remotes import Remotes
from dm_compose.sharing.remote_ref import RemoteRef
from dm_compose.sharing.seed_key import ContentKey, content_key
from dm_compose.sharing.up_from import (
    Fetched,
    UpOptions,
    fetch_commit,
    fetch_images,
    is_empty,
    put_and_start,
    start,
)
from dm_compose.transfer import Relation

METADATA = "seed_key"
_NEXT_TRY = "Nothing was committed. The stack is left as it is; `dm-compose down -v` before the next try."


class Outcome(enum.Enum):
    """The origin of a seed."""

    HERE = "here"  # the store had it
    PULLED = "pulled"  # the remote had it
    MADE = "made"  # the command has run


@dataclass(frozen=True)
class SeedRequest:
    """A seed that the user asks for: the remote that keeps it, the sources of its key, and the command that makes its state."""

    remote: str
    name: RemoteName
    globs: Sequence[str]
    text: str
    command: Sequence[str]
    push: bool = True


@dataclass(frozen=True)
class Seeded:
    """A stack that is up on a seed. `why` tells people the reasons for the outcome, and for a push that was not done."""

    key: ContentKey
    outcome: Outcome
    commit: Commit
    pushed: bool
    why: tuple[str, ...]
    total_s: float


def seed(stack: Stack, remotes: Remotes, request: SeedRequest, options: UpOptions) -> Seeded:
    """Bring a stack up on the seed with its content key: from the store, else from the remote, else made by the command.

    The command finds the stack up and empty. If it fails, nothing is committed or pushed (CommandError). ExistsError if the
    volumes are not empty. If two processes make the same seed at once, one pushes it and the other takes that one. A remote that
    does not let us write, or not even read, is no error, because the state is here.
    """
    began = time.monotonic()
    fetch_images(stack)
    key = content_key(stack, request.globs, request.text)
    source = RemoteRef(request.remote, request.name, key.branch)
    why: list[str] = []
    pushed = False
    if (here := _here(remotes, stack, key)) is not None:
        outcome, commit = Outcome.HERE, here
        why.append("the store has a seed with this key")
        put_and_start(stack, remotes, source, Fetched(here, Relation.SAME), options, began)
        if request.push:
            pushed = _push_again(stack, remotes, request, key, source, why)
    elif _may_be_there(remotes, source, why):
        found = _fetch(stack, remotes, source, key)
        outcome, commit = Outcome.PULLED, found.commit
        why.append(f"{request.remote} has a seed with this key")
        put_and_start(stack, remotes, source, found, options, began)
    else:
        outcome, commit = Outcome.MADE, _make(stack, request, key, options)
        why.append("no seed with this key was found, so the command has run")
        if request.push:
            try:
                pushed = _push(stack, remotes, request, key, why)
            except DivergedError:
                found = _fetch(stack, remotes, source, key)
                outcome, commit = Outcome.PULLED, found.commit
                why.append("somebody else has pushed one meanwhile, which is taken instead")
                put_and_start(stack, remotes, source, Fetched(commit, Relation.BEHIND, found.received_bytes), options, began)
    return Seeded(key, outcome, commit, pushed, tuple(why), time.monotonic() - began)


def _here(remotes: Remotes, stack: Stack, key: ContentKey) -> Commit | None:
    """Return the seed if the store has it, also below later commits of its branch."""
    with remotes.dots.store() as store:
        dot = stack.identity(store)[0]
        head = store.branches(dot).get(key.branch) if store.has_dot(dot) else None
        log = store.log(dot, head) if head is not None else []
    return next((commit for commit in log if commit.metadata.get(METADATA) == key.key), None)


def _fetch(stack: Stack, remotes: Remotes, source: RemoteRef, key: ContentKey) -> Fetched:
    """Get the seed from the remote. DivergedError if somebody has pushed something else to its branch."""
    found = fetch_commit(stack, remotes, source)
    if found.commit.metadata.get(METADATA) != key.key:
        raise DivergedError(
            f"{source} is not at the seed: {found.commit.id.short} {found.commit.message}",
            hint="Work on a seed belongs on a branch of its own. `--key STRING` makes another seed.",
        )
    return found


def _push_again(stack: Stack, remotes: Remotes, request: SeedRequest, key: ContentKey, source: RemoteRef, why: list[str]) -> bool:
    """Push a seed that an earlier run could not push. A remote that cannot be asked is no error, because the seed is here."""
    try:
        return not _may_be_there(remotes, source, why) and _push(stack, remotes, request, key, why)
    except (RemoteError, DivergedError) as error:
        why.append(f"{request.remote} cannot be asked whether it has the seed: {error.message}")
        return False


def _may_be_there(remotes: Remotes, source: RemoteRef, why: list[str]) -> bool:
    """Whether the remote has the seed. If it does not let us read, the answer is no."""
    assert isinstance(source.ref, RefName)
    try:
        with remotes.opened(source.remote) as remote:
            return remote.repository(source.name).resolve(Tag.of_branch(source.ref)) is not None
    except RemoteError as error:
        if not error.denied:
            raise
        why.append(f"{source.remote} does not let us look: {error.message}")
        return False


def _push(stack: Stack, remotes: Remotes, request: SeedRequest, key: ContentKey, why: list[str]) -> bool:
    """Push the seed. Return False if the remote does not let us."""
    try:
        remotes.push(request.remote, stack, key.branch, request.name)
    except RemoteError as error:
        if not error.denied:
            raise
        stack.listener(Event("warning", f"the seed is not pushed: {error.message}"))
        why.append(f"{request.remote} does not let us push")
        return False
    return True


def _make(stack: Stack, request: SeedRequest, key: ContentKey, options: UpOptions) -> Commit:
    """Bring the stack up empty on the seed's own branch, run the command and commit."""
    if not request.command:
        raise UsageError(f"there is no seed {key.key}, and no command that makes it", hint="For example: -- make seed")
    with stack.live(lock=True, create=True) as live:
        if full := sorted(subdot for subdot in live.places if not is_empty(live, subdot)):
            raise ExistsError(
                f"a seed is made from empty volumes, and {', '.join(full)} of dot {live.dot} hold data",
                hint="`dm-compose down -v` removes them; it first names the changes that are in no commit.",
            )
        live.store.begin_branch(live.dot, live.worktree, key.branch)
    start(stack, options)
    stack.listener(Event("run", " ".join(request.command)))
    try:
        code = process.pass_through(request.command, _environment(stack, key))
    except OSError as error:
        raise CommandError(f"{request.command[0]} cannot be run: {error.strerror}", hint=_cannot_run(error)) from None
    if code:
        raise CommandError(
            f"`{' '.join(request.command)}` failed with exit code {code}",
            hint=_NEXT_TRY,
        )
    return stack.commit(f"seed {key.key}", {METADATA: key.key}, timeout_s=options.timeout_s).commit


def _cannot_run(error: OSError) -> str:
    """Return what may help if a command cannot be started."""
    if error.errno == errno.ENOEXEC:
        return f"A script begins with a line such as `#!/bin/sh`; or name the shell: -- sh FILE. {_NEXT_TRY}"
    return _NEXT_TRY


def _environment(stack: Stack, key: ContentKey) -> dict[str, str]:
    """Return the variables for the command: the key, the project for Compose, and the addresses of published ports."""
    found = {"DM_SEED_KEY": key.key, "COMPOSE_PROJECT_NAME": stack.facts.project.name}
    if files := stack.compose.files():
        found["COMPOSE_FILE"] = os.pathsep.join(str(file) for file in files)
    options = stack.compose.options
    for variable, values in (("COMPOSE_PROFILES", options.profiles), ("COMPOSE_ENV_FILES", options.env_files)):
        if values:
            found[variable] = ",".join(values)
    for container in stack.containers():
        for port in container.ports if container.running and not container.one_off else ():
            service = container.service.upper().replace("-", "_").replace(".", "_")
            host, number = endpoints(stack.facts.engine, container, port)[-1]
            found[f"DM_ADDRESS_{service}_{port}"] = f"{host}:{number}"
    return found
