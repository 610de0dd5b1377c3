"""Batches: FHS/BHS/BTS/FTS envelopes, or several messages in one text (HL7 v2.5 chapter 2.10.3)."""

from collections.abc import Callable
from typing import NamedTuple

from adapters.hl7v2.escapes import STANDARD, Delimiters
from adapters.hl7v2.segment import HEADERS, Segment, delimiters_of
from fhir_server.core.messages import Finding


class Part(NamedTuple):
    """One message of a batch: its text, the line it begins at (from 1), and its batch's place in ``Batch.headers``."""

    text: str
    line: int
    batch: int


class Batch(NamedTuple):
    """What :func:`split_batch` found. ``file`` and ``headers`` are the FHS and BHS segments, if sent.

    ``headers`` has one entry for each batch, None for messages outside any. ``enveloped``: there was an FHS, BHS,
    BTS or FTS. ``findings`` tell wrong counts, and text that belongs to no message.
    """

    parts: tuple[Part, ...]
    file: Segment | None = None
    headers: tuple[Segment | None, ...] = ()
    enveloped: bool = False
    findings: tuple[Finding, ...] = ()


def split_batch(text: str) -> Batch:
    """Split what came in one frame or file: FHS/BHS/BTS/FTS envelopes, or several messages one after another."""
    if not _needs_split(text):
        return Batch((Part(text, 1, 0),), None, (None,))
    return _Splitter().split(text.lstrip("\ufeff"))


def _needs_split(text: str) -> bool:
    if text[:3] != "MSH":
        return True
    normal = text.replace("\n", "\r") if "\n" in text else text
    separator = text[3:4]
    return any(f"\r{name}" in normal for name in (f"MSH{separator}", "BTS", "FTS", "BHS", "FHS"))


class _Splitter:
    """Goes through the lines once. A new one for every text."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.headers: list[Segment | None] = []
        self.findings: list[Finding] = []
        self.file: Segment | None = None
        self.enveloped = False
        self.current: list[str] | None = None
        self.begin = 0
        self.in_batch = 0  # messages of the open batch
        self.batches = 0  # BHS seen

    def split(self, text: str) -> Batch:
        steps: dict[str, Callable[[str, int], None]] = {
            "MSH": self._message,
            "FHS": self._file_header,
            "BHS": self._batch_header,
            "BTS": self._batch_trailer,
            "FTS": self._file_trailer,
        }
        for number, line in enumerate(text.replace("\r\n", "\r").replace("\n", "\r").split("\r"), start=1):
            name = line[:3]
            step = steps.get(name) if len(line) == 3 or not line[3:4].isalnum() else None
            if step is not None:
                step(line, number)
            elif self.current is not None:
                self.current.append(line)
            elif line.strip():
                self.findings.append(Finding("error", "100", f"Line {number} belongs to no message.", f"line {number}"))
        self._close()
        return Batch(tuple(self.parts), self.file, tuple(self.headers) or (None,), self.enveloped, tuple(self.findings))

    def _close(self) -> None:
        if self.current is not None:
            self.parts.append(Part("\r".join([*self.current, ""]), self.begin, len(self.headers) - 1))
            self.in_batch += 1
            self.current = None

    def _message(self, line: str, number: int) -> None:
        self._close()
        if not self.headers:
            self.headers.append(None)
        self.current, self.begin = [line], number

    def _segment(self, line: str, number: int) -> Segment:
        findings: list[Finding] = []
        delimiters = delimiters_of(line, findings) if line[:3] in HEADERS else self._delimiters()
        self.enveloped = True
        return Segment(line[:3], line, 1, number, delimiters)

    def _delimiters(self) -> Delimiters:
        for header in (self.headers[-1] if self.headers else None, self.file):
            if header is not None:
                return header.delimiters
        return STANDARD

    def _file_header(self, line: str, number: int) -> None:
        self._close()
        self.file = self._segment(line, number)

    def _batch_header(self, line: str, number: int) -> None:
        self._close()
        self.headers.append(self._segment(line, number))
        self.in_batch = 0
        self.batches += 1

    def _batch_trailer(self, line: str, number: int) -> None:
        self._close()
        self._compare("BTS", self._segment(line, number), self.in_batch)
        self.in_batch = 0

    def _file_trailer(self, line: str, number: int) -> None:
        self._close()
        self._compare("FTS", self._segment(line, number), self.batches)

    def _compare(self, name: str, trailer: Segment, counted: int) -> None:
        told = trailer.value(1)
        if told and (not told.isdigit() or int(told) != counted):
            self.findings.append(
                Finding("error", "102", f"{name}-1 does not agree with what was counted, {counted}.", f"{name}-1")
            )
