"""Which containers a restore takes down, which subdots it puts back, and what waits for what."""

from __future__ import annotations

from collections.abc import Collection
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_compose.core.containers import Container, Image
from dm_compose.core.names import SubdotName
from dm_compose.core.plan import Action, Plan, Step
from dm_compose.datastores import Datastore, ServiceFacts
from dm_compose.live.worktree import Member
from dm_compose.operations.plans import plan_restore, put_back_anyway

DATASTORES = {
    "redis": Datastore(name="redis", images=("redis",), data=("/data",)),
    "etcd": Datastore(name="etcd", images=("etcd",), data=("/data",), files_are_proof=True),
    "memcached": Datastore(name="memcached", images=("memcached",), data=(), in_memory=True),
}


def member(line: str) -> Member:
    """Read `NAME [engine] [(state)] [(one-off)] mounts SUBDOT SUBDOT:ro ...`."""
    one_off, line = " (one-off)" in line, line.replace(" (one-off)", "")
    head, _, mounts = line.partition(" mounts ")
    name, *rest = head.split()
    state = next((word.strip("()") for word in rest if word.startswith("(")), "running")
    engine = next((word for word in rest if not word.startswith("(")), None)
    image = Image(engine or "app")
    return Member(
        container=Container(
            id=f"id-{name}", name=f"shop-{name}-1", project="shop", service=name, state=state, image=image, one_off=one_off
        ),
        service=ServiceFacts(image),
        datastore=DATASTORES[engine] if engine else None,
        mounts={SubdotName.parse(word.removesuffix(":ro")): not word.endswith(":ro") for word in mounts.split()},
    )


def plan(stack: str, differing: str, wanted: str | None = None) -> Plan:
    """Plan for a stack of one member a line; by default every mounted subdot is wanted."""
    members = [member(line) for line in dedent(stack).strip().splitlines()]
    mounted = list(dict.fromkeys(name for m in members for name in m.mounts))
    names = mounted if wanted is None else [SubdotName.parse(name) for name in wanted.split()]
    return plan_restore(members, [SubdotName.parse(name) for name in differing.split()], names)


SYNC = "so that a power cut does not lose them"
READY = "it must answer before anyone asks it"


@pytest.mark.parametrize(
    ("stack", "differing", "expected"),
    [
        pytest.param("", "", "nothing to do", id="no container and no difference"),
        pytest.param(
            "etcd etcd mounts keys",
            "",
            "nothing to do",
            id="nothing differs and the files are proof",
        ),
        pytest.param(
            "etcd etcd mounts keys",
            "keys",
            f"""
            1. kill etcd: keys differs
            2. restore keys after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start etcd after 2: it was running
            5. await etcd after 4: {READY}
            """,
            id="files differ",
        ),
        pytest.param(
            "cache redis mounts cache",
            "",
            f"""
            1. kill cache: redis may hold changes in memory
            2. restore cache after 1: its container was taken down
            3. sync files after 2: {SYNC}
            4. start cache after 2: it was running
            5. await cache after 4: {READY}
            """,
            id="a datastore that keeps writes in memory goes down although its files are unchanged",
        ),
        pytest.param(
            "app mounts uploads",
            "",
            f"""
            1. kill app: an unknown program may hold changes in memory
            2. restore uploads after 1: its container was taken down
            3. sync files after 2: {SYNC}
            4. start app after 2: it was running
            5. await app after 4: {READY}
            """,
            id="an unknown program always goes down",
        ),
        pytest.param(
            """
            web mounts uploads:ro
            etcd etcd mounts keys
            """,
            "uploads",
            f"""
            1. restore uploads: its files differ
            2. sync files after 1: {SYNC}
            """,
            id="who only reads stays up, and so does who has nothing to do with it",
        ),
        pytest.param(
            """
            app mounts uploads
            web mounts uploads:ro
            """,
            "uploads",
            f"""
            1. kill app: uploads differs
            2. restore uploads after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start app after 2: it was running
            5. await app after 4: {READY}
            """,
            id="of one who writes and one who reads the writer goes down",
        ),
        pytest.param(
            """
            a etcd mounts shared
            b etcd mounts shared
            """,
            "shared",
            f"""
            1. kill a: shared differs
            2. kill b: shared differs
            3. restore shared after 1, 2: its files differ
            4. sync files after 3: {SYNC}
            5. start a after 3: it was running
            6. await a after 5: {READY}
            7. start b after 3: it was running
            8. await b after 7: {READY}
            """,
            id="a subdot of two is put back when both are down",
        ),
        pytest.param(
            """
            a redis mounts shared
            b etcd mounts shared
            """,
            "",
            f"""
            1. kill a: redis may hold changes in memory
            2. kill b: writes to a subdot that is put back
            3. restore shared after 1, 2: its container was taken down
            4. sync files after 3: {SYNC}
            5. start a after 3: it was running
            6. await a after 5: {READY}
            7. start b after 3: it was running
            8. await b after 7: {READY}
            """,
            id="who shares a subdot with one that goes down goes down too",
        ),
        pytest.param(
            """
            a etcd mounts one two
            b etcd mounts two three
            c etcd mounts three four
            d etcd mounts five
            """,
            "one",
            f"""
            1. kill a: one differs
            2. kill b: writes to a subdot that is put back
            3. kill c: writes to a subdot that is put back
            4. restore one after 1: its files differ
            5. restore two after 1, 2: its container was taken down
            6. restore three after 2, 3: its container was taken down
            7. restore four after 3: its container was taken down
            8. sync files after 4, 5, 6, 7: {SYNC}
            9. start a after 4, 5: it was running
            10. await a after 9: {READY}
            11. start b after 5, 6: it was running
            12. await b after 11: {READY}
            13. start c after 6, 7: it was running
            14. await c after 13: {READY}
            """,
            id="a chain of shared subdots goes down as a whole, and nothing else",
        ),
        pytest.param(
            "db etcd mounts data log",
            "log",
            f"""
            1. kill db: log differs
            2. restore data after 1: its container was taken down
            3. restore log after 1: its files differ
            4. sync files after 2, 3: {SYNC}
            5. start db after 2, 3: it was running
            6. await db after 5: {READY}
            """,
            id="all subdots of a container that goes down are put back",
        ),
        pytest.param(
            "db etcd mounts data log",
            "data log",
            f"""
            1. kill db: data, log differs
            2. restore data after 1: its files differ
            3. restore log after 1: its files differ
            4. sync files after 2, 3: {SYNC}
            5. start db after 2, 3: it was running
            6. await db after 5: {READY}
            """,
            id="two subdots of one container differ",
        ),
        pytest.param(
            "db redis (exited) mounts data",
            "",
            "nothing to do",
            id="a stopped container holds nothing in memory",
        ),
        pytest.param(
            "db redis (exited) mounts data",
            "data",
            f"""
            1. restore data: its files differ
            2. sync files after 1: {SYNC}
            """,
            id="a stopped container stays stopped",
        ),
        pytest.param(
            """
            a redis mounts shared
            b redis (exited) mounts shared
            c redis (created) mounts shared
            """,
            "shared",
            f"""
            1. kill a: shared differs
            2. restore shared after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start a after 2: it was running
            5. await a after 4: {READY}
            """,
            id="a stopped container that shares a subdot stays stopped",
        ),
        pytest.param(
            "db redis (paused) mounts data",
            "data",
            f"""
            1. kill db: data differs
            2. restore data after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start db after 2: it was running
            5. await db after 4: {READY}
            6. pause db after 5: it was paused
            """,
            id="a paused container is paused again",
        ),
        pytest.param(
            "db redis (restarting) mounts data",
            "data",
            f"""
            1. kill db: data differs
            2. restore data after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start db after 2: it was running
            5. await db after 4: {READY}
            """,
            id="a container that Docker restarts again and again goes down like a running one",
        ),
        pytest.param("app redis mounts data:ro", "", "nothing to do", id="a datastore that only reads stays up"),
        pytest.param(
            "cache memcached",
            "",
            f"""
            1. kill cache: memcached has its data in memory only
            2. start cache after 1: it was running
            3. await cache after 2: {READY}
            """,
            id="a datastore in memory comes back empty although no file differs",
        ),
        pytest.param(
            """
            cache memcached
            db redis mounts data
            """,
            "data",
            f"""
            1. kill cache: memcached has its data in memory only
            2. kill db: data differs
            3. restore data after 2: its files differ
            4. sync files after 3: {SYNC}
            5. start cache after 1, 2, 3: it was running
            6. await cache after 5: {READY}
            7. start db after 3: it was running
            8. await db after 7: {READY}
            """,
            id="it comes back when nobody can put anything of before into it any more",
        ),
        pytest.param(
            "cache memcached (paused)",
            "",
            f"""
            1. kill cache: memcached has its data in memory only
            2. start cache after 1: it was running
            3. await cache after 2: {READY}
            4. pause cache after 3: it was paused
            """,
            id="a datastore in memory is paused again",
        ),
        pytest.param(
            "cache memcached mounts dump",
            "dump",
            f"""
            1. kill cache: dump differs
            2. restore dump after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start cache after 1, 2: it was running
            5. await cache after 4: {READY}
            """,
            id="one that has files too is like any other that differs",
        ),
        pytest.param("cache memcached (exited)", "", "nothing to do", id="a stopped datastore in memory is empty"),
        pytest.param("cache memcached (one-off)", "", "nothing to do", id="somebody's `compose run` is not touched"),
    ],
)
def test_only_what_is_or_may_be_dirty_goes_down(stack: str, differing: str, expected: str) -> None:
    assert str(plan(stack, differing)) == dedent(expected).strip()


@pytest.mark.parametrize(
    ("stack", "differing", "wanted", "expected"),
    [
        ("db redis mounts data", "", "", "nothing to do"),
        ("db redis mounts data", "data", "", "nothing to do"),
        (
            "",
            "data",
            "data",
            f"""
            1. restore data: its files differ
            2. sync files after 1: {SYNC}
            """,
        ),
        (
            "db redis mounts data new",
            "data",
            "data",
            f"""
            1. kill db: data differs
            2. restore data after 1: its files differ
            3. sync files after 2: {SYNC}
            4. start db after 2: it was running
            5. await db after 4: {READY}
            """,
        ),
    ],
    ids=["no subdot wanted", "what differs is not wanted", "nobody mounts it", "a subdot that the commit does not have"],
)
def test_only_what_is_wanted_is_put_back(stack: str, differing: str, wanted: str, expected: str) -> None:
    assert str(plan(stack, differing, wanted)) == dedent(expected).strip()


def test_the_same_stack_gives_the_same_plan() -> None:
    stack = "a redis mounts one two\nb mounts two\nc etcd mounts three"
    assert plan(stack, "three") == plan(stack, "three")


# Whatever the stack is

NAMES = ("one", "two", "three", "four", "five")
LINES = st.builds(
    lambda engine, state, mounts: (engine, state, mounts),
    st.sampled_from(["", "redis", "etcd", "memcached"]),
    st.sampled_from(["running", "paused", "exited", "created", "restarting", "dead"]),
    st.dictionaries(st.sampled_from(NAMES), st.booleans(), max_size=4),
)
SUBSETS = st.lists(st.sampled_from(NAMES), unique=True)


def build(lines: list[tuple[str, str, dict[str, bool]]]) -> list[Member]:
    return [
        member(f"m{number} {engine} ({state}) mounts {' '.join(name if rw else f'{name}:ro' for name, rw in mounts.items())}")
        for number, (engine, state, mounts) in enumerate(lines)
    ]


def ancestors(found: Plan, step: Step) -> set[int]:
    """Return the numbers of all steps that must be over before this one begins."""
    by_number = {s.number: s for s in found.steps}
    seen: set[int] = set()
    pending = list(step.after)
    while pending:
        number = pending.pop()
        if number not in seen:
            seen.add(number)
            pending += by_number[number].after
    return seen


@given(st.lists(LINES, max_size=6), SUBSETS, SUBSETS)
def test_every_plan_is_safe_and_complete(
    lines: list[tuple[str, str, dict[str, bool]]], differing: Collection[str], wanted: Collection[str]
) -> None:
    members = build(lines)
    found = plan_restore(members, [SubdotName(n) for n in differing], [SubdotName(n) for n in wanted])
    by_number = {step.number: step for step in found.steps}
    steps = {action: {s.target: s for s in found.steps if s.action is action} for action in Action}

    # Numbers count from 1, and a step waits for earlier ones only: in their order the steps can be done one by one.
    assert list(by_number) == list(range(1, len(found.steps) + 1))
    assert all(number < step.number for step in found.steps for number in step.after)
    assert all(step.cause and step.label is not None for step in found.steps)
    # No step is there twice.
    assert sum(map(len, steps.values())) == len(found.steps)

    down = steps[Action.KILL]
    restored = steps[Action.RESTORE]
    assert set(restored) <= set(wanted)
    assert set(restored) >= set(wanted) & set(differing), "everything that differs is put back"
    running = {m.container.id: m for m in members if m.container.running}
    assert set(down) <= set(running)
    for container_id, member_ in running.items():
        writes = {name for name, writable in member_.mounts.items() if writable}
        if writes & set(restored):
            assert container_id in down, "nobody writes while a subdot is put back"
        if container_id in down:
            assert writes & set(wanted) <= set(restored), "nothing of what it had in memory reaches the files"
        elif writes & set(wanted):
            assert member_.datastore is not None
            assert member_.datastore.files_are_proof
    # What is in memory only is forgotten, and nobody who has the state of before is there when it comes back.
    for container_id in (i for i, m in running.items() if m.datastore is not None and m.datastore.in_memory):
        assert container_id in down
        assert {s.number for s in (*down.values(), *restored.values())} <= ancestors(found, steps[Action.START][container_id])
    # A restore waits for the ends of all who write.
    for name, step in restored.items():
        killed = {by_number[n].target for n in ancestors(found, step) if by_number[n].action is Action.KILL}
        assert killed >= {i for i, m in running.items() if m.mounts.get(SubdotName(name))}
    # What went down comes back, when its subdots are in place, and is asked whether it answers; nothing else is started.
    assert set(steps[Action.START]) == set(steps[Action.AWAIT]) == set(down)
    for container_id, step in steps[Action.START].items():
        before = {(by_number[n].action, by_number[n].target) for n in ancestors(found, step)}
        assert (Action.KILL, container_id) in before
        writes = {name for name, writable in running[container_id].mounts.items() if writable}
        assert {(Action.RESTORE, name) for name in writes & set(restored)} <= before
        assert steps[Action.START][container_id].number in ancestors(found, steps[Action.AWAIT][container_id])
    assert set(steps[Action.PAUSE]) == {i for i in down if running[i].container.state == "paused"}
    for container_id, step in steps[Action.PAUSE].items():
        assert steps[Action.AWAIT][container_id].number in ancestors(found, step)
    # The files are synchronized once, after all of them.
    assert set(steps[Action.SYNC]) == ({""} if restored else set())
    for step in steps[Action.SYNC].values():
        assert {s.number for s in restored.values()} <= set(step.after)


@given(st.lists(LINES, max_size=6), SUBSETS, SUBSETS, st.sets(st.sampled_from([f"id-m{n}" for n in range(6)])))
def test_nobody_has_to_look_whether_a_subdot_differs_that_is_put_back_anyway(
    lines: list[tuple[str, str, dict[str, bool]]], differing: Collection[str], wanted: Collection[str], ids: set[str]
) -> None:
    members = build(lines)
    touched = {m.container.id: "somebody was there" for m in members if m.container.id in ids}
    decided = put_back_anyway(members, touched)

    def steps(seen: Collection[str]) -> set[tuple[Action, str]]:
        found = plan_restore(members, [SubdotName(n) for n in seen], [SubdotName(n) for n in wanted], touched=touched)
        return {(step.action, step.target) for step in found.steps}

    assert steps(differing) == steps([name for name in differing if name not in decided])
    assert {name for action, name in steps([]) if action is Action.RESTORE} >= decided & set(wanted)
