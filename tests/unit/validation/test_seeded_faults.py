"""Break a valid resource in a known way: it must be found, and gate and walk must agree on everything else."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.core import json
from fhir_server.definitions.model import Definitions
from fhir_server.validation import Validator
from tests.data import test_data

LARGEST = 15_000
Spot = tuple[dict[str, Any], str]


@pytest.fixture(scope="session")
def valid_trees(validator: Validator) -> list[Any]:
    paths = sorted(test_data("fhir/examples").glob("*/*.json"))
    trees = [json.decode(path.read_bytes()) for path in paths if path.stat().st_size < LARGEST]
    return [tree for tree in trees if not validator.validate(tree)]


def spots(node: Any) -> Iterator[Spot]:
    """Yield every (object, member) of a tree but resourceType."""
    if isinstance(node, dict):
        for name, value in list(node.items()):
            if name != "resourceType":
                yield node, name
                yield from spots(value)
    elif isinstance(node, list):
        for item in node:
            yield from spots(item)


def add_unknown(spot: Spot) -> None:
    spot[0]["unheardOf"] = "x"


def put_null(spot: Spot) -> None:
    spot[0][spot[1]] = None


def put_empty_object(spot: Spot) -> None:
    spot[0][spot[1]] = {}


def put_empty_array(spot: Spot) -> None:
    spot[0][spot[1]] = []


def put_blank(spot: Spot) -> None:
    spot[0][spot[1]] = " "


def swap_shape(spot: Spot) -> None:
    value = spot[0][spot[1]]
    spot[0][spot[1]] = value[0] if isinstance(value, list) else [value]


def put_float(spot: Spot) -> None:
    spot[0][spot[1]] = 1.5


FAULTS = [add_unknown, put_null, put_empty_object, put_empty_array, put_blank, swap_shape, put_float]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_seeded_fault_is_found(validator: Validator, valid_trees: list[Any], fault: Any, data: st.DataObject) -> None:
    tree = copy.deepcopy(data.draw(st.sampled_from(valid_trees)))
    fault(data.draw(st.sampled_from(list(spots(tree)))))
    assert not validator.accepts(tree)
    assert validator.validate(tree)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_missing_required_element_is_found(
    validator: Validator, definitions: Definitions, valid_trees: list[Any], data: st.DataObject
) -> None:
    tree = copy.deepcopy(data.draw(st.sampled_from(valid_trees)))
    type_name = tree["resourceType"]
    required = [
        element
        for element in definitions.structures[type_name].children[type_name]
        if element.min and not any("_" + name in tree for name, _ in element.json_names())
    ]
    if not required:
        return
    element = data.draw(st.sampled_from(required))
    for name, _ in element.json_names():
        tree.pop(name, None)
    assert not validator.accepts(tree)
    assert ("required", f"{type_name}.{element.name}") in {
        (issue.code, issue.expression) for issue in validator.validate(tree)
    }


SCRAPS: list[Any] = [
    None, True, 0, -1, "", "x", "Patient/1", "Group/1", "#", "#x", "2020-02-30", [], {}, [None], [{}], {"id": "x"},
    [{"id": "x"}], ["x"], {"extension": []}, {"extension": [{"url": "http://a", "valueCode": "b"}]}, {"url": "x"},
    [None, {"extension": [{"url": "http://a", "valueCode": "b"}]}], {"resourceType": "Patient"}, {"reference": "#y"},
]  # fmt: skip


def meddle(tree: Any, chance: random.Random) -> None:
    """Remove or replace one member somewhere, or add a companion, an extension or an id."""
    found = list(spots(tree))
    if not found:
        return
    holder, name = chance.choice(found)
    if chance.random() < 0.4:
        holder.pop(name, None)
    else:
        holder[chance.choice([name, name, "_" + name, "extension", "id"])] = copy.deepcopy(chance.choice(SCRAPS))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9))
def test_the_gate_lets_nothing_through_that_the_walk_refuses(
    validator: Validator, valid_trees: list[Any], seed: int
) -> None:
    chance = random.Random(seed)
    tree = copy.deepcopy(chance.choice(valid_trees))
    for _ in range(chance.randint(1, 3)):
        meddle(tree, chance)
    errors = [issue for issue in validator.validate(tree, warnings=True) if issue.fails]
    if validator.accepts(tree):
        assert errors == []
    else:
        assert validator.validate(tree) == errors
