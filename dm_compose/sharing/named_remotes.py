"""A store's remotes: their names, and the transfer of dots to and from them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dm_compose.core.events import Event
from dm_compose.core.names import DEFAULT_BRANCH, CommitId, DotName, RefName, did_you_mean
from dm_compose.dots.all_dots import UPSTREAM, Dots, upstream_key
from dm_compose.dots.dot import Dot
from dm_compose.dots.stack import Stack
from dm_compose.engine import registry_login
from dm_compose.errors import ExistsError, NotFoundError, RemoteError, UsageError
from dm_compose.live.locks import locked
from dm_compose.operations.checks import before_pull, refuse_privileged
from dm_compose.operations.fill import fill_tree
from dm_compose.operations.restore import move_to
from dm_compose.remotes.base import Context, Remote
from dm_compose.remotes.names import RemoteName
from dm_compose.remotes.registry import open_remote
from dm_compose.remotes.url import RemoteUrl
from dm_compose.sharing.remote_ref import NAMESPACE, RemoteRef
from dm_compose.store.api import Store
from dm_compose.store.exchange import NewDot
from dm_compose.transfer import Fetched, Pushed, Relation, download, push

_REMOTE, _CURRENT, _TOLD = "remote.", "current-remote", "told."
_PUSHED = "pushed."  # the address that something was pushed to, by the name of the remote
ORIGIN = "origin"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True)
class NamedRemote:
    """A remote that the store knows by a name."""

    name: str
    url: RemoteUrl
    current: bool


@dataclass(frozen=True)
class Pulled:
    """A pull that was done. `branch` is the local branch, and `head` its commit now.

    `stashed` is the branch that keeps the local commits, if the two branches had diverged. `saved` has the changes that were
    uncommitted.
    """

    fetched: Fetched
    branch: RefName
    head: CommitId
    stashed: RefName | None = None
    saved: CommitId | None = None


class Remotes:
    """The remotes of a store. Their addresses are settings of the store; credentials are never among them."""

    def __init__(self, dots: Dots) -> None:
        self.dots = dots

    # Names

    def known(self) -> list[NamedRemote]:
        """Return all remotes by name."""
        with self.dots.store() as store:
            settings = store.settings()
        names = sorted(key.removeprefix(_REMOTE) for key in settings if key.startswith(_REMOTE))
        return [NamedRemote(n, RemoteUrl.parse(settings[_REMOTE + n]), n == settings.get(_CURRENT)) for n in names]

    def add(self, name: str, url: RemoteUrl) -> None:
        """Give an address a name. The first remote becomes the current one. ExistsError, UsageError."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"invalid remote name {name!r}", hint="Use letters, digits, '_' and '-' (these two not first).")
        open_remote(url).close()  # refuses an address of an unknown kind
        with self.dots.store() as store:
            settings = store.settings()
            if _REMOTE + name in settings:
                raise ExistsError(f"remote {name} exists already", hint=f"`remote rm {name}` removes it.")
            store.set_setting(_REMOTE + name, str(url))
            if _CURRENT not in settings:
                store.set_setting(_CURRENT, name)

    def remember(self, name: str) -> str:
        """Return the name of a remote that was given by its name or address.

        An address becomes the remote `origin`, as `git clone` does it, if no remote has that name or the address. If another one
        is called `origin`, the address stays a name of its own.
        """
        with self.dots.store() as store:
            settings, url = store.settings(), self._url(store, name)
            known_as = self._known_as(store, name)
        if known_as != name or _REMOTE + name in settings or _REMOTE + ORIGIN in settings:
            return known_as
        self.add(ORIGIN, url)
        return ORIGIN

    def _known_as(self, store: Store, name: str) -> str:
        """Return the name of the remote that has this name or address; `name` itself if there is none."""
        settings = store.settings()
        if _REMOTE + name in settings or "/" not in name:
            return name
        url = str(self._url(store, name))
        names = (key.removeprefix(_REMOTE) for key, text in sorted(settings.items()) if key.startswith(_REMOTE) and text == url)
        return next(names, name)

    def remove(self, name: str) -> None:
        """Forget a remote and the upstreams there. The remote keeps its dots. NotFoundError."""
        with self.dots.store() as store:
            self._url(store, name)
            store.set_setting(_REMOTE + name, None)
            store.set_setting(_TOLD + name, None)
            store.set_setting(_PUSHED + name, None)
            for key in store.settings():
                if key.startswith(f"{UPSTREAM}{name}."):
                    store.set_setting(key, None)
            if store.settings().get(_CURRENT) == name:
                store.set_setting(_CURRENT, None)

    def switch(self, name: str) -> None:
        """Make a remote the current one. NotFoundError."""
        with self.dots.store() as store:
            self._url(store, name)
            store.set_setting(_CURRENT, name)

    def _url(self, store: Store, name: str) -> RemoteUrl:
        settings = store.settings()
        if (text := settings.get(_REMOTE + name)) is not None:
            return RemoteUrl.parse(text)
        if "/" in name:
            return RemoteUrl.parse(name, self.dots.variables.user_home)
        known = sorted(key.removeprefix(_REMOTE) for key in settings if key.startswith(_REMOTE))
        listed = f"Known: {', '.join(known) or 'none'}. `remote add NAME URL` adds one."
        raise NotFoundError(f"there is no remote {name}", hint=" ".join(filter(None, (did_you_mean(name, known), listed))))

    def is_remote(self, word: str) -> bool:
        """Whether a word names a remote, by a known name or by its address."""
        return "/" in word or any(remote.name == word for remote in self.known())

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Remote]:
        """Open a remote by its name or address."""
        with self.dots.store() as store:
            url = self._url(store, name)
        remote = open_remote(url, Context(credentials=registry_login))
        try:
            yield remote
        finally:
            remote.close()

    # Upstreams

    def upstream(self, store: Store, name: str, dot: DotName) -> RemoteName:
        """Return the name of a dot on a remote: the one that it was pushed to or cloned from, else `admin/DOT`."""
        settings = store.settings()
        text = settings.get(upstream_key(name, dot)) or settings.get(upstream_key(self._known_as(store, name), dot))
        return RemoteName.parse(text) if text is not None else RemoteName(NAMESPACE, dot)

    def set_upstream(self, name: str, dot: DotName, theirs: RemoteName) -> None:
        """Remember the name of a dot on a remote. NotFoundError."""
        with self.dots.store() as store:
            self._url(store, name)
            if not store.has_dot(dot):
                raise NotFoundError(f"there is no dot {dot}", hint="`dm list` shows what there is.")
            store.set_setting(upstream_key(name, dot), str(theirs))

    def upstreams(self, dot: DotName) -> Mapping[str, RemoteName]:
        """Return the name of a dot on each remote for which one is known."""
        with self.dots.store() as store:
            settings = store.settings()
        end = f".{dot}"
        keys = [key for key in settings if key.startswith(UPSTREAM) and key.endswith(end)]
        return {key.removeprefix(UPSTREAM).removesuffix(end): RemoteName.parse(settings[key]) for key in keys}

    # Transfers

    def push(
        self, name: str, dot: Dot, branch: RefName | None = None, theirs: RemoteName | None = None, *, stash: bool = False
    ) -> Pushed:
        """Send a branch to a remote, and remember its name there. The default is the current branch. See transfer.push.

        Warnings are about the remote, and each is returned once, not at every push.
        """
        with dot.live(lock=False) as live, self.opened(name) as remote:
            store = live.store
            target = theirs or self.upstream(store, name, live.dot)
            if store.settings().get(_PUSHED + name) == str(remote.url):
                _refuse_gone(name, remote.url)
            self._begin(f"Pushing {NAMESPACE}/{live.dot} to {name}:{target}")
            done = push(store, live.dot, branch or live.state().branch, remote, target, self.dots.listener, stash=stash)
            store.set_setting(upstream_key(name, live.dot), str(target))
            store.set_setting(_PUSHED + name, str(remote.url))
            told = "\n".join(done.warnings) or None
            if store.settings().get(_TOLD + name) == told:
                return replace(done, warnings=())
            store.set_setting(_TOLD + name, told)
            return done

    def clone(self, name: str, theirs: RemoteName, branch: RefName = DEFAULT_BRANCH, local: DotName | None = None) -> Fetched:
        """Make a dot of a branch on a remote: a tree with the branch's files. ExistsError if the dot exists.

        If this is killed, there is no dot, or one that the next command with it finishes first.
        """
        dot = local or theirs.dot
        with self.dots.store() as store, self.opened(name) as remote:
            self._begin(f"Cloning {name}:{theirs} into {NAMESPACE}/{dot}")
            _refuse_other(store, dot)
            with download(remote, theirs, branch, store, dot, self.dots.listener) as got, locked(store, dot, self.dots.listener):
                _refuse_other(store, dot)
                got.publish(new=NewDot(branch, got.report.head, {upstream_key(name, dot): str(theirs)}))
                fill_tree(store, dot)
                return got.report

    def on_its_branch(self, source: RemoteRef) -> RemoteRef:
        """Return a source whose REF nobody has told with the only branch of its dot, if that is another one than `master`."""
        if source.told or isinstance(source.ref, CommitId):
            return source
        with self.opened(source.remote) as remote:
            branches = [tag.branch for tag in remote.repository(source.name).tags() if tag.branch is not None]
        return replace(source, ref=branches[0]) if len(branches) == 1 else source

    def _begin(self, what: str) -> None:
        self.dots.listener(Event("begin", what))

    def pull(
        self,
        name: str,
        dot: Dot,
        branch: RefName | None = None,
        *,
        stash: bool = False,
        hard: bool = False,
        privileged: bool = False,
    ) -> Pulled:
        """Bring a branch up to date with a remote. The default is the current branch.

        If the branch is checked out, containers of the subdots that change go down and come back, and `undo` takes the pull back.
        With `stash` a branch `BRANCH-DIVERGED-<time>` keeps the local commits, if each side has commits that the other lacks;
        without it this raises DivergedError. UncommittedError if the branch is checked out with uncommitted changes, unless
        `hard`, which keeps them for `undo`. NotFoundError if there is no such dot. InUseError if it is checked out in
        another worktree. For `privileged` see checks.refuse_privileged.
        """
        with self.dots.store() as store:
            if isinstance(dot, Stack) and not store.has_dot(dot.name):
                place = f"{name}:{self.upstream(store, name, dot.name)}"
                hint = f"`dm-compose up --from {place}` brings the stack up on it."
                raise NotFoundError(f"dot {dot.name} has no commit yet, so there is nothing to bring up to date", hint=hint)
        with dot.live(lock=True) as live, self.opened(name) as remote:
            store = live.store
            wanted = branch or live.state().branch
            head = store.branches(live.dot).get(wanted)
            theirs = self.upstream(store, name, live.dot)
            self._begin(f"Pulling {NAMESPACE}/{live.dot} from {name}:{theirs}")
            with download(remote, theirs, wanted, store, live.dot, self.dots.listener, head=head) as got:
                report = got.report
                if report.relation in (Relation.SAME, Relation.AHEAD):
                    assert head is not None
                    return Pulled(report, wanted, head)
                stands = wanted == live.state().branch
                diverged = report.relation is Relation.DIVERGED
                before_pull(live, wanted, diverged_from=str(report.name) if diverged and not stash else None, hard=hard)
                got.publish()
            if stands:
                refuse_privileged(live, store.commit(live.dot, report.head), privileged=privileged)
            stashed = None
            if diverged:
                assert head is not None
                stashed = _stash(store, live.dot, wanted, head)
            if not stands:
                store.move_branch(live.dot, wanted, report.head)
                return Pulled(report, wanted, report.head, stashed)
            saved = move_to(live, store.commit(live.dot, report.head), "pull").saved
            return Pulled(report, wanted, report.head, stashed, saved)


def _stash(store: Store, dot: DotName, branch: RefName, head: CommitId) -> RefName:
    """Return a branch that keeps the commits of `branch`. It is made, unless a pull that was killed has made it already."""
    mark = f"{branch}-DIVERGED-"
    for name, kept in store.branches(dot).items():
        if kept == head and name.startswith(mark):
            return name
    name = RefName.parse(f"{mark}{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    store.add_branch(dot, name, head)
    return name


def _refuse_gone(name: str, url: RemoteUrl) -> None:
    """Raise RemoteError if the directory of a remote that had dots is not there: its disk may not be mounted."""
    if url.scheme == "file" and not os.path.isdir(url.path):
        hint = f"Mount its disk; or make the directory, if it is to begin anew: mkdir {shlex.quote(url.path)}"
        raise RemoteError(f"the directory of remote {name} is gone: {url.path}", hint=hint)


def _refuse_other(store: Store, dot: DotName) -> None:
    if store.has_dot(dot):
        raise ExistsError(f"dot {dot} exists already", hint="`pull` brings it up to date; `clone --local-name` makes another.")
