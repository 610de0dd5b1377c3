"""What a conversion made of a text is remembered: copies, what was used, and nothing that depends on the message."""

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.draft import Mapped
from adapters.hl7v2.mapping.engine import Mapper, bundle
from adapters.sources import Source

SOURCE = Source(name="his", overlays=())
MESSAGE = "MSH|^~\\&|A|B|||20240304050607||ADT^A08|{}|P|2.5\rPID|1||{}^^^H||{}||19600101|M|||{}\r"


def mapped(mapper: Mapper, number: int, patient: str, name: str, address: str = "1&MAIN^^TOWN^^12345") -> Mapped:
    return mapper.map(er7.parse(MESSAGE.format(number, patient, name, address)), SOURCE, 0)


def test_a_text_that_comes_again_is_converted_to_the_same() -> None:
    mapper = Mapper.load()
    runs = [mapped(mapper, 1, "P1", "DOE^JOHN^Q^^^^L^^^X") for _ in range(4)]
    assert [bundle(one) for one in runs[1:]] == [bundle(runs[0])] * 3
    assert [one.unmapped for one in runs[1:]] == [runs[0].unmapped] * 3
    assert [one.findings for one in runs[1:]] == [runs[0].findings] * 3


def test_what_is_remembered_is_a_copy_for_each_message() -> None:
    mapper = Mapper.load()
    for number in range(3):
        mapped(mapper, number, f"P{number}", "DOE^JOHN")
    first, second = (mapped(mapper, number, "P1", "DOE^JOHN") for number in (8, 9))
    patient = next(draft for draft in first.drafts if draft.type == "Patient")
    patient.tree["name"][0]["family"] = "CHANGED"
    other = next(draft for draft in second.drafts if draft.type == "Patient")
    third = mapped(mapper, 10, "P1", "DOE^JOHN")
    again = next(draft for draft in third.drafts if draft.type == "Patient")
    assert other.tree["name"][0]["family"] == "DOE"
    assert again.tree["name"][0]["family"] == "DOE"


def test_a_problem_is_reported_each_time() -> None:
    mapper = Mapper.load()
    text = "MSH|^~\\&|A|B|||20240304050607||ADT^A08|1|P|2.5\rPID|1||P1^^^H||DOE||1960AB\r"
    findings = [mapper.map(er7.parse(text), SOURCE, 0).findings for _ in range(4)]
    assert [finding.location for finding in findings[0]] == ["PID-7"]
    assert findings[1:] == [findings[0]] * 3


def test_sources_do_not_share_what_is_remembered() -> None:
    mapper = Mapper.load()
    other = Source(name="lab", overlays=())
    text = MESSAGE.format(1, "P1", "DOE^JOHN", "X")
    trees = [
        [bundle(mapper.map(er7.parse(text), source, 0)) for _ in range(3)][-1] for source in (SOURCE, other, SOURCE)
    ]
    assert trees[0] == trees[2]
    assert "urn:renkei:source:his:" in str(trees[0])
    assert "urn:renkei:source:lab:" in str(trees[1])
    assert "urn:renkei:source:his:" not in str(trees[1])
