"""A message on its way from the journal into resources."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from adapters.hl7v2.charset import decode
from adapters.hl7v2.er7 import Er7, parse
from adapters.hl7v2.mapping.draft import Mapped, Mode
from adapters.sources import Source
from fhir_server.core.messages import Finding, Message, Outcome, Status

Done = Callable[[Outcome], None]

_MOST_FINDINGS = 1000


class Mapper(Protocol):
    """Says what a message means; pure."""

    def map(self, er7: Er7, source: Source, received: int) -> Mapped:
        """Return what the message says about resources."""
        ...


class SourceBook(Protocol):
    """Knows the sending systems."""

    def named(self, name: str) -> Source:
        """Return the source of that name; one that is not configured has the defaults."""
        ...


class Resolved(msgspec.Struct, kw_only=True):
    """What a message's drafts are about.

    ``names`` and ``modes`` one for each draft. ``later``: resources that messages of a later event wrote. ``prior``:
    what is written for the subject; ``superseded``: by a message of a later event. ``merges``: (merged, survivor).
    ``before``: what an earlier attempt wrote of which the journal was not told.
    ``claims``: the identifiers, with names, by which drafts found nothing. ``stays``: patients whose stays were read.
    """

    names: list[str]
    modes: list[Mode]
    later: frozenset[str] = frozenset()
    prior: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    superseded: bool = False
    merges: list[tuple[str, str]] = msgspec.field(default_factory=list)
    claims: list[tuple[tuple[str, str, str], str]] = msgspec.field(default_factory=list)
    stays: set[str] = msgspec.field(default_factory=set)


class Work:
    """A message in hand; each stage fills in more. ``problems`` is set once it is known that it fails.

    ``doubtful``: it may have been written without the journal knowing, as where the server died in between.
    """

    __slots__ = ("callbacks", "doubtful", "found", "mapped", "message", "problems", "resolved", "source")

    def __init__(self, message: Message, source: Source) -> None:
        self.message = message
        self.source = source
        self.doubtful = False
        self.callbacks: list[Done] = []
        self.mapped: Mapped | None = None
        self.resolved: Resolved | None = None
        self.found: Sequence[Finding] = ()
        self.problems: tuple[Finding, ...] = ()

    def outcome(self, status: Status, now: int, resources: Sequence[str] = ()) -> Outcome:
        """Return what applying the message came to."""
        form = (finding for finding in self.message.findings if finding.code.isdigit())
        mapped = self.mapped
        findings = tuple(dict.fromkeys((*self.problems, *form, *self.found, *(mapped.findings if mapped else ()))))
        if len(findings) > _MOST_FINDINGS:  # a row has a limited size
            more = f"{len(findings) - _MOST_FINDINGS} further findings are not listed"
            findings = (*findings[:_MOST_FINDINGS], Finding("information", "more", more))
        return Outcome(
            id=self.message.id,
            status=status,
            applied=now,
            findings=findings,
            resources=tuple(resources),
            unmapped=tuple(sorted(mapped.unmapped.items())) if mapped else (),
            subject=mapped.subject if mapped else "",
        )


def read_er7(message: Message, source: Source) -> tuple[Er7, tuple[Finding, ...]]:
    """Return the parsed message and what is wrong with its form."""
    decoded = decode(message.raw, override=source.charset or None)
    er7 = parse(decoded.text)
    return er7, (*decoded.findings, *er7.findings)
