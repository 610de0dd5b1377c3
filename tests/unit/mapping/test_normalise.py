"""HL7's published inventory: every row is in ours, or left out with a reason."""

import pytest

from adapters.hl7v2.mapping import normalise
from adapters.hl7v2.mapping.rows import MapError
from tests.data import test_data

INVENTORY = "v2/hl7-v2-to-fhir/mappings"


def published(condition: str, at: str = "PID-1", name: str = "PID[Patient]") -> normalise.Published:
    return normalise.Published(name, at, "x", condition, "")


def test_every_row_with_a_target_is_cited_or_left_out_with_a_reason() -> None:
    rows = normalise.unaccounted(test_data(INVENTORY))
    assert [f"{row.name} {row.at} {row.to}" for row in rows] == []


def test_every_condition_is_in_our_language() -> None:
    decided = normalise.decisions()
    found = {normalise.normalise(row, decided) for row in normalise.read(test_data(INVENTORY)) if row.condition}
    assert len(found) > 150


def test_left_out_rows_have_reasons() -> None:
    assert all(why.strip() for why in normalise.omitted().values())


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("IF PID-25 NOT VALUED", "PID-25 not valued"),
        ("IF PID-7 LENGTH GREATER THAN 8", "length(PID-7) > 8"),
        ("IF PID-11 LST.COUNT EQUALS 1 AND PID-11.9 IS NOT VALUED", "count(PID-11) = 1 and PID-11.9 not valued"),
        ('IF PV1-2.1 NOT EQUALS "P"', "PV1-2.1 != 'P'"),
        ('IF OBX.2 IS IN ("NM", "SN")', "OBX-2 in ('NM', 'SN')"),
        ("IF PID-33 AND PID-34 VALUED", "PID-33 valued and PID-34 valued"),
    ],
    ids=["not-valued", "length", "count", "not-equal", "in", "both"],
)
def test_conditions(condition: str, expected: str) -> None:
    assert normalise.normalise(published(condition), {}) == expected


def test_a_condition_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(MapError):
        normalise.normalise(published("IF the moon is full"), {})
