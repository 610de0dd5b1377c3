"""Value spaces of the primitive types against independent readings of the standard."""

import binascii
import calendar
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions.model import Definitions
from fhir_server.validation.primitives import PRIMITIVES


def accepts(name: str, value: object) -> bool:
    return PRIMITIVES[name].accepts(value)


@given(st.integers(1, 9999), st.integers(1, 12), st.integers(1, 31))
def test_a_date_is_accepted_exactly_if_the_calendar_has_it(year: int, month: int, day: int) -> None:
    exists = day <= calendar.monthrange(year, month)[1]
    text = f"{year:04}-{month:02}-{day:02}"
    assert accepts("date", text) is exists
    assert accepts("dateTime", text) is exists
    assert accepts("instant", f"{text}T12:00:00.5+09:00") is exists


@given(st.binary(min_size=1))
def test_base64_is_accepted(raw: bytes) -> None:
    assert accepts("base64Binary", binascii.b2a_base64(raw).decode())


TEXTS = [
    "code",
    "id",
    "string",
    "markdown",
    "uri",
    "url",
    "canonical",
    "oid",
    "uuid",
    "date",
    "dateTime",
    "instant",
    "time",
]


@pytest.mark.parametrize("name", TEXTS)
@given(text=st.text(max_size=12) | st.from_regex(r"\A[0-9a-zA-Z:.+\- /]{1,30}\Z"))
def test_nothing_is_accepted_that_the_published_pattern_refuses(definitions: Definitions, name: str, text: str) -> None:
    if not accepts(name, text):
        return
    assert re.fullmatch(definitions.structures[name].pattern, text, re.ASCII)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["", " ", "\t\n", "　", None, 1, True, Decimal(1), [], {}])
def test_text_types_refuse_blanks_and_other_json(name: str, value: object) -> None:
    assert not accepts(name, value)


@pytest.mark.parametrize("name", ["integer", "positiveInt", "unsignedInt"])
def test_integers_have_32_bits_and_no_fraction(name: str) -> None:
    assert accepts(name, 2**31 - 1)
    for value in (2**31, -(2**31) - 1, Decimal("1.0"), 1.0, True, "1", None):
        assert not accepts(name, value)
    assert accepts(name, 0) is (name != "positiveInt")
    assert accepts(name, -1) is (name == "integer")


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=6) | st.integers()
)
def test_decimals_are_accepted(value: Decimal | int) -> None:
    assert accepts("decimal", value)


@pytest.mark.parametrize("value", ["1", 1.5, True, None, Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999")])
def test_what_is_no_number_or_absurd_is_no_decimal(value: object) -> None:
    assert not accepts("decimal", value)


def test_every_primitive_type_of_the_definitions_has_a_value_space(definitions: Definitions) -> None:
    published = {s.name for s in definitions.structures.values() if s.kind == "primitive-type"}
    assert published == {*PRIMITIVES, "xhtml"}
