"""Transfers that are damaged, cut off, killed or raced: they complete, or fail cleanly, and never show half a commit."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from dm_compose.core.events import Event
from dm_compose.core.names import DEFAULT_BRANCH, CommitId
from dm_compose.errors import DamagedError, DivergedError, DmError, RemoteError, StoreError
from dm_compose.remotes import Remote, RemoteUrl, Tag, open_remote, retry
from dm_compose.store.helper.client import ENDED
from dm_compose.store.local.staging import in_use
from dm_compose.store.local.store import LocalStore
from dm_compose.transfer import fetch
from dm_compose.transfer.reading import read_manifest
from tests.support.capabilities import capabilities
from tests.support.crashing import KILLED, copy, run_until
from tests.support.flaky import CUT, ERROR, LOST, PASS, at_random, flaky
from tests.support.processes import REPOSITORY
from tests.support.projects import eventually
from tests.support.servers import registry, s3_server
from tests.support.stores import connect
from tests.support.transfers import DOT, SHOP, Side, change_page, directory_remote, write_pages
from tests.support.trees import Description, describe, differences

_numbers = itertools.count()
MAX_STOPS = 2000


@pytest.fixture(scope="module")
def registry_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path_factory.mktemp("registry")) as port:
        yield port


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    if (answer := capabilities()["s3"]) != "yes":
        pytest.skip(f"s3: {answer}")
    with s3_server() as port:
        yield port


def remote_at(kind: str, port: int, bucket: int) -> Remote:
    """Return a remote on a port of this machine."""
    if kind == "registry":
        return open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{port}/team{bucket}"))
    return open_remote(RemoteUrl.parse(f"s3://bucket{bucket}?endpoint=http://127.0.0.1:{port}&region=us-east-1"))


@pytest.fixture(params=["registry", "s3"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int, int]:
    """The kind and port of a server, and the number of a place on it that is empty."""
    port = request.getfixturevalue(f"{request.param}_port")
    number = next(_numbers)
    if request.param == "s3":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        requests.put(f"http://127.0.0.1:{port}/bucket{number}", timeout=10).raise_for_status()
    return request.param, port, number


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)


def some_history(side: Side, commits: int = 3) -> list[CommitId]:
    """Make commits that touch old and new files."""
    ids = []
    write_pages(side.data / "table", 60)
    (side.data / "empty").touch()
    for number in range(commits):
        change_page(side.data / "table", number * 3, f"commit {number}".encode())
        (side.data / f"file{number}").write_bytes(os.urandom(5000))
        ids.append(side.commit(str(number)))
    return ids


# Damage


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("damage", [_flip, _truncate, _lengthen, Path.unlink])
def test_every_damaged_blob_is_found_and_named_and_nothing_is_published(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    ours = Side(tmp_path / "ours")
    some_history(ours)
    remote = directory_remote(tmp_path / "good")
    ours.push(remote)
    ours.close()
    blobs = sorted((tmp_path / "good/admin/shop/blobs/sha256").iterdir())
    assert len(blobs) > 12
    for blob in blobs:
        bad = tmp_path / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(tmp_path / "good", bad)
        damage(bad / blob.relative_to(tmp_path / "good"))
        theirs = Side(tmp_path / "theirs")
        with pytest.raises(DamagedError, match=blob.name[:12]):
            theirs.fetch(directory_remote(bad))
        assert theirs.store.garbage(datetime.now(UTC)).commits == ()
        assert list((theirs.root / "store/objects").iterdir()) == []
        theirs.fetch(remote)  # with what came before the damage, and a good remote, all is well
        theirs.close()
        shutil.rmtree(theirs.root)


def test_a_damaged_list_of_tags_is_an_error_of_its_own(tmp_path: Path) -> None:
    ours = Side(tmp_path / "ours")
    some_history(ours)
    remote = directory_remote(tmp_path / "remote")
    ours.push(remote)
    (tmp_path / "remote/admin/shop/index.json").write_bytes(b"{")
    with pytest.raises(DamagedError, match=r"index\.json"):
        ours.fetch(remote)
    with pytest.raises(DamagedError, match=r"index\.json"):
        ours.push(remote)


def test_a_damaged_base_here_is_told_and_nothing_is_published(tmp_path: Path) -> None:
    ours, theirs = Side(tmp_path / "ours"), Side(tmp_path / "theirs")
    some_history(ours, 1)
    remote = directory_remote(tmp_path / "remote")
    ours.push(remote)
    theirs.pull(remote)
    change_page(ours.data / "table", 40, b"changed")
    two = ours.commit("two")
    ours.push(remote)
    (ref,) = [e.ref for e in theirs.entries(theirs.head()).values() if e.path == "table"]
    path = theirs.root / "store/objects" / ref
    path.chmod(0o600)
    _flip(path)
    with pytest.raises(DamagedError, match="base"):
        theirs.fetch(remote)
    assert not theirs.store.exchange().has_commit(DOT, two)


def test_an_object_damaged_here_is_not_pushed(tmp_path: Path) -> None:
    ours = Side(tmp_path / "ours")
    (one,) = some_history(ours, 1)
    ours.store.check({}, repair=False)
    (ref,) = [e.ref for e in ours.entries(one).values() if e.path == "table"]
    _flip(ours.root / "store/objects" / ref)
    remote = directory_remote(tmp_path / "remote")
    with pytest.raises(DamagedError, match=ref):
        ours.push(remote)
    assert remote.repository(SHOP).tags() == []


# Bad networks


@pytest.mark.parametrize("seed", range(6))
def test_over_a_flaky_network_a_transfer_completes_or_fails_cleanly(
    server: tuple[str, int, int], seed: int, tmp_path: Path, impatient: None
) -> None:
    kind, port, number = server
    ours, theirs = Side(tmp_path / "ours"), Side(tmp_path / "theirs")
    some_history(ours)
    with flaky(port, at_random(seed, 0.3)) as bad:
        remote = remote_at(kind, bad.port, number)
        _until_done(lambda: ours.push(remote))
        assert bad.faults
        bad.schedule = at_random(seed + 100, 0.3)
        _until_done(lambda: theirs.pull(remote))
        remote.close()
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert theirs.messages() == ours.messages()
    assert theirs.store.check({}, repair=False).sound
    good = remote_at(kind, port, number)
    assert good.repository(SHOP).resolve(Tag("master")) == good.repository(SHOP).resolve(
        Tag.of_commit(ours.head() or CommitId(""))
    )
    good.close()
    ours.close()
    theirs.close()


def _until_done(work: Callable[[], object]) -> None:
    for _ in range(50):
        try:
            work()
        except RemoteError as error:
            if not error.passing:
                raise
            continue
        return
    raise AssertionError("not done after 50 tries")


@pytest.mark.parametrize("fault", [ERROR, CUT, LOST])
def test_when_nothing_gets_better_the_error_says_so_and_the_branch_stays(
    server: tuple[str, int, int], fault: str, tmp_path: Path, impatient: None
) -> None:
    kind, port, number = server
    ours = Side(tmp_path / "ours")
    some_history(ours, 1)
    good = remote_at(kind, port, number)
    first = ours.push(good)
    change_page(ours.data / "table", 50, b"more")
    ours.commit("more")
    with flaky(port, lambda count: fault if count >= 3 else PASS) as bad:
        remote = remote_at(kind, bad.port, number)
        with pytest.raises(RemoteError) as raised:
            ours.push(remote)
        assert raised.value.passing
        remote.close()
    repository = good.repository(SHOP)
    assert repository.resolve(Tag("master")) == repository.resolve(Tag.of_commit(first.head))
    assert len(ours.push(good).commits) == 1
    good.close()


def test_a_download_goes_on_within_a_pack(server: tuple[str, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, port, number = server
    monkeypatch.setattr(retry, "ATTEMPTS", 1)
    ours, theirs = Side(tmp_path / "ours"), Side(tmp_path / "theirs")
    (ours.data / "random").write_bytes(os.urandom(3 << 20))
    ours.commit()
    good = remote_at(kind, port, number)
    pushed = ours.push(good)
    with flaky(port, lambda count: PASS) as bad:
        remote = remote_at(kind, bad.port, number)
        counting = {"requests": 0}

        def cut_the_pack(_: int) -> str:
            counting["requests"] += 1
            return CUT if counting["requests"] > 5 else PASS

        bad.schedule = cut_the_pack
        with pytest.raises(RemoteError):
            theirs.fetch(remote)
        remote.close()
    parts = list((theirs.root / "store/incoming/fetch.shop/blobs").iterdir())
    assert [p.stat().st_size > 1 << 20 for p in parts] == [True]
    theirs.pull(good)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert pushed.sent_bytes > 3 << 20
    good.close()


def test_what_is_resumed_is_not_believed(server: tuple[str, int, int], tmp_path: Path) -> None:
    kind, port, number = server
    ours, theirs = Side(tmp_path / "ours"), Side(tmp_path / "theirs")
    (ours.data / "random").write_bytes(os.urandom(1 << 20))
    ours.commit()
    good = remote_at(kind, port, number)
    ours.push(good)
    manifest = _packs(good)
    place = theirs.root / "store/incoming/fetch.shop/blobs"
    place.mkdir(parents=True)
    (place / manifest).write_bytes(b"torn by a power cut")
    theirs.pull(good)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    good.close()


def _packs(remote: Remote) -> str:
    repository = remote.repository(SHOP)
    digest = repository.resolve(Tag("master"))
    assert digest is not None
    (pack,) = read_manifest(repository, digest).packs
    return pack.digest.hex


# Kills


def _copies(template: Path, tmp_path: Path, work: Callable[[Path], object]) -> Iterator[tuple[int, Path]]:
    """Yield a copy of `template` for each change of the disk at which `work` on it was killed, and one for `work` done."""
    for number in range(1, MAX_STOPS):
        root = tmp_path / "case"
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(template), str(root)], check=True)
        code = run_until(number, lambda: work(root))  # noqa: B023 (used before the next round)
        yield number, root
        if code != KILLED:
            assert number > 15, "the hook saw next to nothing"
            return
    raise AssertionError(f"still not done after {MAX_STOPS} changes")


def _push(root: Path) -> None:
    side = Side(root / "ours")
    side.push(directory_remote(root / "remote"))
    side.close()


def test_a_push_killed_anywhere_leaves_old_or_new_and_the_next_one_finishes(fast_path: Path) -> None:
    template = fast_path / "template"
    ours = Side(template / "ours")
    (one,) = some_history(ours, 1)
    _push(template)
    change_page(ours.data / "table", 30, b"more")
    two = ours.commit("two")
    (ours.data / "new").write_bytes(os.urandom(3000))
    three = ours.commit("three")
    tree = describe(ours.data)
    ours.close()
    seen = set()
    for _, root in _copies(template, fast_path, _push):
        remote = directory_remote(root / "remote")
        reader = Side(root / "reader")
        got = reader.pull(remote)
        assert got.head in (one, three)
        seen.add(got.head)
        for tag in remote.repository(SHOP).tags():
            if tag.commit_id is not None:
                reader.fetch(remote, tag.commit_id)
        _push(root)
        assert set(reader.pull(remote).commits) <= {two, three}
        assert reader.messages() == ["three", "two", "0"]
        assert differences(tree, describe(reader.data)) == []
        reader.close()
    assert seen == {one, three}


def _fetch(root: Path) -> None:
    side = Side(root / "theirs")
    side.fetch(directory_remote(root / "remote"))
    side.close()


@dataclass(frozen=True)
class Pair:
    """A remote with commits `one` and `two`, and `theirs` with the first of them. `tree` is the second."""

    root: Path
    one: CommitId
    two: CommitId
    tree: Description

    @classmethod
    def make(cls, root: Path) -> Pair:
        ours = Side(root / "ours")
        remote = directory_remote(root / "remote")
        (one,) = some_history(ours, 1)
        ours.push(remote)
        theirs = Side(root / "theirs")
        theirs.pull(remote)
        change_page(ours.data / "table", 30, b"more")
        (ours.data / "new").write_bytes(os.urandom(3000))
        two = ours.commit("two")
        ours.push(remote)
        tree = describe(ours.data)
        ours.close()
        theirs.close()
        return cls(root, one, two, tree)

    def old_or_new(self, root: Path, *, collect: bool) -> bool:
        """Check a copy in which a fetch was killed, and that the next one finishes; return whether it was finished before."""
        store = LocalStore(root / "theirs/store")
        listed = store.exchange().has_commit(DOT, self.two)
        assert store.log(DOT, store.branches(DOT)[DEFAULT_BRANCH])[0].id == self.one
        assert store.check({}, repair=False).sound
        if collect:
            store.collect(datetime.now(UTC))
            assert list((root / "theirs/store/incoming").iterdir()) == []
        store.close()
        side = Side(root / "theirs")
        side.pull(directory_remote(root / "remote"))
        assert differences(self.tree, describe(side.data)) == []
        assert side.store.check({}, repair=False).sound
        assert list((root / "theirs/store/incoming").iterdir()) == []
        assert not side.store.garbage(datetime(2000, 1, 1, tzinfo=UTC))
        side.close()
        return listed


def test_a_fetch_killed_anywhere_leaves_old_or_new_and_the_next_one_finishes(fast_path: Path) -> None:
    pair = Pair.make(fast_path / "template")
    seen = {pair.old_or_new(root, collect=number % 2 == 1) for number, root in _copies(pair.root, fast_path, _fetch)}
    assert seen == {False, True}


_DIES = """
import sys
sys.path.append({!r})
from tests.support.crashing import install
sys.path.pop()
install({}, statements="COMMIT")
"""


def test_a_fetch_whose_helper_dies_leaves_old_or_new_and_the_next_one_finishes(fast_path: Path) -> None:
    pair = Pair.make(fast_path / "template")
    seen = set()
    for countdown in itertools.count(12, 7):  # before that it unpacks its code
        root = fast_path / "case"
        shutil.rmtree(root, ignore_errors=True)
        copy(pair.root, root)
        store = connect(root / "theirs/store", first=_DIES.format(str(REPOSITORY), countdown))
        failure = None
        try:
            fetch(directory_remote(root / "remote"), SHOP, DEFAULT_BRANCH, store, DOT, head=pair.one)
        except StoreError as error:
            failure = error.message
        finally:
            store.close()
        assert failure in (None, ENDED)
        seen.add(pair.old_or_new(root, collect=countdown % 2 == 0))
        if failure is None:
            break
    assert seen == {False, True}


def test_a_helper_ends_with_a_client_that_is_killed_and_the_next_fetch_finishes(fast_path: Path) -> None:
    pair = Pair.make(fast_path / "template")

    def fetch_and_die(root: Path, events: int) -> None:
        countdown = itertools.count(1)

        def die(_: Event) -> None:
            if next(countdown) == events:
                os._exit(KILLED)

        store = connect(root / "theirs/store")
        fetch(directory_remote(root / "remote"), SHOP, DEFAULT_BRANCH, store, DOT, die, head=pair.one)
        store.close()

    for events in itertools.count(1, 2):
        root = fast_path / "case"
        shutil.rmtree(root, ignore_errors=True)
        copy(pair.root, root)
        code = run_until(0, lambda: fetch_and_die(root, events))  # noqa: B023
        eventually(lambda: not in_use(root / "theirs/store/incoming/fetch.shop"), "the helper to end")  # noqa: B023
        assert pair.old_or_new(root, collect=False) == (code == 0)
        if code == 0:
            break


# Races


@pytest.fixture(params=["directory", "registry", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """A remote of each kind."""
    if request.param == "directory":
        yield directory_remote(tmp_path / "remote")
        return
    port = request.getfixturevalue(f"{request.param}_port")
    number = next(_numbers)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    if request.param == "s3":
        requests.put(f"http://127.0.0.1:{port}/bucket{number}", timeout=10).raise_for_status()
    remote = remote_at(request.param, port, number)
    yield remote
    remote.close()


def test_of_two_pushers_one_wins_and_nothing_is_lost(shared: Remote, tmp_path: Path) -> None:
    base = Side(tmp_path / "base")
    some_history(base, 1)
    base.push(shared)
    for attempt in range(3):
        sides = [Side(tmp_path / f"side{attempt}{n}") for n in range(2)]
        for number, side in enumerate(sides):
            side.pull(shared)
            (side.data / "mine").write_text(f"{attempt} {number}")
            side.commit(f"{attempt} {number}")
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda side: _outcome(side, shared), sides))
        repository = shared.repository(SHOP)
        heads = [repository.resolve(Tag.of_commit(side.head() or CommitId(""))) for side in sides]
        assert None not in heads
        winner = heads.index(repository.resolve(Tag("master")))
        assert outcomes[winner] == "won"
        if "registry" not in str(type(shared)) and "cannot compare" not in shared.guarantee:
            assert sorted(outcomes) == ["diverged", "won"]
        reader = Side(tmp_path / f"reader{attempt}")
        assert reader.pull(shared).head == sides[winner].head()
        for side in (*sides, reader):
            side.close()


def _outcome(side: Side, remote: Remote) -> str:
    try:
        side.push(remote)
    except DivergedError:
        return "diverged"
    except DmError as error:
        return f"{type(error).__name__}: {error.message}"
    return "won"


# Size

_LARGE = """
import sys
from pathlib import Path
from tests.support.transfers import Side, directory_remote
root = Path(sys.argv[1])
side = Side(root / sys.argv[2])
remote = directory_remote(root / "remote")
print(side.push(remote).sent_bytes if sys.argv[2] == "ours" else side.fetch(remote).received_bytes)
# not ru_maxrss, which begins with that of whoever started us
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_a_file_of_256_mib_of_noise_travels_in_bounded_memory(tmp_path: Path) -> None:
    ours = Side(tmp_path / "ours")
    with (ours.data / "noise").open("wb") as file:
        for _ in range(256):
            file.write(os.urandom(1 << 20))
    ours.commit()
    ours.close()
    Side(tmp_path / "theirs").close()
    for who in ("ours", "theirs"):
        command = [sys.executable, "-c", _LARGE, str(tmp_path), who]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
        moved, memory_kib = (int(line) for line in done.stdout.split())
        assert 256 << 20 < moved < 257 << 20
        assert memory_kib < 300 << 10
    theirs = Side(tmp_path / "theirs")
    theirs.pull(directory_remote(tmp_path / "remote"))
    assert (theirs.data / "noise").stat().st_size == 256 << 20
    assert theirs.store.check({}, repair=False).sound
    assert subprocess.run(["cmp", str(ours.data / "noise"), str(theirs.data / "noise")], check=False).returncode == 0
    theirs.close()
