"""The bench of the HL7 v2 parser: its messages are sound, and it measures all it says."""

from bench.hl7v2_parse import MESSAGES, measure, report


def test_every_message_is_measured_beside_hl7apy() -> None:
    figures = measure(seconds=0.01, rounds=1)
    assert [figure.message for figure in figures] == list(MESSAGES)
    assert all(figure.ratio > 1 for figure in figures)
    assert len(report(figures).splitlines()) == 2 + len(MESSAGES)
