"""Batches: the bytes of each message, the envelope's, and one batch of acknowledgements (HL7 v2.5 chapter 2.10.3)."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from adapters.hl7v2.batch import Batch
from adapters.hl7v2.charset import encode
from adapters.hl7v2.er7 import STANDARD, Delimiters, Er7, Raw, Segment, compose, parse
from fhir_server.core.messages import Finding

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")


class Cut(msgspec.Struct, frozen=True):
    """A batch in bytes: messages with their offsets in the frame, the lines around them, and what is wrong."""

    messages: tuple[tuple[bytes, int], ...]
    envelope: bytes
    batch: Batch
    findings: tuple[Finding, ...]


def cut(raw: bytes, batch: Batch) -> Cut:
    """Cut the bytes at the lines where the text was cut: no character set has a line end within a character."""
    starts = [match.start() for match in _LINE.finditer(raw)]
    starts.append(len(raw))
    messages: list[tuple[bytes, int]] = []
    around: list[bytes] = []
    done = 0
    for part in batch.parts:
        begin = starts[min(part.line - 1, len(starts) - 1)]
        end = starts[min(part.line - 1 + part.text.count("\r"), len(starts) - 1)]
        messages.append((raw[begin:end], begin))
        around.append(raw[done:begin])
        done = end
    around.append(raw[done:])
    return Cut(tuple(messages), b"".join(around), batch, batch.findings)


def answer(
    batch: Cut,
    answers: Sequence[bytes],
    refusal: Callable[[Er7], bytes],
    *,
    now: datetime,
    control_id: str,
) -> bytes:
    """Return the answer to a batch: the messages' answers, and before them a refusal of the batch if it is wrong.

    BHS-12 refers to the sender's BHS-11. With failures only and no failure the batch is empty, which says that too.
    """
    header = next((one for one in batch.batch.headers if one is not None), None) or batch.batch.file
    delimiters = STANDARD if header is None else header.delimiters
    given = list(answers)
    if batch.findings:
        given.insert(0, refusal(_as_message(header, delimiters)))
    stamp = now.strftime("%Y%m%d%H%M%S%z")
    head = {7: stamp, 11: control_id, **_turned(header)}
    lines = [("FHS", head)] if batch.batch.file is not None else []
    lines.append(("BHS", head))
    tail: list[tuple[str, dict[int, str]]] = [("BTS", {1: str(len(given))})]
    if batch.batch.file is not None:
        tail.append(("FTS", {1: "1"}))
    return encode(compose(lines, delimiters), "ASCII") + b"".join(given) + encode(compose(tail, delimiters), "ASCII")


def _turned(header: Segment | None) -> dict[int, str]:
    if header is None:
        return {}
    turned = {3: 5, 4: 6, 5: 3, 6: 4, 12: 11}
    return {to: Raw(header.raw(given)) for to, given in turned.items()}


def _as_message(header: Segment | None, delimiters: Delimiters) -> Er7:
    """Return the batch header as the header of a message, which can be acknowledged."""
    fields: dict[int, str] = {9: "ACK", 11: "P", 12: "2.5"}
    if header is not None:
        fields |= {number: Raw(header.raw(number)) for number in range(3, 8)} | {10: Raw(header.raw(11))}
    return parse(compose([("MSH", fields)], delimiters))
