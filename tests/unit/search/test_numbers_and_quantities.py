from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.core.outcome import FhirError
from fhir_server.core.query import Index, Key
from fhir_server.search import numbers
from fhir_server.search.match import matches
from tests.unit.search.conftest import Search, Tree

UCUM = "http://unitsofmeasure.org"


def _observation(value: str, unit: str = "cm", **more: object) -> Tree:
    return {
        "resourceType": "Observation",
        "valueQuantity": {"value": Decimal(value), "unit": unit, "system": UCUM, "code": unit, **more},
    }


@pytest.mark.parametrize(
    ("stored", "query", "found"),
    [
        ("100", "100", True),
        ("99.5", "100", True),
        ("100.49", "100", True),
        ("100.5", "100", False),
        ("100.004", "100.00", True),
        ("100.1", "100.00", False),
        ("104", "1e2", True),
        ("105", "1e2", False),
        ("94", "1e2", False),
        ("100.1", "ne100", False),
        ("101", "ne100", True),
        ("100", "gt100", False),
        ("100.1", "gt100", True),
        ("100", "ge100", True),
        ("99.9", "ge100", False),
        ("99.9", "lt100", True),
        ("100", "lt100", False),
        ("100", "le100", True),
        ("100.1", "le100", False),
        ("101", "sa100", True),
        ("99", "eb100", True),
        ("109", "ap100", True),
        ("111", "ap100", False),
        ("-5", "-5", True),
        ("-5", "lt-4", True),
        ("0", "0", True),
        ("100", f"100|{UCUM}|cm", True),
        ("100", f"1|{UCUM}|m", True),
        ("100", f"1.00|{UCUM}|m", True),
        ("100", f"gt0.9|{UCUM}|m", True),
        ("100", f"39.4|{UCUM}|[in_i]", True),
        ("100", f"100|{UCUM}|kg", False),
        ("100", "100||cm", True),
        ("100", "100||m", False),
        ("100", "100|http://other|cm", False),
    ],
)
def test_quantities_by_significant_digits_and_unit(search: Search, stored: str, query: str, found: bool) -> None:
    assert search(_observation(stored), f"Observation?value-quantity={query}") == (["Observation/1"] if found else [])


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        (_observation("98.6", "[degF]"), f"37.0|{UCUM}|Cel"),
        (_observation("7.4", "[pH]"), f"7.4|{UCUM}|[pH]"),
        (_observation("5", "{score}"), f"5|{UCUM}|{{score}}"),
        (_observation("5.5", "mmol/L"), f"5500|{UCUM}|umol/L"),
        (_observation("120", "mm[Hg]"), f"12.0|{UCUM}|cm[Hg]"),
        (_observation("10", "10*3/uL"), f"10000|{UCUM}|/uL"),
        ({"resourceType": "Observation", "valueQuantity": {"value": 3, "unit": "錠"}}, "3||錠"),
    ],
)
def test_units_meet_in_their_canonical_form(search: Search, stored: Tree, query: str) -> None:
    assert search(stored, f"Observation?value-quantity={query}") == ["Observation/1"]


def test_a_comparator_makes_an_open_interval(search: Search) -> None:
    below = _observation("5", comparator="<")
    assert search(below, "Observation?value-quantity=lt10") == ["Observation/1"]
    assert search(below, "Observation?value-quantity=gt5") == []
    assert search(below, "Observation?value-quantity=5") == []
    above = _observation("5", comparator=">=")
    assert search(above, f"Observation?value-quantity=gt1|{UCUM}|m") == ["Observation/1"]


def test_ranges_and_money_are_quantities(search: Search) -> None:
    condition: Tree = {
        "resourceType": "Condition",
        "onsetRange": {
            "low": {"value": 40, "system": UCUM, "code": "a"},
            "high": {"value": 50, "system": UCUM, "code": "a"},
        },
    }
    assert search(condition, "Condition?onset-age=gt45") == ["Condition/1"]
    assert search(condition, f"Condition?onset-age=lt41|{UCUM}|a") == ["Condition/1"]
    assert search(condition, "Condition?onset-age=sa45") == []
    invoice: Tree = {"resourceType": "Invoice", "totalNet": {"value": Decimal(1500), "currency": "JPY"}}
    assert search(invoice, "Invoice?totalnet=1500||JPY") == ["Invoice/1"]
    assert search(invoice, "Invoice?totalnet=1500|urn:iso:std:iso:4217|JPY") == ["Invoice/1"]
    assert search(invoice, "Invoice?totalnet=1500||USD") == []


@pytest.mark.parametrize(("query", "found"), [("0.5", True), ("gt0.4", True), ("0.6", False), ("0.50", False)])
def test_numbers(search: Search, query: str, found: bool) -> None:
    risk: Tree = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": Decimal("0.52")}]}
    assert search(risk, f"RiskAssessment?probability={query}") == (["RiskAssessment/1"] if found else [])


@pytest.mark.parametrize("value", ["x", "1|kg", "gt", "1e", "--1", "NaN", f"1|{UCUM}|", "1,x", "1" * 60])
def test_what_is_not_a_quantity_is_refused(search: Search, value: str) -> None:
    with pytest.raises(FhirError) as raised:
        search(_observation("1"), f"Observation?value-quantity={value}")
    assert "value-quantity" in raised.value.issues[0].diagnostics


@given(
    st.decimals(-1000, 1000, places=2),
    st.decimals(-1000, 1000, places=1),
    st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le"]),
)
def test_prefixes_of_numbers_mean_what_the_standard_says(target: Decimal, value: Decimal, prefix: str) -> None:
    low, high = numbers.bounds(prefix, value)
    entry = Index(ranges=[("k", float(target), float(target), ())])
    found = matches(numbers.compare("k", prefix, low, value, high), Key("T", "1"), 0, entry, lambda *_: False)
    half = Decimal("0.05")
    expected = {
        "eq": value - half <= target < value + half,
        "ne": not value - half <= target < value + half,
        "gt": target > value,
        "lt": target < value,
        "ge": target >= value,
        "le": target <= value,
    }
    assert found == expected[prefix]
