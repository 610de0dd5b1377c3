"""The condition language of mapping rows."""

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.conditions import compile_condition
from adapters.hl7v2.mapping.draft import Draft, Node
from adapters.hl7v2.mapping.engine import Mapper
from adapters.hl7v2.mapping.grouping import Group
from adapters.hl7v2.mapping.memory import Memory
from adapters.hl7v2.mapping.rows import MapError
from adapters.hl7v2.mapping.scope import Run, Scope
from adapters.hl7v2.mapping.values import SegmentView, Value
from adapters.sources import Source

MESSAGE = (
    "MSH|^~\\&|A|B|C|D|20240102||ADT^A08|1|P|2.5\r"
    'PID|1||123^^^HOSP~456||SMITH^JOHN^""|""|196502030405|M|||^^CITY~^^TOWN||1^PRN~2\rPV1|1|I\r'
)

HOLDS = {
    "PID-7 valued": True,
    "PID-6 valued": False,
    "PID-6 not valued": True,
    "PID-3.4 valued": True,
    "PID-5.3 valued": False,
    "PID-8 = 'M'": True,
    "PID-8 != 'M'": False,
    "MSH-9.2 in ('A01', 'A08')": True,
    "MSH-9.2 not in ('A01', 'A08')": False,
    "count(PID-11) > 1": True,
    "count(PID-12) = 0": True,
    "length(PID-7) > 8": True,
    "length(PID-7) >= 13": False,
    "PID-5.1 matches '^SM'": True,
    "PID-5.1 not matches '^SM'": False,
    "TQ1 valued": False,
    "PV1 valued and PV1-2 = 'I'": True,
    "PV1 not valued or not (PID-8 = 'F' and PID-7 valued)": True,
    "not PID-8 = 'M'": False,
    'PID-8 = "M"': True,
}


@pytest.fixture(scope="module")
def scope() -> Scope:
    message = er7.parse(MESSAGE)
    source = Source(overlays=())
    compiled = Mapper.load()._of(source).compiled
    root = Group("message", None)
    for segment in message.segments:
        root.add(SegmentView(segment))
    run = Run(compiled, message, source, 0, source.timezone, Memory())
    return Scope(run, root, Draft(type="Patient", key="", tree=Node()), 0)


@pytest.mark.parametrize(("text", "expected"), HOLDS.items(), ids=list(HOLDS))
def test_condition(text: str, expected: bool, scope: Scope) -> None:
    assert compile_condition(text)(scope, None) is expected


def test_a_path_into_the_rows_own_field_means_the_current_repetition(scope: Scope) -> None:
    test = compile_condition("PID-13.2 valued", "PID-13")
    assert [test(scope, value) for value in scope.field("PID", 13)] == [True, False]


def test_in_data_type_maps_a_part_is_of_the_current_value(scope: Scope) -> None:
    value: Value | None = scope.first("PID", 3)
    assert compile_condition("CX.4 valued and CX.1 = '123'")(scope, value)


@pytest.mark.parametrize(
    "text",
    [
        "PID-8",
        "PID-8 is 'M'",
        "valued PID-8",
        "PID-8 = M",
        "count(PID-11)",
        "PID-8 = 'M' PID-7 valued",
        "(PID-8 valued",
    ],
)
def test_what_is_not_a_condition_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(MapError, match="condition"):
        compile_condition(text, "", "segments/X.csv:2")
