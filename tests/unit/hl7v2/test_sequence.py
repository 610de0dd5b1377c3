"""The sequence number protocol's table."""

import pytest

from adapters.hl7v2.sequence import ANY, Decision, Step, decide

TABLE = {
    "none told": ("", 4, Decision(Step.UNNUMBERED)),
    "start, known": ("0", 4, Decision(Step.START, 5)),
    "start, unknown": ("0", None, Decision(Step.START, ANY)),
    "start after resynchronising": ("0", ANY, Decision(Step.START, ANY)),
    "resynchronise": ("-1", 4, Decision(Step.RESYNCHRONISE, ANY, ANY)),
    "first ever": ("17", None, Decision(Step.NEXT, 18, 17)),
    "first after resynchronising": ("3", ANY, Decision(Step.NEXT, 4, 3)),
    "next": ("5", 4, Decision(Step.NEXT, 6, 5)),
    "repeat": ("4", 4, Decision(Step.REPEAT, 5)),
    "gap": ("7", 4, Decision(Step.GAP, 5)),
    "back": ("2", 4, Decision(Step.GAP, 5)),
    "no number": ("x", 4, Decision(Step.INVALID, 5)),
    "negative": ("-2", 4, Decision(Step.INVALID, 5)),
    "other digits": ("５", 4, Decision(Step.INVALID, 5)),
    "too long": ("9" * 16, 4, Decision(Step.INVALID, 5)),
}


@pytest.mark.parametrize("name", TABLE)
def test_decisions(name: str) -> None:
    told, last, expected = TABLE[name]
    assert decide(told, last) == expected
