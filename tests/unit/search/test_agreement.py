"""The whole room against a second opinion: searches evaluated on the resources themselves, by the definitions."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from fhir_server.core.query import Index, Key
from fhir_server.search.index import index
from fhir_server.search.match import matches
from fhir_server.search.parameters import SearchRegistry
from fhir_server.search.parse import plan
from tests.unit.search.conftest import BASE, NOW_MS, Tree

TOKYO = ZoneInfo("Asia/Tokyo")
SYSTEMS = (None, "http://a", "http://b")
CODES = ("x", "y")
DATES = ("2020", "2020-05", "2020-05-05", "2020-05-06", "2020-05-05T10:00:00+09:00", "2020-05-05T01:00:00Z")
AMOUNTS = ("1", "1.0", "1.04", "1.06", "2", "10", "100")
UNITS = {"g": Decimal(1), "mg": Decimal("0.001"), "kg": Decimal(1000)}
STATUS = "http://hl7.org/fhir/observation-status"
_COMBINED = ("combo-value-quantity", "combo-code-value-quantity")
UCUM = "http://unitsofmeasure.org"


def _without_none(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if value is not None}


codings = st.builds(
    lambda system, code: _without_none({"system": system, "code": code}),
    st.sampled_from(SYSTEMS),
    st.sampled_from(CODES),
)
concepts = st.lists(codings, min_size=1, max_size=2).map(lambda found: {"coding": found})
quantities = st.builds(
    lambda value, unit: {"value": Decimal(value), "unit": unit, "system": UCUM, "code": unit},
    st.sampled_from(AMOUNTS),
    st.sampled_from(sorted(UNITS)),
)
components = st.builds(
    lambda code, value: _without_none({"code": code, "valueQuantity": value}), concepts, st.none() | quantities
)
observations = st.builds(
    lambda **members: _without_none({"resourceType": "Observation", "id": "1", **members}),
    status=st.sampled_from(("final", "amended")),
    code=concepts,
    category=st.none() | st.lists(concepts, min_size=1, max_size=2),
    subject=st.none() | st.sampled_from(("Patient/1", "Patient/2", "Group/1")).map(lambda to: {"reference": to}),
    effectiveDateTime=st.none() | st.sampled_from(DATES),
    valueQuantity=st.none() | quantities,
    component=st.none() | st.lists(components, min_size=1, max_size=2),
)

tokens = st.sampled_from(("x", "y", "|x", "http://a|x", "http://b|y", "http://a|"))
prefixes = st.sampled_from(("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"))
asked_quantities = st.builds(
    lambda prefix, value, system, unit: f"{prefix}{value}|{system}|{unit}",
    prefixes,
    st.sampled_from(AMOUNTS),
    st.sampled_from((UCUM, UCUM, "", "http://other")),
    st.sampled_from(sorted(UNITS)),
)
questions = st.one_of(
    st.tuples(
        st.sampled_from(
            ("code", "category", "combo-code", "component-code", "code:not", "category:not", "combo-code:not")
        ),
        tokens,
    ),
    st.tuples(
        st.sampled_from(("status", "status:not")),
        st.sampled_from(("final", "|final", f"{STATUS}|final", f"{STATUS}|amended", f"{STATUS}|", "http://a|final")),
    ),
    st.tuples(
        st.sampled_from(("subject", "patient", "subject:not", "patient:not")),
        st.sampled_from(("1", "Patient/1", "Patient/2", "Group/1")),
    ),
    st.tuples(st.just("date"), st.builds(str.__add__, prefixes, st.sampled_from(DATES))),
    st.tuples(st.sampled_from(("value-quantity", "combo-value-quantity")), asked_quantities),
    st.tuples(
        st.sampled_from(("code-value-quantity", "component-code-value-quantity", "combo-code-value-quantity")),
        st.builds(
            lambda code, value: f"{code}${value}",
            st.sampled_from(("x", "http://a|x", "http://b|x", "|y")),
            asked_quantities,
        ),
    ),
    st.tuples(
        st.sampled_from(
            [f"{code}:missing" for code in ("category", "subject", "patient", "date", "value-quantity", *_COMBINED)]
        ),
        st.sampled_from(("true", "false")),
    ),
)


# --- the second opinion -------------------------------------------------------------------------------


def _expected(tree: Tree, name: str, value: str) -> bool:
    code, _, modifier = name.partition(":")
    if modifier == "missing":
        if code in _COMBINED:
            elements = [tree, *tree.get("component", ())]
            return any("valueQuantity" in element for element in elements) != (value == "true")
        if code == "patient":
            patient = tree.get("subject", {}).get("reference", "").startswith("Patient/")
            return bool(patient) != (value == "true")
        member = {"date": "effectiveDateTime", "value-quantity": "valueQuantity"}.get(code, code)
        return (member not in tree) == (value == "true")
    if modifier == "not":
        return not _expected(tree, code, value)
    if code.endswith("code-value-quantity"):
        token, _, quantity = value.partition("$")
        return any(
            _token(token, element["code"])
            and "valueQuantity" in element
            and _quantity(quantity, element["valueQuantity"])
            for element in _elements(tree, code.removesuffix("code-value-quantity"))
        )
    if code.endswith("value-quantity"):
        elements = _elements(tree, code.removesuffix("value-quantity"))
        return any("valueQuantity" in element and _quantity(value, element["valueQuantity"]) for element in elements)
    if code == "status":
        return value in (tree["status"], f"{STATUS}|{tree['status']}", f"{STATUS}|")
    if code == "category":
        return any(_token(value, concept) for concept in tree.get("category", ()))
    if code.endswith("code"):
        return any(_token(value, element["code"]) for element in _elements(tree, code.removesuffix("code")))
    if code in ("subject", "patient"):
        reference = tree.get("subject", {}).get("reference", "")
        own = reference == value or (value == "1" and reference in ("Patient/1", "Group/1"))
        return own and (code == "subject" or reference.startswith("Patient/"))
    return "effectiveDateTime" in tree and _date(value, tree["effectiveDateTime"])


def _elements(tree: Tree, which: str) -> Iterator[Tree]:
    if which in ("", "combo-"):
        yield tree
    if which in ("component-", "combo-"):
        yield from tree.get("component", ())


def _token(asked: str, concept: Tree) -> bool:
    system, bar, code = asked.rpartition("|")
    for coding in concept["coding"]:
        if bar and coding.get("system", "") != system:
            continue
        if not code or coding["code"] == code:
            return True
    return False


def _prefix(value: str) -> tuple[str, str]:
    return (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)


def _quantity(asked: str, quantity: Tree) -> bool:
    number, system, unit = asked.split("|")
    if system != UCUM and (system or quantity["code"] != unit):
        return False
    prefix, text = _prefix(number)
    digits = len(text.partition(".")[2])
    half = Decimal(5).scaleb(-digits - 1)
    value, factor = Decimal(text), UNITS[unit]
    stored = quantity["value"] * UNITS[quantity["code"]]
    equal = (value - half) * factor <= stored < (value + half) * factor
    exact = value * factor
    return {
        "eq": equal,
        "ne": not equal,
        "gt": stored > exact,
        "sa": stored > exact,
        "lt": stored < exact,
        "eb": stored < exact,
        "ge": stored >= exact,
        "le": stored <= exact,
    }[prefix]


def _date(asked: str, stored: str) -> bool:
    prefix, text = _prefix(asked)
    (a, b), (low, high) = _half_open(text), _half_open(stored)
    within = a <= low and high <= b
    return {
        "eq": within,
        "ne": not within,
        "gt": high > b,
        "lt": low < a,
        "ge": within or high > b,
        "le": within or low < a,
        "sa": low >= b,
        "eb": high <= a,
    }[prefix]


def _half_open(text: str) -> tuple[datetime, datetime]:
    match len(text):
        case 4:
            return datetime(int(text), 1, 1, tzinfo=TOKYO), datetime(int(text) + 1, 1, 1, tzinfo=TOKYO)
        case 7:
            year, month = map(int, text.split("-"))
            return datetime(year, month, 1, tzinfo=TOKYO), datetime(year, month + 1, 1, tzinfo=TOKYO)
        case 10:
            day = datetime.fromisoformat(text).replace(tzinfo=TOKYO)
            return day, day + timedelta(days=1)
        case _:
            moment = datetime.fromisoformat(text)
            return moment, moment + timedelta(seconds=1)


# --- the comparison -----------------------------------------------------------------------------------

Search = Callable[[Tree, str, str], bool]


def _search(registry: SearchRegistry, faulty: Callable[[Index], Index] = lambda found: found) -> Search:
    def run(tree: Tree, name: str, value: str) -> bool:
        query = plan(registry, ("Observation",), [(name, value)], lenient=False, base=BASE, now_ms=NOW_MS).query
        return matches(query.where, Key("Observation", "1"), NOW_MS, faulty(index(registry, tree)), _no_chains)

    return run


def _no_chains(*_: Any) -> bool:
    raise AssertionError("no question here has a chain")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(observations, questions)
def test_index_and_plan_agree_with_the_definitions(
    registry: SearchRegistry, tree: Tree, question: tuple[str, str]
) -> None:
    assert _search(registry)(tree, *question) == _expected(tree, *question)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(observations, questions, questions)
def test_two_criteria_are_both_met(
    registry: SearchRegistry, tree: Tree, one: tuple[str, str], other: tuple[str, str]
) -> None:
    query = plan(registry, ("Observation",), [one, other], lenient=False, base=BASE, now_ms=NOW_MS).query
    found = matches(query.where, Key("Observation", "1"), NOW_MS, index(registry, tree), _no_chains)
    assert found == (_expected(tree, *one) and _expected(tree, *other))


def _without_last_term(found: Index) -> Index:
    return Index(found.terms[:-1], found.ranges, found.texts, found.values, found.present, found.date)


def _without_canonical_units(found: Index) -> Index:
    ranges = [entry for entry in found.ranges if "@" not in entry[0]]
    return Index(found.terms, ranges, found.texts, found.values, found.present, found.date)


def _one_millisecond_early(found: Index) -> Index:
    ranges = [
        (key, low - 1, high, units) if key.endswith(".date") else (key, low, high, units)
        for key, low, high, units in found.ranges
    ]
    return Index(found.terms, ranges, found.texts, found.values, found.present, found.date)


@pytest.mark.parametrize("fault", [_without_last_term, _without_canonical_units, _one_millisecond_early])
def test_the_comparison_catches_a_seeded_fault(registry: SearchRegistry, fault: Callable[[Index], Index]) -> None:
    broken = _search(registry, fault)
    caught = find(
        st.tuples(observations, questions),
        lambda case: broken(case[0], *case[1]) != _expected(case[0], *case[1]),
        settings=settings(max_examples=3000, deadline=None, phases=[Phase.generate], database=None),
    )
    assert caught
