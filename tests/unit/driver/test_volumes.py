"""The meaning of Docker's names in a store: the volumes of dots."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_compose.core.commit import CommitDraft, Worktree
from dm_compose.core.names import MAIN_WORKTREE, DotName, RefName, SubdotName, WorktreeName, worktree_name
from dm_compose.driver.volumes import DotVolumes
from dm_compose.errors import DmError, ExistsError, InUseError, NotFoundError, UsageError
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import run_until
from tests.support.dots import commit, dot_with_branches, switch, write

SHOP = DotName("shop")
ANONYMOUS = "0123456789abcdef" * 4


@pytest.fixture
def root(fast_path: Path) -> Path:
    return fast_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[LocalStore]:
    opened = LocalStore(root)
    yield opened
    opened.close()


@pytest.fixture
def volumes(store: LocalStore) -> DotVolumes:
    return DotVolumes(store, lock_timeout_s=0.1)


def text_at(volumes: DotVolumes, name: str, file: str = "file") -> str:
    return (Path(volumes.mountpoint(name)) / file).read_text()


# Creating and removing


def test_the_first_volume_of_a_dot_makes_the_dot_with_a_tree(volumes: DotVolumes, store: LocalStore, root: Path) -> None:
    volumes.create("shop.db")
    assert store.dots() == [SHOP]
    assert store.worktree(SHOP, MAIN_WORKTREE).tree
    assert (root / "trees/shop/main/db").is_dir()
    assert volumes.mountpoint("shop.db") == str(root / "trees/shop/main/db")


def test_creating_a_volume_again_changes_nothing(volumes: DotVolumes, store: LocalStore) -> None:
    for _ in range(3):
        volumes.create("shop.db")
        write(store, SHOP, {"db/file": "data"})
    assert [v.name for v in volumes.registered()] == ["shop.db"]
    assert text_at(volumes, "shop.db") == "data"


def test_many_that_create_volumes_of_a_new_dot_at_once_all_succeed(root: Path) -> None:
    for number in range(5):
        barrier = threading.Barrier(8)

        def create(worker: int, number: int = number, barrier: threading.Barrier = barrier) -> str:
            store = LocalStore(root)
            try:
                barrier.wait()
                DotVolumes(store).create(f"dot{number}.sub{worker % 4}")
                return DotVolumes(store).mountpoint(f"dot{number}.sub{worker % 4}")
            finally:
                store.close()

        with ThreadPoolExecutor(8) as pool:
            places = set(pool.map(create, range(8)))
        assert places == {str(root / f"trees/dot{number}/main/sub{n}") for n in range(4)}


def test_a_removed_volume_is_forgotten_and_its_data_stays(volumes: DotVolumes, store: LocalStore) -> None:
    volumes.create("shop.db")
    write(store, SHOP, {"db/file": "data"})
    volumes.remove("shop.db")
    assert volumes.registered() == []
    with pytest.raises(NotFoundError):
        volumes.get("shop.db")
    volumes.create("shop.db")
    assert text_at(volumes, "shop.db") == "data"


@pytest.mark.parametrize("name", ["shop.db", "never seen", "", "\ud800", ANONYMOUS])
def test_removing_what_is_not_registered_is_nothing(volumes: DotVolumes, name: str) -> None:
    volumes.remove(name)
    assert volumes.registered() == []


def test_a_volume_that_docker_made_for_an_image_goes_with_its_data(volumes: DotVolumes, store: LocalStore, root: Path) -> None:
    volumes.create(ANONYMOUS)
    (Path(volumes.mountpoint(ANONYMOUS)) / "file").write_text("scratch")
    volumes.remove(ANONYMOUS)
    assert store.dots() == []
    assert not (root / "trees" / ANONYMOUS).exists()


def test_a_volume_that_docker_made_for_an_image_stays_when_it_was_committed(volumes: DotVolumes, store: LocalStore) -> None:
    dot = DotName(ANONYMOUS)
    volumes.create(ANONYMOUS)
    (Path(volumes.mountpoint(ANONYMOUS)) / "file").write_text("kept")
    commit(store, dot)
    volumes.remove(ANONYMOUS)
    assert store.dots() == [dot]
    assert text_at(volumes, ANONYMOUS) == "kept"


def test_a_volume_that_docker_made_for_an_image_stays_while_its_dot_is_in_use(volumes: DotVolumes, store: LocalStore) -> None:
    volumes.create(ANONYMOUS)
    token = store.lock(ANONYMOUS, "somebody", 0)
    volumes.remove(ANONYMOUS)
    store.unlock(token)
    assert store.dots() == [DotName(ANONYMOUS)]


def test_a_dot_that_is_deleted_takes_its_registrations_along(volumes: DotVolumes, store: LocalStore) -> None:
    volumes.create("shop.db")
    store.delete_dot(SHOP)
    assert volumes.registered() == []
    with pytest.raises(NotFoundError, match="shop"):
        volumes.mountpoint("shop.db")


def test_a_registration_of_a_dot_that_is_not_there_is_not_found(store: LocalStore) -> None:
    with pytest.raises(NotFoundError, match="nope"):
        store.add_volume("nope", DotName("nope"))


@pytest.mark.parametrize("name", ["shop.db", "shop@feature.db"])
def test_a_creation_that_is_killed_anywhere_is_completed_by_the_next_one(fast_path: Path, name: str) -> None:
    for countdown in range(1, 1000):
        root = fast_path / str(countdown)
        store = LocalStore(root)
        if "@" in name:
            dot_with_branches(store, SHOP, "feature")
        store.close()

        def create(root: Path = root) -> None:
            store = LocalStore(root)
            DotVolumes(store).create(name)

        code = run_until(countdown, create)
        store = LocalStore(root)
        for _ in range(2):
            DotVolumes(store).create(name)
        assert [v.name for v in DotVolumes(store).registered()] == [name]
        assert sorted(store.worktrees(SHOP)) == (["feature", "main"] if "@" in name else ["main"])
        assert os.listdir(DotVolumes(store).mountpoint(name)) == (["file"] if "@" in name else [])
        assert not list((root / "incoming").iterdir())
        store.close()
        if code == 0:
            assert countdown > 5
            return
    raise AssertionError("it never ended")


# Where they are


def test_the_subdots_of_a_dot_are_side_by_side_and_root_holds_them_all(volumes: DotVolumes, root: Path) -> None:
    for name in ("shop", "shop.db", "shop.__root__", "shop.a.b-c_d"):
        volumes.create(name)
    top = root / "trees/shop/main"
    assert volumes.mountpoint("shop") == volumes.mountpoint("shop.__default__") == str(top / "__default__")
    assert volumes.mountpoint("shop.__root__") == str(top)
    assert sorted(os.listdir(top)) == ["__default__", "a.b-c_d", "db"]


def test_a_directory_that_was_removed_is_made_again(volumes: DotVolumes, root: Path) -> None:
    volumes.create("shop.db")
    (root / "trees/shop/main/db").rmdir()
    assert Path(volumes.mountpoint("shop.db")).is_dir()


def test_the_directory_of_a_subdot_can_be_entered_by_everybody(volumes: DotVolumes) -> None:
    volumes.create("shop.db")
    assert os.stat(volumes.mountpoint("shop.db")).st_mode & 0o777 == 0o755


@pytest.mark.parametrize("target", ["/etc", "../../../..", "nowhere"])
def test_a_link_that_a_container_put_in_place_of_a_subdot_is_not_followed(volumes: DotVolumes, root: Path, target: str) -> None:
    volumes.create("shop.__root__")
    (root / "trees/shop/main/db").symlink_to(target)
    for refused in (volumes.create, volumes.mountpoint):
        with pytest.raises(ExistsError):
            refused("shop.db")


def test_an_unpinned_volume_follows_the_current_worktree(volumes: DotVolumes, store: LocalStore) -> None:
    head = dot_with_branches(store, SHOP, "feature")
    volumes.create("shop.db")
    store.add_worktree(Worktree(SHOP, WorktreeName("other"), RefName("feature"), head, tree=True), head)
    write(store, SHOP, {"db/file": "of the branch"}, WorktreeName("other"))
    assert text_at(volumes, "shop.db") == "seed"
    switch(store, SHOP, WorktreeName("other"))
    assert text_at(volumes, "shop.db") == "of the branch"
    assert volumes.get("shop.db").branch == "feature"


def test_a_subdot_that_the_new_branch_does_not_have_is_empty_there(volumes: DotVolumes, store: LocalStore) -> None:
    head = dot_with_branches(store, SHOP, "feature")
    volumes.create("shop.later")
    write(store, SHOP, {"later/file": "x"})
    store.add_worktree(Worktree(SHOP, WorktreeName("other"), RefName("feature"), head, tree=True), head)
    switch(store, SHOP, WorktreeName("other"))
    assert os.listdir(volumes.mountpoint("shop.later")) == []


def test_a_mountpoint_needs_no_lock(volumes: DotVolumes, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "feature")
    volumes.create("shop.db")
    volumes.create("shop@feature.db")
    token = store.lock("shop", "a checkout that starts containers", 0)
    for name in ("shop.db", "shop@feature.db", "shop.new"):
        assert Path(volumes.mountpoint(name)).is_dir()
    volumes.create("shop.another")
    volumes.create("shop@feature.another")
    store.unlock(token)


# Pinned branches


def test_a_pinned_volume_has_the_files_of_its_branch(volumes: DotVolumes, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "feature")
    write(store, SHOP, {"db/file": "changed on master"})
    volumes.create("shop@feature.db")
    assert text_at(volumes, "shop@feature.db") == "seed"
    (Path(volumes.mountpoint("shop@feature.db")) / "file").write_text("changed on feature")
    assert text_at(volumes, "shop.db") == "changed on master"
    assert text_at(volumes, "shop@master.db") == "changed on master"


def test_volumes_of_one_branch_share_a_worktree(volumes: DotVolumes, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "feature")
    for name in ("shop@feature.db", "shop@feature", "shop@feature.__root__", "shop@feature.db"):
        volumes.create(name)
    assert sorted(store.worktrees(SHOP)) == ["feature", "main"]


def test_a_pinned_volume_finds_what_was_uncommitted_when_its_branch_was_left(volumes: DotVolumes, store: LocalStore) -> None:
    head = dot_with_branches(store, SHOP, "feature")
    write(store, SHOP, {"db/file": "uncommitted"})
    entry = store.prepare_commit(SHOP, MAIN_WORKTREE, store.tree(SHOP, MAIN_WORKTREE))
    store.capture(entry)
    store._database.set_ref(SHOP, "branch", RefName("feature"), head)
    saved = store.publish(entry, CommitDraft("uncommitted", "tester", hidden=True)).id
    store.abandon(entry)
    store._database.set_ref(SHOP, "uncommitted", RefName("feature"), saved)
    volumes.create("shop@feature.db")
    assert text_at(volumes, "shop@feature.db") == "uncommitted"


def test_many_that_pin_a_branch_at_once_get_one_worktree(root: Path, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "feature")
    barrier = threading.Barrier(6)

    def create(worker: int) -> str:
        mine = LocalStore(root)
        try:
            barrier.wait()
            DotVolumes(mine, lock_timeout_s=20).create(f"shop@feature.sub{worker}")
            return str(Path(DotVolumes(mine).mountpoint(f"shop@feature.sub{worker}")).parent)
        finally:
            mine.close()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(create, range(6))) == {str(root / "trees/shop/feature")}


def test_a_branch_with_a_slash_can_be_pinned_and_names_do_not_collide(volumes: DotVolumes, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "a/b", "a-b")
    for name in ("shop@a/b.db", "shop@a-b.db"):
        volumes.create(name)
    assert {w.branch: w.name for w in store.worktrees(SHOP).values()} == {"master": "main", "a/b": "a-b", "a-b": "a-b-2"}
    assert volumes.mountpoint("shop@a/b.db") != volumes.mountpoint("shop@a-b.db")


def test_the_branch_of_a_new_dot_can_be_pinned(volumes: DotVolumes) -> None:
    volumes.create("shop@master.db")
    assert volumes.mountpoint("shop@master.db") == volumes.mountpoint("shop.db")


def test_a_branch_that_does_not_exist_is_named_and_nothing_is_made(volumes: DotVolumes, store: LocalStore, root: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no dot shop.*branch feature"):
        volumes.create("shop@feature.db")
    assert store.dots() == []
    dot_with_branches(store, SHOP)
    with pytest.raises(NotFoundError, match="no branch feature"):
        volumes.create("shop@feature.db")
    assert volumes.registered() == []
    assert sorted(os.listdir(root / "trees/shop")) == [".current", "main"]


def test_a_pinned_branch_that_is_not_checked_out_any_more_is_told(volumes: DotVolumes, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "feature")
    volumes.create("shop@feature.db")
    store.remove_worktree(SHOP, WorktreeName("feature"))
    with pytest.raises(NotFoundError, match="branch feature") as caught:
        volumes.mountpoint("shop@feature.db")
    assert caught.value.hint
    assert volumes.get("shop@feature.db").directory == ""
    volumes.create("shop@feature.db")
    assert text_at(volumes, "shop@feature.db") == "seed"


def test_a_new_worktree_waits_for_the_dots_lock_a_short_time_only(volumes: DotVolumes, store: LocalStore) -> None:
    dot_with_branches(store, SHOP, "feature")
    token = store.lock("shop", "a long commit", 0)
    with pytest.raises(InUseError, match="a long commit"):
        volumes.create("shop@feature.db")
    store.unlock(token)
    volumes.create("shop@feature.db")


def test_no_worktree_is_made_while_an_operation_was_cut_off(volumes: DotVolumes, store: LocalStore) -> None:
    head = dot_with_branches(store, SHOP, "feature")
    entry = store.begin_session(SHOP, MAIN_WORKTREE, head)
    with pytest.raises(InUseError, match="cut off"):
        volumes.create("shop@feature.db")
    store.close_entry(entry)
    volumes.create("shop@feature.db")


def test_files_that_are_dockers_own_volumes_are_refused(volumes: DotVolumes, store: LocalStore) -> None:
    store.create_dot(SHOP)
    for name in ("shop.db", "shop@master.db"):
        for refused in (volumes.create, volumes.mountpoint):
            with pytest.raises(InUseError, match="Compose stack") as caught:
                refused(name)
            assert caught.value.hint
    assert volumes.registered() == []


def test_another_branch_of_a_stack_can_be_a_volume(volumes: DotVolumes, store: LocalStore, fast_path: Path) -> None:
    data = fast_path / "volume"
    data.mkdir()
    (data / "file").write_text("seed")
    store.create_dot(SHOP)
    entry = store.prepare_commit(SHOP, MAIN_WORKTREE, {SubdotName("db"): str(data)})
    store.capture(entry)
    made = store.publish(entry, CommitDraft("c", "tester")).id
    store.add_branch(SHOP, RefName("feature"), made)
    volumes.create("shop@feature.db")
    assert text_at(volumes, "shop@feature.db") == "seed"


@pytest.mark.parametrize(
    ("branch", "taken", "name"),
    [
        ("x", [], "x"),
        ("a/b/c", [], "a-b-c"),
        ("main", ["main"], "main-2"),
        ("a/b", ["a-b", "a-b-2"], "a-b-3"),
        ("y" * 200, [], "y" * 100),
    ],
)
def test_a_worktree_is_named_after_its_branch(branch: str, taken: list[str], name: str) -> None:
    assert worktree_name(RefName.parse(branch), taken) == name


# Looking


def test_what_is_registered_is_described(volumes: DotVolumes, store: LocalStore, root: Path) -> None:
    dot_with_branches(store, SHOP, "feature")
    volumes.create("shop.db")
    volumes.create("shop@feature")
    one, other = volumes.registered()
    assert (one.name, one.dot, one.subdot, one.pinned, one.branch) == ("shop.db", "shop", "db", None, "master")
    assert one.directory == str(root / "trees/shop/main/db")
    assert (other.name, other.pinned, other.branch, other.worktree) == ("shop@feature", "feature", "feature", "feature")
    assert other.directory == str(root / "trees/shop/feature/__default__")
    assert volumes.get("shop.db") == one


def test_looking_makes_nothing(volumes: DotVolumes, root: Path) -> None:
    volumes.create("shop.db")
    (root / "trees/shop/main/db").rmdir()
    assert volumes.get("shop.db").directory == ""
    assert volumes.registered()[0].directory == ""
    assert not (root / "trees/shop/main/db").exists()


def test_a_name_that_means_nothing_any_more_is_listed_all_the_same(volumes: DotVolumes, store: LocalStore) -> None:
    volumes.create("shop.db")
    store.add_volume("no name at all", SHOP)
    assert [v.name for v in volumes.registered()] == ["no name at all", "shop.db"]
    volumes.remove("no name at all")
    assert [v.name for v in volumes.registered()] == ["shop.db"]


def test_what_was_registered_is_there_when_the_store_is_opened_again(root: Path) -> None:
    for _ in range(2):
        store = LocalStore(root)
        DotVolumes(store).create("shop.db")
        store.close()
    store = LocalStore(root)
    assert [v.name for v in DotVolumes(store).registered()] == ["shop.db"]
    store.close()


# Any name at all

_PIECES = st.sampled_from(
    [
        "shop",
        "a",
        "@",
        ".",
        "..",
        "/",
        "\\",
        "__root__",
        "__default__",
        "-",
        "_",
        " ",
        "\0",
        "\n",
        "é",
        "\ud800",
        "~",
        ".current",
        "x" * 101,
    ]
)
NAMES = (
    st.lists(_PIECES, max_size=6).map("".join)
    | st.text(max_size=30)
    | st.from_regex(r"[a-z]{1,3}(@[a-z/]{1,4})?(\.[a-z_.]{1,5})?")
)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_no_name_leads_out_of_the_store_or_to_a_bug(volumes: DotVolumes, root: Path, name: str) -> None:
    for call in (volumes.create, volumes.mountpoint, volumes.get, volumes.remove):
        try:
            call(name)
        except DmError:
            continue
    try:
        place = volumes.mountpoint(name)
    except (UsageError, NotFoundError):
        return
    trees = os.path.realpath(root / "trees")
    assert os.path.realpath(place).startswith(f"{trees}/")
    assert len(Path(os.path.realpath(place)).relative_to(trees).parts) in (2, 3)
