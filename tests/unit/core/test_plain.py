"""Dataclasses to plain data and back: what one process says the other understands, and nothing else is believed."""

from __future__ import annotations

import contextlib
import enum
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_compose.core.commit import Commit, CommitDraft, JournalEntry, Move, Origin, ReflogEntry, SubdotState, Worktree
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.plain import from_plain, to_plain
from dm_compose.core.tree import Change, TreeDiff
from dm_compose.errors import UsageError
from dm_compose.store.exchange import ByteRange, ObjectPart

# Any text, with lone surrogates: bytes of file names that are not UTF-8.
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
NUMBERS = st.integers(0, 2**62)
IDS = st.integers(0, 2**128 - 1).map(lambda n: CommitId(f"{n:032x}"))
SUBDOTS = st.from_regex(SubdotName.pattern, fullmatch=True).map(SubdotName)
DOTS = st.from_regex(DotName.pattern, fullmatch=True).map(DotName)
WORKTREES = st.from_regex(WorktreeName.pattern, fullmatch=True).map(WorktreeName)
REFS = st.sampled_from(("master", "feature/x", "v1.0")).map(RefName)
MOMENTS = st.datetimes(timezones=st.sampled_from((UTC, timezone(timedelta(hours=5, minutes=45)))))
OPTIONAL = st.none() | TEXT
STATES = st.builds(SubdotState, TEXT, NUMBERS, NUMBERS, OPTIONAL, OPTIONAL, OPTIONAL, OPTIONAL, OPTIONAL, OPTIONAL)
MOVES = st.builds(Move, TEXT, REFS, st.none() | IDS, st.none() | IDS)
VALUES: dict[type, st.SearchStrategy[Any]] = {
    Commit: st.builds(
        Commit,
        id=IDS,
        dot=DOTS,
        parent=st.none() | IDS,
        message=TEXT,
        author=TEXT,
        created=MOMENTS,
        subdots=st.dictionaries(SUBDOTS, STATES, max_size=3),
        metadata=st.dictionaries(TEXT, TEXT, max_size=3),
        new_bytes=NUMBERS,
        compose_hash=OPTIONAL,
        architecture=OPTIONAL,
        clean=st.booleans(),
        hidden=st.booleans(),
    ),
    CommitDraft: st.builds(
        CommitDraft, TEXT, TEXT, st.dictionaries(TEXT, TEXT), st.dictionaries(SUBDOTS, st.builds(Origin, OPTIONAL)), OPTIONAL
    ),
    Worktree: st.builds(Worktree, DOTS, WORKTREES, REFS, st.none() | IDS, st.dictionaries(SUBDOTS, TEXT)),
    ReflogEntry: st.builds(ReflogEntry, NUMBERS, MOMENTS, TEXT, REFS, st.none() | IDS, st.none() | IDS, st.none() | IDS, REFS),
    JournalEntry: st.builds(
        JournalEntry,
        IDS,
        DOTS,
        WORKTREES,
        TEXT,
        st.lists(TEXT, max_size=3).map(tuple),
        st.lists(TEXT, max_size=3).map(tuple),
        st.none() | IDS,
        st.none() | MOVES,
    ),
    TreeDiff: st.builds(
        TreeDiff, st.lists(st.builds(Change, TEXT, TEXT, NUMBERS, NUMBERS), max_size=3).map(tuple), st.booleans()
    ),
}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_what_crosses_the_pipe_comes_out_as_it_went_in(kind: type) -> None:
    @settings(max_examples=40, deadline=None)
    @given(VALUES[kind])
    def check(value: object) -> None:
        text = json.dumps(to_plain(value))
        text.encode()  # a lone surrogate would be refused here
        back = from_plain(kind, json.loads(text))
        assert back == value
        assert type(back) is kind

    check()


def test_names_and_instants_come_back_as_their_types() -> None:
    entry = ReflogEntry(1, datetime.now(UTC), "commit", RefName("master"), None, CommitId.new(), None, RefName("master"))
    back = from_plain(ReflogEntry, to_plain(entry))
    assert isinstance(back.branch, RefName)
    assert isinstance(back.new, CommitId)
    assert back.at.tzinfo is not None


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    number: int


@dataclass(frozen=True)
class Outer:
    text: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    listed: Sequence[str] = ()
    mapped: Mapping[str, Inner] = field(default_factory=dict)
    colour: Colour = Colour.RED
    ratio: float = 0.0
    flag: bool = False
    when: datetime | None = None
    anything: Any = None


def test_every_kind_of_field_comes_back() -> None:
    value = Outer(
        "t",
        Inner(1),
        (Inner(2),),
        (3, "x"),
        ["y"],
        {"k": Inner(4)},
        Colour.RED,
        0.5,
        True,
        datetime(2024, 1, 1, tzinfo=UTC),
        {"a": 1},
    )
    back = from_plain(Outer, json.loads(json.dumps(to_plain(value))))
    assert to_plain(back) == to_plain(value)
    assert isinstance(back.many[0], Inner)
    assert back.pair == (3, "x")
    assert back.mapped == {"k": Inner(4)}
    assert back.colour is Colour.RED


def test_bytes_go_beside_the_plain_data_and_named_tuples_and_sets_come_back() -> None:
    attached: list[bytes] = []
    part = ObjectPart(9, 8, ((0, b"a"), (4, b"")))
    plain = to_plain({"part": part, "runs": [ByteRange(1, 2, True)], "refs": {"a": b"x"}.keys()}, attached)
    assert attached == [b"a", b""]
    plain = json.loads(json.dumps(plain))
    assert from_plain(ObjectPart, plain["part"], attached) == part
    assert from_plain(Sequence[ByteRange], plain["runs"]) == (ByteRange(1, 2, True),)  # type: ignore[type-abstract]
    assert from_plain(Set[str], plain["refs"]) == {"a"}  # type: ignore[type-abstract]


@pytest.mark.parametrize("data", [2, -1, True, "a", None, [0]])
def test_bytes_that_are_not_there_are_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_plain(bytes, data, [b"a", b"b"])
    with pytest.raises(TypeError):
        to_plain(b"bytes")


def test_what_a_newer_writer_adds_is_ignored() -> None:
    assert from_plain(Outer, {"text": "t", "added": {"later": 1}, "inner": {"number": 1, "more": 2}}) == Outer("t", Inner(1))


def test_what_an_older_writer_left_out_has_its_default() -> None:
    assert from_plain(Outer, {"text": "t"}) == Outer("t")


def test_a_whole_number_is_a_float_too() -> None:
    assert from_plain(Outer, {"text": "t", "ratio": 2}).ratio == 2.0
    assert isinstance(from_plain(Outer, {"text": "t", "ratio": 2}).ratio, float)


WRONG: list[Any] = [
    None,
    5,
    [],
    "text",
    {},
    {"text": 5},
    {"text": None},
    {"text": ["t"]},
    {"text": "t", "inner": 5},
    {"text": "t", "inner": {}},
    {"text": "t", "inner": {"number": "1"}},
    {"text": "t", "inner": {"number": True}},
    {"text": "t", "inner": {"number": 1.5}},
    {"text": "t", "many": "text"},
    {"text": "t", "many": {"number": 1}},
    {"text": "t", "many": [5]},
    {"text": "t", "pair": [1]},
    {"text": "t", "pair": [1, "x", 2]},
    {"text": "t", "pair": ["x", 1]},
    {"text": "t", "listed": "characters"},
    {"text": "t", "mapped": []},
    {"text": "t", "mapped": {"k": 1}},
    {"text": "t", "colour": "blue"},
    {"text": "t", "ratio": True},
    {"text": "t", "ratio": "0.5"},
    {"text": "t", "flag": 1},
    {"text": "t", "when": "yesterday"},
    {"text": "t", "when": 5},
    {"text": "t", "when": ["2024"]},
]


@pytest.mark.parametrize("data", WRONG, ids=repr)
def test_data_of_another_shape_is_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_plain(Outer, data)


def test_a_name_that_is_none_is_refused() -> None:
    move = to_plain(Move("reset", RefName("master"), CommitId.new()))
    for branch in ("../etc", "", 5, None):
        with pytest.raises((ValueError, UsageError)):
            from_plain(Move, {**move, "branch": branch})
    with pytest.raises(UsageError):
        from_plain(Move, {**move, "head": "HEAD"})


def test_keys_are_checked_as_well() -> None:
    with pytest.raises(UsageError):
        from_plain(Mapping[SubdotName, str], {"../etc": "x"})  # type: ignore[type-abstract]


def test_what_is_not_plain_is_refused() -> None:
    for value in (object(), b"bytes", Outer, [object()], {"k": object()}):
        with pytest.raises(TypeError):
            to_plain(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*Outer.__dataclass_fields__, "x")), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_no_data_does_worse_than_a_value_error(data: Any) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(from_plain(Outer, data), Outer)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_plain_data_stays_as_it_is(data: Any) -> None:
    assert to_plain(data) == data
    assert from_plain(object, data) == data
