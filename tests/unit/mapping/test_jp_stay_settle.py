"""A stay settled after each message: the order and repetition of messages make no difference."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.mapping.conversions.stay_settle import settle

Item = dict[str, Any]


def move(day: int, ward: str) -> Item:
    return {
        "id": f"PV1-3-202404{day:02}1000.1", "location": {"reference": f"Location/{ward}"}, "status": "active",
        "period": {"start": f"2024-04-{day:02}T10:00:00+09:00"},
    }  # fmt: skip


def leave(day: int, expected: int) -> Item:
    return {
        "id": f"leave-202404{day:02}1000.1", "location": {"reference": "Location/leave"}, "status": "active",
        "period": {"start": f"2024-04-{day:02}T10:00:00+09:00", "end": f"2024-04-{expected:02}"},
    }  # fmt: skip


def event(kind: str, status: str, day: int) -> Item:
    start = {"start": f"2024-04-{day:02}T10:00:00+09:00"}
    return {"id": f"{kind}-202404{day:02}1000.1", "status": status, "period": start}


def stay(status: str, places: list[Item], history: list[Item] | None = None, **more: Any) -> Item:
    return {"status": status, "location": places, **({"statusHistory": history} if history else {}), **more}


def shown(encounter: Item) -> list[tuple[str, str, str]]:
    return [
        (one["location"]["reference"][9:], one["status"], one.get("period", {}).get("end", "")[:10])
        for one in encounter["location"]
    ]


@pytest.mark.parametrize("order", tuple(itertools.permutations(range(3))), ids=lambda order: "".join(map(str, order)))
def test_movements_are_settled_in_order_of_time(order: tuple[int, ...]) -> None:
    moves = [move(10, "a"), move(12, "b"), move(15, "c")]
    settled = settle(stay("in-progress", [moves[at] for at in order]))
    assert shown(settled) == [("a", "completed", "2024-04-12"), ("b", "completed", "2024-04-15"), ("c", "active", "")]


def test_what_is_known_is_not_changed_in_place() -> None:
    places = [move(10, "a"), move(12, "b")]
    settle(stay("in-progress", places))
    assert places == [move(10, "a"), move(12, "b")]


def test_a_discharge_ends_the_last_place_and_its_cancel_opens_it() -> None:
    finished = settle(stay("finished", [move(10, "a")], period={"end": "2024-04-20T10:00:00+09:00"}))
    assert shown(finished) == [("a", "completed", "2024-04-20")]
    again = settle({**finished, "status": "in-progress", "period": {}})
    assert shown(again) == [("a", "active", "")]


def test_a_place_that_is_no_movement_counts_only_where_it_is_another() -> None:
    now = {"id": "PV1-3-now.1", "location": {"reference": "Location/a"}, "status": "active"}
    assert shown(settle(stay("in-progress", [move(10, "a"), now]))) == [("a", "active", "")]
    elsewhere = {**now, "location": {"reference": "Location/z"}}
    assert shown(settle(stay("in-progress", [move(10, "a"), elsewhere]))) == [
        ("a", "completed", ""),
        ("z", "active", ""),
    ]


def test_a_transfer_during_a_leave_does_not_end_it() -> None:
    history = [event("A01", "arrived", 10), event("A21", "onleave", 13)]
    settled = settle(stay("in-progress", [move(10, "a"), move(14, "b"), leave(13, 16)], history))
    assert settled["status"] == "onleave"
    assert shown(settled)[1:] == [("b", "reserved", ""), ("leave", "active", "2024-04-16")]


def test_each_leave_ends_with_its_own_return() -> None:
    history = [
        event("A01", "arrived", 10), event("A21", "onleave", 12), event("A22", "in-progress", 13),
        event("A21", "onleave", 16), event("A22", "in-progress", 18),
    ]  # fmt: skip
    settled = settle(stay("in-progress", [move(10, "a"), leave(12, 14), leave(16, 17)], history))
    assert shown(settled)[1:] == [("leave", "completed", "2024-04-13"), ("leave", "completed", "2024-04-18")]
    assert [one["period"].get("end", "")[8:10] for one in settled["statusHistory"]] == ["12", "13", "16", "18", ""]


def test_items_of_others_are_left_alone() -> None:
    foreign = {"location": {"reference": "Location/x"}, "status": "completed"}
    planned = {**move(20, "b"), "id": "PV1-3-planned.1", "status": "planned"}
    settled = settle(stay("in-progress", [foreign, planned, move(10, "a")]))
    assert foreign in settled["location"]
    assert planned in settled["location"]


_PLACES = st.lists(
    st.one_of(
        st.builds(move, st.integers(1, 28), st.sampled_from("abc")),
        st.builds(leave, st.integers(1, 14), st.integers(15, 28)),
    ),
    max_size=6,
    unique_by=lambda item: item["id"],
)
_HISTORY = st.lists(
    st.builds(lambda kind, day: event(kind[0], kind[1], day),
              st.sampled_from([("A01", "arrived"), ("A21", "onleave"), ("A22", "in-progress")]), st.integers(1, 28)),
    max_size=6, unique_by=lambda item: item["id"],
)  # fmt: skip


@given(st.sampled_from(["arrived", "in-progress", "onleave", "finished"]), _PLACES, _HISTORY, st.randoms())
def test_settling_is_idempotent_and_does_not_depend_on_order(
    status: str, places: list[Item], history: list[Item], dice: Any
) -> None:
    first = settle(stay(status, places, history, period={"end": "2024-04-29"} if status == "finished" else {}))
    assert settle(first) == first
    shuffled = list(places)
    dice.shuffle(shuffled)
    other = settle(stay(status, shuffled, history, period={"end": "2024-04-29"} if status == "finished" else {}))
    assert sorted(map(str, other.get("location", ()))) == sorted(map(str, first.get("location", ())))
