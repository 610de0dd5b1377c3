"""The operator's desk on the journal: :class:`~fhir_server.core.desk.Desk`."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from adapters.hl7v2 import charset
from adapters.hl7v2.er7 import parse
from adapters.hl7v2.oracle import oracle_report
from adapters.ingest import words
from adapters.ingest.arrival import digest, fold
from adapters.ingest.describe import describe, read
from adapters.sources import SenderRefused, Source, Sources
from fhir_server.core.desk import NoSuchMessage, NotPossible, Reading, Replayed
from fhir_server.core.messages import (
    Channel,
    Exists,
    Message,
    MessageJournal,
    MessageQuery,
    Origin,
    Outcome,
    SourceTotals,
    Status,
)
from fhir_server.core.ports import Clock

_PAGE = 500
_LOOK_SECONDS = 0.1
#: what a human may close; a message that waits is the applier's
_OPEN = (Status.FAILED, Status.QUARANTINED, Status.REFUSED, Status.SET_ASIDE)
_ATTENTION = (Status.FAILED, Status.QUARANTINED, Status.REFUSED)
_TAKEN = (Status.RECEIVED, Status.APPLIED, Status.FAILED, Status.SET_ASIDE)
_OTHER_CONTENT = "205"


class JournalDesk:
    """Works on the journal alone: whoever holds the applier's lease applies what waits again."""

    def __init__(self, journal: MessageJournal, sources: Sources, clock: Clock) -> None:
        self._journal = journal
        self._sources = sources
        self._clock = clock

    async def find(self, query: MessageQuery) -> Sequence[Message]:
        """Return messages without their bytes."""
        return [message async for message in self._journal.find(query)]

    async def count(self, query: MessageQuery) -> int:
        """Return how many there are."""
        return await self._journal.count(query)

    async def attention(self, query: MessageQuery) -> Sequence[Message]:
        """Return what failed, what is no message, and what was refused and not given again."""
        found: list[Message] = []
        after = query.after
        while len(found) < query.limit:
            page = msgspec.structs.replace(query, statuses=_ATTENTION, after=after)
            rows = [message async for message in self._journal.find(page)]
            found += [message for message in rows if not await self._is_settled(message)]
            if len(rows) < query.limit:
                break
            after = rows[-1].sequence
        return found[: query.limit]

    async def get(self, id_: str) -> Message:
        """Return a message with its bytes; raise NoSuchMessage."""
        message = await self._journal.get(id_)
        if message is None:
            raise NoSuchMessage(id_)
        return message

    def read(self, message: Message) -> Reading:
        """Return a message (with its bytes) in readable form."""
        er7, decoded = read(message.raw, self._sources.named(message.source))
        return Reading(
            summary=words.summary(message),
            charset=decoded.charset,
            text=decoded.text,
            lines=words.lines(er7, message.findings),
            explained=words.explain(message.findings, er7.version),
        )

    async def replay(self, ids: Sequence[str], query: MessageQuery | None = None, *, wait: float = 0) -> Replayed:
        """Apply these messages again, or all that the query finds."""
        if query is not None:
            ids = [*ids, *await self._all(query)]
        known = await self._journal.get_all(ids, raw=False)
        for id_ in ids:
            if id_ not in known:
                raise NoSuchMessage(id_)
        reopened = await self._journal.reopen(ids) if ids else 0
        return Replayed(reopened=reopened, statuses=await self._settled(ids, wait))

    async def correct(self, id_: str, content: bytes | str) -> Message:
        """Put a corrected message in the place of another and return it."""
        original = await self.get(id_)
        raw = self._encoded(original, content) if isinstance(content, str) else content
        if raw == original.raw:
            raise NotPossible("the corrected message is the same as the original: to apply it again, replay it")
        corrected = self._message(original, raw)
        if original.corrected_by not in ("", corrected.id):
            raise NotPossible(f"message {id_} was corrected already, by {original.corrected_by}: correct that one")
        if original.status is Status.RECEIVED:
            raise NotPossible(f"message {id_} waits to be applied: correct it when that has failed")
        with contextlib.suppress(Exists):  # the same correction, sent twice
            await self._journal.add(corrected)
        await self._journal.amend(id_, corrected_by=corrected.id)
        return corrected

    async def set_aside(self, id_: str, note: str) -> Message:
        """Note that nothing is to be done."""
        message = await self.get(id_)
        if message.status not in _OPEN:
            raise NotPossible(f"message {id_} is {message.status.value}: only what needs attention can be set aside")
        now = self._clock.now_ms()
        await self._journal.finish((Outcome(id=id_, status=Status.SET_ASIDE, applied=now, note=note),))
        return await self.get(id_)

    async def totals(self, sources: Sequence[str] = ()) -> Sequence[SourceTotals]:
        """Return the totals of every source, or of these."""
        return await self._journal.totals(sources)

    async def report(self, id_: str) -> str:
        """Return a text about what is wrong with the form of the message."""
        message = await self.get(id_)
        reading = self.read(message)
        parts = [
            f"Message {message.id}, {message.type or 'of no known type'}, from {message.source or 'nobody known'}."
        ]
        parts.append(reading.summary)
        for found in reading.explained:
            place = f"{found.location} ({found.name})" if found.name else found.location
            parts.append(f"- {found.severity} {found.code}{f' at {place}' if place else ''}: {found.text}")
            if found.advice:
                parts.append(f"  {found.advice}")
        if message.unmapped:
            parts.append("Fields with a value that no FHIR element took:")
            parts.extend(
                f"- {place}{f' ({name})' if (name := words.name_of(place)) else ''}: {count} times"
                for place, count in message.unmapped
            )
        if reading.lines:
            opinion = await asyncio.to_thread(oracle_report, reading.text)
            parts.append(
                "hl7apy, a second parser, says:" if opinion else "hl7apy, a second parser, finds nothing wrong."
            )
            parts.extend(f"- {line}" for line in opinion)
        return "\n".join(parts) + "\n"

    # --- inside ---

    async def _is_settled(self, message: Message) -> bool:
        """Tell whether what was refused was taken later, by its sender's control id.

        Where the control id was another message's, nothing that comes under it is this one.
        """
        if message.status is not Status.REFUSED or not message.control_id:
            return False
        if any(finding.code == _OTHER_CONTENT for finding in message.findings):
            return False
        later = MessageQuery(
            statuses=_TAKEN,
            sources=(message.source,),
            control_id=message.control_id,
            after=message.sequence,
            limit=1,
        )
        return bool([other async for other in self._journal.find(later)])

    async def _all(self, query: MessageQuery) -> list[str]:
        """Return the ids of everything the query finds, however many."""
        found: list[str] = []
        limit, after = query.limit, query.after
        while len(found) < limit:
            page = msgspec.structs.replace(query, limit=min(_PAGE, limit - len(found)), after=after)
            messages = [message async for message in self._journal.find(page)]
            found.extend(message.id for message in messages)
            if len(messages) < page.limit:
                break
            after = messages[-1].sequence
        return found

    async def _settled(self, ids: Sequence[str], wait: float) -> Mapping[str, int]:
        """Return how many of the messages have which status, once none waits any more or the time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            statuses: Counter[str] = Counter()
            for start in range(0, len(ids), _PAGE):
                rows = await self._journal.get_all(ids[start : start + _PAGE], raw=False)
                statuses.update(message.status.value for message in rows.values())
            if not statuses[Status.RECEIVED] or loop.time() >= end:
                return dict(statuses)
            await asyncio.sleep(_LOOK_SECONDS)

    def _encoded(self, original: Message, text: str) -> bytes:
        """Return edited text as bytes in the character set of the original; an editor's line ends are segments'."""
        named = self.read(original).charset
        text = text.replace("\r\n", "\r").replace("\n", "\r")
        try:
            raw = charset.encode(text, named, substitute=False)
        except UnicodeEncodeError:
            raw = b""
        if charset.decode(raw, override=self._sources.named(original.source).charset or None).text != text:
            raise NotPossible(
                f"the text has characters that {named}, the message's character set, does not have: "
                "give the corrected message as bytes, with the character set it declares"
            )
        return raw

    def _message(self, original: Message, raw: bytes) -> Message:
        hash_ = digest(raw)
        id_ = fold("corrected", original.id, hash_)
        er7 = parse(charset.decode(raw).text)
        if er7.header is None:
            raise NotPossible("the corrected message does not begin with an MSH segment")
        source = self._source(original, er7.value("MSH-3") or "", er7.value("MSH-4") or "")
        er7, decoded = read(raw, source)
        now = self._clock.now_ms()
        about = describe(er7, source, original.received)
        return Message(
            id=id_,
            source=source.name,
            origin=Origin(channel=Channel.API, place=original.origin.place, certificate=original.origin.certificate),
            received=now,
            sequence=now * 1000 + int(id_, 16) % 1000,  # about the time in µs, as of those that arrive
            raw=raw,
            hash=hash_,
            type=about.type,
            control_id=about.control_id,
            charset=decoded.charset,
            lane=about.lane,
            event=about.event,
            corrects=original.id,
        )

    def _source(self, original: Message, application: str, facility: str) -> Source:
        """Return the original's source; of bytes that were no message, that of the sender now named."""
        if original.status is not Status.QUARANTINED:
            return self._sources.named(original.source)
        try:
            found = self._sources.match(application, facility, certificate=original.origin.certificate)
        except SenderRefused as refusal:
            raise NotPossible(str(refusal)) from None
        return found or self._sources.derive(application, facility)
