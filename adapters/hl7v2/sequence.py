"""The sequence number protocol: MSH-13 told, MSA-4 expected (HL7 v2.5 chapter 2.10.1)."""

import enum

import msgspec

#: remembered after a resynchronisation: the next number, whatever it is, is the base
ANY = -1


class Step(enum.StrEnum):
    """What a message's number means. START and RESYNCHRONISE are about the link, the others about the message."""

    UNNUMBERED = "unnumbered"
    START = "start"
    RESYNCHRONISE = "resynchronise"
    NEXT = "next"
    REPEAT = "repeat"
    GAP = "gap"
    INVALID = "invalid"


class Decision(msgspec.Struct, frozen=True):
    """The step, MSA-4 of the answer, and the number to remember before answering; None: nothing."""

    step: Step
    expected: int | None = None
    remember: int | None = None


def decide(told: str, last: int | None) -> Decision:
    """Decide by MSH-13 and the last number accepted (None: none known)."""
    text = told.strip()
    if not text:
        return Decision(Step.UNNUMBERED)
    known = last is not None and last != ANY
    expected = last + 1 if last is not None and known else ANY
    if text == "-1":
        return Decision(Step.RESYNCHRONISE, ANY, ANY)
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        return Decision(Step.INVALID, expected)
    number = int(text)
    if number == 0:
        return Decision(Step.START, expected)
    if not known or number == expected:
        return Decision(Step.NEXT, number + 1, number)
    return Decision(Step.REPEAT if number == last else Step.GAP, expected)
