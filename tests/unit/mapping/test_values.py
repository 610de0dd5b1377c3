"""What has been taken of a value, and what is left."""

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.values import SegmentView

HEAD = "MSH|^~\\&|||||||ADT^A08|1|P|2.5\r"


def view(line: str) -> SegmentView:
    return SegmentView(er7.parse(f"{HEAD}{line}\r").segments[1])


def left(one: SegmentView) -> list[str]:
    return list(one.unused(frozenset()))


def test_a_field_nobody_looked_at_is_one_location() -> None:
    assert left(view("PID|||1^2^3~4")) == ["PID-3"]


def test_components_that_are_not_taken_are_left() -> None:
    one = view("PID|||1^2^3&4")
    value = one.field(3)[0]
    assert value.take(1) == "1"
    assert value.part(3) is not None
    assert left(one) == ["PID-3.2", "PID-3.3.1", "PID-3.3.2"]
    value.mark(3, 2)
    assert left(one) == ["PID-3.2", "PID-3.3.1"]


def test_nulls_and_delimiters_alone_are_nothing() -> None:
    assert left(view('PID|""|^^|~|""^""')) == []


def test_looking_is_not_taking() -> None:
    one = view("PID|||1")
    assert one.text(3) == "1"
    assert left(one) == ["PID-3"]


def test_handled_fields_are_not_left() -> None:
    assert list(view("PID|1||2").unused(frozenset({("PID", 1)}))) == ["PID-3"]
    assert list(view("PID|1||2").unused(frozenset({("PID", 0)}))) == []


@pytest.mark.parametrize(
    ("text", "number", "sub", "expected"),
    [("a^b", 2, 0, "b"), ("a&c^b", 1, 2, "c"), ("a", 1, 2, ""), ('""^b', 1, 0, ""), ("x\\T\\y", 1, 0, "x&y")],
    ids=["component", "subcomponent", "absent", "null", "escaped"],
)
def test_texts(text: str, number: int, sub: int, expected: str) -> None:
    assert view(f"PID|||{text}").field(3)[0].get(number, sub) == expected


def test_a_value_never_shows_its_content() -> None:
    assert "SECRET" not in repr(view("PID|||SECRET").field(3)[0])
