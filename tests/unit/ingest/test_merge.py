"""Snapshot semantics: what a message states, laid over what is known."""

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.mapping.draft import Mode, Node
from adapters.ingest.merge import merged, plain, same, with_members


def upsert(current: Any, tree: dict[str, Any], stated: tuple[str, ...] = (), *cleared: tuple[str, ...]) -> Any:
    return merged(Mode.UPSERT, current, Node(tree), stated, cleared)


def item(label: str, value: str) -> dict[str, Any]:
    return {"id": label, "value": value}


def test_what_changes_nothing_gives_back_the_very_same_tree() -> None:
    current = {"a": 1, "b": [{"c": "d"}]}
    assert upsert(current, {"a": 1}) is current


def test_an_atom_replaces_and_a_node_merges() -> None:
    current = {"atom": {"a": 1, "b": 2}, "node": {"a": 1, "b": 2}}
    assert upsert(current, {"atom": {"a": 3}, "node": Node(a=3)}) == {"atom": {"a": 3}, "node": {"a": 3, "b": 2}}


def test_labelled_items_are_replaced_as_a_group_where_they_stood() -> None:
    current = {"x": [item("PID-13.1", "a"), item("PID-13.2", "b"), item("PID-14.1", "c"), {"value": "own"}]}
    result = upsert(current, {"x": [item("PID-13.1", "d")]}, ("PID-13",))
    assert result == {"x": [item("PID-13.1", "d"), item("PID-14.1", "c"), {"value": "own"}]}


def test_a_stated_label_without_items_takes_its_group_away() -> None:
    current = {"x": [item("PID-13.1", "a"), item("PID-14.1", "c")], "y": [item("PID-13.1", "a")]}
    assert upsert(current, {"z": 1}, ("PID-13",)) == {"x": [item("PID-14.1", "c")], "z": 1}


def test_a_list_without_labels_replaces_the_list() -> None:
    assert upsert({"x": [1, 2]}, {"x": [3]}) == {"x": [3]}


def test_what_is_nulled_goes_and_so_does_what_is_empty_then() -> None:
    current = {"a": 1, "_a": {"extension": []}, "h": {"i": 1}, "j": {"k": 1, "l": 2}}
    assert upsert(current, {}, (), ("a",), ("h", "i"), ("j", "k"), ("none", "x")) == {"j": {"l": 2}}


def test_what_one_field_nulls_and_another_states_stays_stated() -> None:
    assert upsert({"a": 1}, {"a": 2}, (), ("a",)) == {"a": 2}


@pytest.mark.parametrize("mode", [Mode.UPSERT, Mode.REVISE])
def test_of_a_choice_the_stated_type_displaces_the_other(mode: Mode) -> None:
    current = {"deceasedBoolean": False, "_deceasedBoolean": {"id": "x"}, "valueString": "a"}
    result = merged(mode, current, Node(deceasedDateTime="2020", valueString="b"), (), ())
    assert result == {"deceasedDateTime": "2020", "valueString": "b"}


def test_the_extension_of_a_primitive_goes_with_its_value() -> None:
    current = {"birthDate": "1950", "_birthDate": {"extension": [1]}}
    assert upsert(current, {"birthDate": "1951"}) == {"birthDate": "1951"}
    assert upsert(current, {"birthDate": "1950"}) is current


def test_tags_of_others_and_profiles_stay() -> None:
    current = {"meta": {"tag": [{"code": "x"}], "profile": ["a"]}}
    assert upsert(current, {"meta": {"profile": ["a", "b"]}}) == {
        "meta": {"tag": [{"code": "x"}], "profile": ["a", "b"]}
    }  # fmt: skip


def test_complete_fills_in_what_is_absent_also_within_nodes_but_no_second_choice() -> None:
    current = {"a": 1, "n": {"x": 1}, "deceasedBoolean": True}
    tree = Node(a=2, b=3, n=Node(x=2, y=3), deceasedDateTime="2020")
    assert merged(Mode.COMPLETE, current, tree, (), ()) == {**current, "b": 3, "n": {"x": 1, "y": 3}}


def test_ensure_and_revise_differ_in_what_they_make() -> None:
    tree = Node(a=1)
    assert merged(Mode.ENSURE, None, tree, (), ()) == {"a": 1}
    assert merged(Mode.ENSURE, {"b": 1}, tree, (), ()) == {"b": 1}
    assert merged(Mode.REVISE, None, tree, (), ()) is None


def test_a_digit_more_is_a_change() -> None:
    current = {"v": Decimal("1.0")}
    assert upsert(current, {"v": Decimal("1.00")}) == {"v": Decimal("1.00")}
    assert str(upsert(current, {"v": Decimal("1.00")})["v"]) == "1.00"
    assert not same([1, {"a": Decimal("1.0")}], [1, {"a": Decimal("1.00")}])


def test_members_are_set_and_removed() -> None:
    current = {"status": "active", "clinicalStatus": {}}
    assert with_members(current, {"status": "x", "clinicalStatus": None}) == {"status": "x"}
    assert with_members(current, {"status": "active", "none": None}) is current


_labels = st.sampled_from(["A-1.1", "A-1.2", "A-2.1", "B-1.1"])
_items = st.lists(st.builds(item, _labels, st.sampled_from("xyz")), max_size=4)
_scalars = st.sampled_from(["a", "b", 1, True])
_trees = st.dictionaries(
    st.sampled_from("pqrs"), _scalars | _items | st.dictionaries(st.sampled_from("tu"), _scalars, min_size=1).map(Node)
)


@given(_trees, _trees, st.sets(st.sampled_from(["A-1", "A-2", "B-1"])), st.sampled_from(Mode))
def test_laying_the_same_again_changes_nothing_and_nothing_is_changed_in_place(
    current: dict[str, Any], tree: dict[str, Any], stated: set[str], mode: Mode
) -> None:
    known = plain(current)
    before, given_tree = copy.deepcopy(known), copy.deepcopy(tree)
    once = merged(mode, known, Node(tree), stated, ())
    assert known == before
    assert tree == given_tree
    assert once is not None
    assert merged(mode, once, Node(tree), stated, ()) is once
