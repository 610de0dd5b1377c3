"""The journal of messages in memory: the reference of :class:`~fhir_server.core.messages.MessageJournal`."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from fhir_server.core.messages import Exists, Finding, Message, MessageQuery, Outcome, SourceTotals, Status
from fhir_server.core.ports import Clock

#: what an operator may make wait again; a refused message was answered with an error and is the sender's to repeat
REOPENED = (Status.FAILED, Status.QUARANTINED, Status.SET_ASIDE, Status.APPLIED)

_ordinal = re.compile(r"\[\d+\]")


def locations(findings: Sequence[Finding], unmapped: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Return by what a message is found in ``MessageQuery.location``: its locations, also without ordinals.

    ``PID[1]-5[2].1`` is found by itself, by ``PID-5.1`` and by its field, ``PID-5``.
    """
    found: dict[str, None] = {}
    for place in (*(finding.location for finding in findings), *(place for place, _ in unmapped)):
        if place:
            plain = _ordinal.sub("", place)
            found.update(dict.fromkeys((place, plain, plain.partition(".")[0])))
    return tuple(found)


def finished(message: Message, outcome: Outcome) -> Message:
    """Return the message as it is after the outcome.

    Setting aside changes status and note alone: what was found and written stays known. A message that failed keeps
    the resources that an earlier attempt wrote.
    """
    note = message.note if outcome.note is None else outcome.note
    if outcome.status is Status.SET_ASIDE:
        return msgspec.structs.replace(message, status=Status.SET_ASIDE, note=note)
    kept = message.resources if outcome.status is not Status.APPLIED else ()
    return msgspec.structs.replace(
        message,
        status=outcome.status,
        applied=outcome.applied,
        findings=outcome.findings,
        resources=outcome.resources or kept,
        unmapped=outcome.unmapped,
        subject=outcome.subject or message.subject,
        attempts=message.attempts + 1,
        note=note,
    )


class MemoryJournal:
    """A :class:`~fhir_server.core.messages.MessageJournal` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._messages: dict[str, Message] = {}
        self._was_applied: set[str] = set()
        self._leases: dict[str, tuple[str, float]] = {}
        self._numbers: dict[str, int] = {}

    # --- writing ---

    async def add(self, message: Message) -> None:
        """Keep the message; raise Exists if its id is there already."""
        if message.id in self._messages:
            raise Exists(message.id)
        self._keep(message)

    async def add_all(self, messages: Sequence[Message]) -> frozenset[str]:
        """Add many at once; return the ids that were there already."""
        there: set[str] = set()
        for message in messages:
            if message.id in self._messages:
                there.add(message.id)
            else:
                self._keep(message)
        return frozenset(there)

    async def answered(self, id_: str, answer: bytes) -> None:
        """Note the acknowledgement that was sent."""
        if id_ in self._messages:
            self._keep(msgspec.structs.replace(self._messages[id_], answer=answer))

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of messages."""
        for outcome in outcomes:
            if outcome.id in self._messages:
                self._keep(finished(self._messages[outcome.id], outcome))

    async def reopen(self, ids: Sequence[str]) -> int:
        """Make failed, quarantined, set-aside or applied messages wait again; return how many did."""
        found = [id_ for id_ in dict.fromkeys(ids) if id_ in self._messages and self._messages[id_].status in REOPENED]
        for id_ in found:
            self._keep(msgspec.structs.replace(self._messages[id_], status=Status.RECEIVED))
        return len(found)

    async def amend(self, id_: str, *, corrected_by: str) -> None:
        """Note that another message corrects this one, and set it aside."""
        if id_ in self._messages:
            message = self._messages[id_]
            self._keep(msgspec.structs.replace(message, corrected_by=corrected_by, status=Status.SET_ASIDE))

    # --- reading ---

    async def get(self, id_: str) -> Message | None:
        """Return one message."""
        return self._messages.get(id_)

    async def get_all(self, ids: Sequence[str], *, raw: bool = True) -> Mapping[str, Message]:
        """Return those that exist; without ``raw`` their bytes are left out."""
        return {id_: _shown(self._messages[id_], raw=raw) for id_ in ids if id_ in self._messages}

    async def find(self, query: MessageQuery, *, raw: bool = False) -> AsyncIterator[Message]:
        """Yield messages by sequence; without ``raw`` their bytes are left out."""
        found = [message for message in self._messages.values() if _matches(message, query)]
        if query.after is not None:
            after = query.after
            found = [m for m in found if (m.sequence < after if query.newest_first else m.sequence > after)]
        found.sort(key=lambda message: (message.sequence, message.id), reverse=query.newest_first)
        for message in found[: query.limit]:
            yield _shown(message, raw=raw)

    async def count(self, query: MessageQuery) -> int:
        """Return the number of matches."""
        return sum(_matches(message, query) for message in self._messages.values())

    async def latest_events(self, lanes: Sequence[str]) -> Mapping[str, int]:
        """Return the greatest ``event`` of the applied messages of each lane that has any."""
        wanted = frozenset(lanes)
        found: dict[str, int] = {}
        for message in self._applied():
            if message.lane in wanted:
                found[message.lane] = max(message.event, found.get(message.lane, message.event))
        return found

    async def later(self, lane: str, event: int, sequence: int | None = None) -> frozenset[str]:
        """Return the resources that later applied messages of the lane wrote or confirmed."""
        return frozenset(
            resource
            for message in self._applied()
            if message.lane == lane and _is_later(message, event, sequence)
            for resource in message.resources
        )

    async def written_for(self, subjects: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return, for each subject that has an applied message, the resources that the latest one wrote."""
        wanted = frozenset(subjects)
        latest: dict[str, Message] = {}
        for message in self._applied():
            if message.subject in wanted and message.subject:
                known = latest.get(message.subject)
                if known is None or (message.event, message.sequence) > (known.event, known.sequence):
                    latest[message.subject] = message
        return {subject: message.resources for subject, message in latest.items()}

    async def totals(self, sources: Sequence[str] = ()) -> Sequence[SourceTotals]:
        """Return the totals of every source, or of these."""
        statuses: dict[str, Counter[str]] = {}
        unmapped: dict[str, Counter[str]] = {}
        for message in self._messages.values():
            if not sources or message.source in sources:
                statuses.setdefault(message.source, Counter())[message.status.value] += 1
                unmapped.setdefault(message.source, Counter()).update(dict(message.unmapped))
        return [
            SourceTotals(source=source, statuses=dict(statuses[source]), unmapped=dict(unmapped[source]))
            for source in sorted(statuses)
        ]

    # --- leases and numbers ---

    async def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Take or keep the lease ``name``; False while another owner has it."""
        now = self._clock.now_ms()
        holder, until = self._leases.get(name, (owner, 0.0))
        if holder != owner and until > now:
            return False
        self._leases[name] = owner, now + seconds * 1000
        return True

    async def release(self, name: str, owner: str) -> None:
        """Give the lease back."""
        if self._leases.get(name, ("", 0.0))[0] == owner:
            del self._leases[name]

    async def number(self, name: str) -> int | None:
        """Return a remembered number."""
        return self._numbers.get(name)

    async def set_number(self, name: str, value: int) -> None:
        """Remember a number."""
        self._numbers[name] = value

    # --- inside ---

    def _keep(self, message: Message) -> None:
        self._messages[message.id] = message
        if message.status is Status.APPLIED:
            self._was_applied.add(message.id)

    def _applied(self) -> list[Message]:
        """Return the messages that have been applied, also those that wait to be applied again."""
        return [self._messages[id_] for id_ in self._was_applied]


def _shown(message: Message, *, raw: bool) -> Message:
    return message if raw else msgspec.structs.replace(message, raw=b"")


def _is_later(message: Message, event: int, sequence: int | None) -> bool:
    if sequence is None:
        return message.event > event
    return (message.event, message.sequence) > (event, sequence)


def _matches(message: Message, query: MessageQuery) -> bool:
    return (
        (not query.statuses or message.status in query.statuses)
        and (not query.channels or message.origin.channel in query.channels)
        and (not query.sources or message.source in query.sources)
        and (not query.types or message.type in query.types)
        and query.lane in ("", message.lane)
        and query.subject in ("", message.subject)
        and (not query.resource or query.resource in message.resources)
        and query.control_id in ("", message.control_id)
        and (not query.location or query.location in locations(message.findings, message.unmapped))
        and (query.since is None or message.received >= query.since)
        and (query.until is None or message.received < query.until)
    )
