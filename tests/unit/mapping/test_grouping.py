"""Segments to groups: tolerant of what stands in between."""

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.grouping import Group, GroupSpec, anchors_of, group
from adapters.hl7v2.mapping.values import SegmentView

SPECS = {
    "patient": GroupSpec(opens=("PID",)),
    "order": GroupSpec(opens=("ORC", "OBR"), within=("patient",), holds=("NTE", "TQ1")),
    "specimen": GroupSpec(opens=("SPM",), within=("order",), holds=("SAC",)),
    "observation": GroupSpec(opens=("OBX",), within=("specimen", "order", "patient"), holds=("NTE",)),
}


def grouped(*names: str) -> str:
    text = "MSH|^~\\&|||||||ORU^R01|1|P|2.5\r" + "".join(f"{name}|1\r" for name in names)
    views = [SegmentView(segment) for segment in er7.parse(text).segments]
    return shown(group(views, SPECS, anchors_of(SPECS)).root)


def shown(one: Group) -> str:
    parts = [view.name for view in one.segments if view.name != "MSH"] + [shown(child) for child in one.children]
    return f"{one.name}({' '.join(parts)})"


def test_an_anchor_joins_its_group_until_it_would_come_twice() -> None:
    assert grouped("PID", "ORC", "OBR", "ORC", "OBR") == "message(patient(PID order(ORC OBR) order(ORC OBR)))"


def test_an_earlier_anchor_begins_a_new_group() -> None:
    assert grouped("PID", "OBR", "ORC") == "message(patient(PID order(OBR) order(ORC)))"


def test_observations_after_a_specimen_are_the_specimens() -> None:
    assert (
        grouped("PID", "OBR", "OBX", "SPM", "OBX")
        == "message(patient(PID order(OBR observation(OBX) specimen(SPM observation(OBX)))))"
    )


def test_an_unknown_segment_never_splits_a_group() -> None:
    assert (
        grouped("PID", "ZAA", "OBR", "ZBB", "OBX", "ZCC", "NTE", "OBX")
        == "message(patient(PID ZAA ZBB ZCC order(OBR observation(OBX NTE) observation(OBX))))"
    )


def test_a_group_without_the_one_around_it_lies_in_the_message() -> None:
    assert grouped("OBX", "OBX") == "message(observation(OBX) observation(OBX))"


def test_two_patients_have_each_their_own() -> None:
    assert grouped("PID", "OBR", "OBX", "PID", "OBR") == (
        "message(patient(PID order(OBR observation(OBX))) patient(PID order(OBR)))"
    )
