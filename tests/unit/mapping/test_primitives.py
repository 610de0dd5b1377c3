"""HL7 v2 texts to FHIR primitives."""

from datetime import UTC, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7v2.mapping.primitives import PRIMITIVES, milliseconds, zone_of

TOKYO = ZoneInfo("Asia/Tokyo")

CONVERTED = [
    ("date", "1965", "1965"),
    ("date", "196502", "1965-02"),
    ("date", "19650203", "1965-02-03"),
    ("date", "196502030405", "1965-02-03"),
    ("dateTime", "2024", "2024"),
    ("dateTime", "202401", "2024-01"),
    ("dateTime", "20240102", "2024-01-02"),
    ("dateTime", "2024010203", "2024-01-02T03:00:00+09:00"),
    ("dateTime", "202401020304", "2024-01-02T03:04:00+09:00"),
    ("dateTime", "20240102030405.1200", "2024-01-02T03:04:05.1200+09:00"),
    ("dateTime", "20240102030405-0500", "2024-01-02T03:04:05-05:00"),
    ("dateTime", "202401022400", "2024-01-03T00:00:00+09:00"),
    ("instant", "202401020304", "2024-01-02T03:04:00+09:00"),
    ("time", "0304", "03:04:00"),
    ("decimal", "1.50", Decimal("1.50")),
    ("decimal", "+7", Decimal(7)),
    ("positiveInt", "3", 3),
    ("boolean", "Y", True),
    ("boolean", "n", False),
    ("code", " a  b ", "a b"),
    ("string", " text ", "text"),
]

REFUSED = [
    ("date", "19650230"),
    ("date", "1965/02/03"),
    ("date", "196513"),
    ("dateTime", "20240102250000"),
    ("dateTime", "0000"),
    ("instant", "20240102"),
    ("time", "2561"),
    ("decimal", "<5.2"),
    ("decimal", "1e3"),
    ("decimal", "NaN"),
    ("positiveInt", "0"),
    ("unsignedInt", "-1"),
    ("integer", "1.5"),
    ("boolean", "X"),
    ("string", "  "),
]


@pytest.mark.parametrize(("kind", "text", "expected"), CONVERTED, ids=[f"{kind}-{text}" for kind, text, _ in CONVERTED])
def test_converted(kind: str, text: str, expected: object) -> None:
    found = PRIMITIVES[kind](text, TOKYO)
    assert found == expected
    assert str(found) == str(expected)


@pytest.mark.parametrize(("kind", "text"), REFUSED, ids=[f"{kind}-{text}" for kind, text in REFUSED])
def test_refused_without_quoting_the_value(kind: str, text: str) -> None:
    with pytest.raises(ValueError) as failure:
        PRIMITIVES[kind](text, TOKYO)
    assert not text.strip() or text not in str(failure.value)


def test_the_zone_of_a_time() -> None:
    assert zone_of("20240102030405-0530") == timezone(-timedelta(hours=5, minutes=30))
    assert zone_of("20240102030405") is None


def test_partial_times_begin_where_they_begin() -> None:
    assert milliseconds("1970", UTC) == 0
    assert milliseconds("197002", UTC) == 31 * 86_400_000
