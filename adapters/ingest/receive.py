"""A frame becomes rows of the journal and an acknowledgement: durable before it is answered (HL7 v2.5 chapter 2.9)."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from adapters.context import Context
from adapters.hl7v2 import charset, sequence
from adapters.hl7v2.ack import acknowledge
from adapters.hl7v2.er7 import Er7, parse, split_batch
from adapters.hl7v2.port import Peer, PortOptions, Quarantine, Receive, Reply
from adapters.hl7v2.sequence import Step
from adapters.ingest import batches
from adapters.ingest.admission import Code, FormCheck, Verdict, error, is_acknowledgement, is_enhanced, wanted
from adapters.ingest.arrival import Arrivals, digest, fold, message_id, same_content
from adapters.ingest.describe import describe, message_type
from adapters.ingest.examine import Examined, examine
from adapters.ingest.patience import persist, settled, within_time
from adapters.sources import Source, Sources
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Channel, Exists, Finding, Message, Origin, Outcome, Status

#: tells the applier of a message that is in the journal; what it returns can be waited for (a future, or nothing)
Notify = Callable[[Message], Awaitable[Outcome] | None]

_log = logging.getLogger("adapters.ingest.receive")


class Answered(msgspec.Struct, frozen=True):
    """What one message is answered with; ``accepted`` tells success from failure."""

    answer: bytes | None
    accepted: bool
    later: tuple[Callable[[], Awaitable[bytes | None]], ...] = ()


class Receiver:
    """Takes frames of every port. ``sources`` may be replaced while running."""

    def __init__(self, context: Context, sources: Sources, checks: FormCheck, notify: Notify) -> None:
        self.sources = sources
        self._context = context
        self._journal = context.journal
        self._checks = checks
        self._notify = notify
        self._arrivals = Arrivals(context.clock)
        self._links: dict[str, asyncio.Lock] = {}

    def at(self, port: PortOptions) -> tuple[Receive, Quarantine]:
        """Return what a listener on this port needs."""
        return functools.partial(self.receive, port=port), functools.partial(self.quarantine, port=port)

    async def receive(self, raw: bytes, peer: Peer, port: PortOptions) -> Reply:
        """Take one frame: a message, a batch, or something else."""
        try:
            decoded = charset.decode(raw)
            parts = split_batch(decoded.text)
            if parts.enveloped:
                return await self._batch(batches.cut(raw, parts), peer, port)
            if len(parts.parts) > 1:
                return await self._several(raw, batches.cut(raw, parts), peer, port)
            done = await self._message(raw, peer, port, decoded)
        except StoreUnavailable:
            return Reply(self._unavailable(raw))
        return Reply(done.answer, later=done.later)

    async def quarantine(
        self, raw: bytes, peer: Peer, reason: str, port: PortOptions, *, answer: bool = False
    ) -> Reply:
        """Keep bytes that are no message (their beginning, if they are many); ``answer``: tell the sender (AR 207)."""
        finding = error("207", reason)
        reply: bytes | None = None
        if answer:
            er7 = parse(charset.decode(raw).text.partition("\r")[0])
            reply = self._acknowledge(er7 if er7.header else None, Code.REJECT, (finding,), None)
        with contextlib.suppress(StoreUnavailable):
            await self._keep_odd(raw, peer, port, Status.QUARANTINED, (finding,), reply)
        return Reply(reply, close=answer)

    # --- one message ---

    async def _message(
        self, raw: bytes, peer: Peer, port: PortOptions, decoded: charset.Decoded | None = None
    ) -> Answered:
        examined = examine(raw, decoded or charset.decode(raw), peer, port, self.sources, self._checks)
        er7 = examined.er7
        if er7 is None or er7.header is None:
            answer = self._acknowledge(None, Code.REJECT, examined.verdict.findings, None)
            await self._keep_odd(raw, peer, port, Status.QUARANTINED, examined.verdict.findings, answer)
            return Answered(answer, accepted=False)
        if is_acknowledgement(er7):
            _log.info("an acknowledgement arrived at port %s: it is not answered", port.name)
            await self._keep_odd(raw, peer, port, Status.SET_ASIDE, (), None, note="an acknowledgement, not answered")
            return Answered(None, accepted=True)
        if port.sequence and examined.verdict.code is not Code.REJECT:
            return await self._numbered(examined, er7, raw, peer, port)
        return await self._take(examined, er7, raw, peer, port)

    async def _take(
        self, examined: Examined, er7: Er7, raw: bytes, peer: Peer, port: PortOptions, expected: int | None = None
    ) -> Answered:
        code, findings = examined.verdict.code, examined.verdict.findings
        if code is not Code.ACCEPT:
            return await self._refuse(examined, er7, raw, peer, port, expected)
        sync = port.sync if examined.source.sync is None else examined.source.sync
        enhanced = is_enhanced(er7)
        answer = self._acknowledge(er7, _spoken(code, enhanced), findings, examined, expected)
        message = self._row(examined, er7, raw, peer, b"" if sync and not enhanced else answer)
        try:
            message, known = await self._add(message, examined.source, port)
        except _OtherContent:
            _log.warning("port %s: the source %s gave one control id to two messages", port.name, examined.source.name)
            finding = error("205", "Another message came with this control id.", "MSH-10")
            other = msgspec.structs.replace(examined, verdict=Verdict(Code.ERROR, (finding,)))
            return await self._refuse(other, er7, raw, peer, port, expected)
        if known and message.answer:
            accepted, answer = True, message.answer
            outcome = None
        else:
            outcome = settled(message) if known else None
            outcome = outcome or self._tell(message, port)
            accepted = True
            if sync and not enhanced:
                accepted, answer = await self._applied(outcome, message, examined, er7, port)
        if not enhanced:
            return Answered(answer, accepted)
        header = er7.header
        assert header is not None  # read before
        first = answer if wanted(header.raw(15), "CA") else None
        later = self._application_answer(outcome if sync else None, examined, er7, port)
        return Answered(first, accepted, () if header.raw(16).strip().upper() in ("", "NE") else (later,))

    async def _refuse(
        self, examined: Examined, er7: Er7, raw: bytes, peer: Peer, port: PortOptions, expected: int | None = None
    ) -> Answered:
        code, findings = examined.verdict.code, examined.verdict.findings
        enhanced = is_enhanced(er7)
        answer = self._acknowledge(er7, _spoken(code, enhanced), findings, examined, expected)
        row = msgspec.structs.replace(
            self._row(examined, er7, raw, peer, answer),
            id=fold("refused", peer.certificate, message_id(er7, examined.source, peer.address), digest(raw)),
            status=Status.REFUSED,
        )
        try:
            await persist(lambda: self._journal.add(row), port)
        except Exists:
            known = await persist(lambda: self._journal.get(row.id), port)
            if known is not None and known.answer and known.findings == findings and expected is None:
                answer = known.answer
        header = er7.header
        if enhanced and header is not None and not wanted(header.raw(15), _spoken(code, enhanced)):
            return Answered(None, accepted=False)
        return Answered(answer, accepted=False)

    async def _add(self, message: Message, source: Source, port: PortOptions) -> tuple[Message, bool]:
        """Journal it; return the row and whether it was there before. A row beyond the window is another message's."""
        while True:
            row = message
            try:
                await persist(lambda row=row: self._journal.add(row), port)  # type: ignore[misc]  # bound early
            except Exists:
                known = await persist(lambda row=row: self._journal.get(row.id), port)  # type: ignore[misc]  # bound early
                if known is None:
                    continue
                if known.received + source.duplicate_window < message.received:
                    message = msgspec.structs.replace(message, id=fold("again", message.id, str(known.received)))
                    continue
                if not same_content(known, message.raw):
                    raise _OtherContent from None
                return known, known.sequence != message.sequence  # this very row: only the answer to adding it was lost
            return message, False

    # --- the sequence number protocol ---

    async def _numbered(self, examined: Examined, er7: Er7, raw: bytes, peer: Peer, port: PortOptions) -> Answered:
        header = er7.header
        assert header is not None  # read before
        name = f"mllp:{port.name}:{examined.source.name}"
        async with self._links.setdefault(name, asyncio.Lock()):
            last = await persist(lambda: self._journal.number(name), port)
            step = sequence.decide(header.raw(13), last)
            match step.step:
                case Step.INVALID | Step.GAP:
                    expected = "any" if step.expected == sequence.ANY else str(step.expected)
                    finding = error("102", f"The sequence number is not the expected one ({expected}).", "MSH-13")
                    wrong = msgspec.structs.replace(examined, verdict=Verdict(Code.ERROR, (finding,)))
                    return await self._refuse(wrong, er7, raw, peer, port, step.expected)
                case Step.REPEAT:
                    known = await persist(
                        lambda: self._journal.get(message_id(er7, examined.source, peer.address)), port
                    )
                    if known is None or not same_content(known, raw):
                        finding = error("102", "This sequence number was another message's.", "MSH-13")
                        wrong = msgspec.structs.replace(examined, verdict=Verdict(Code.ERROR, (finding,)))
                        return await self._refuse(wrong, er7, raw, peer, port, step.expected)
                case Step.START | Step.RESYNCHRONISE if len(er7.segments) == 1:
                    if step.remember is not None:
                        await persist(lambda: self._journal.set_number(name, step.remember or 0), port)
                    return Answered(self._acknowledge(er7, Code.ACCEPT, (), examined, step.expected), accepted=True)
                case _:
                    pass
            done = await self._take(examined, er7, raw, peer, port, step.expected)
            if done.accepted and step.remember is not None:
                await persist(lambda: self._journal.set_number(name, step.remember or 0), port)
            return done

    # --- several messages in a frame ---

    async def _batch(self, cut: batches.Cut, peer: Peer, port: PortOptions) -> Reply:
        answers: list[Answered] = []
        for raw, offset in cut.messages:
            answers.append(await self._message(raw, _within(peer, offset), port))
        wrong = cut.findings
        text = cut.envelope
        reply = batches.answer(
            cut,
            [done.answer for done in answers if done.answer and (port.batch == "all" or not done.accepted)],
            lambda er7: self._acknowledge(er7, Code.ERROR, wrong, None),
            now=self._now(),
            control_id=self._control_id(),
        )
        status = Status.REFUSED if wrong else Status.APPLIED
        await self._keep_odd(text, peer, port, status, wrong, reply, type_="BHS")
        return Reply(reply, later=tuple(later for done in answers for later in done.later))

    async def _several(self, raw: bytes, cut: batches.Cut, peer: Peer, port: PortOptions) -> Reply:
        if not port.split or cut.findings:
            er7 = parse(charset.decode(cut.messages[0][0]).text)
            finding = error("100", "One frame holds more than one message.", "MSH[2]")
            examined = Examined(er7, self.sources.derive("", ""), "", Verdict(Code.REJECT, (finding,)))
            done = await self._refuse(examined, er7, raw, peer, port)
            return Reply(done.answer)
        answers = [await self._message(part, _within(peer, offset), port) for part, offset in cut.messages]
        given = [done.answer for done in answers if done.answer]
        return Reply(
            given[0] if given else None,
            more=tuple(given[1:]),
            later=tuple(later for done in answers for later in done.later),
        )

    def _tell(self, message: Message, port: PortOptions) -> Awaitable[Outcome] | None:
        """Tell the applier. The message is stored: whatever goes wrong there, it is applied sooner or later."""
        try:
            return self._notify(message)
        except Exception:  # noqa: BLE001 - another's fault does not cost this message its answer
            _log.exception("port %s: the applier could not be told of a message", port.name)
            return None

    # --- answers ---

    def _acknowledge(
        self,
        er7: Er7 | None,
        code: str,
        findings: tuple[Finding, ...],
        examined: Examined | None,
        expected: int | None = None,
    ) -> bytes:
        return acknowledge(
            er7,
            code,
            findings,
            control_id=self._control_id(),
            now=self._now(),
            expected=expected,
            charset=examined.charset or None if examined is not None else None,
        )

    async def _applied(
        self, outcome: Awaitable[Outcome] | None, message: Message, examined: Examined, er7: Er7, port: PortOptions
    ) -> tuple[bool, bytes]:
        """Wait until the message is applied; return whether it was, and the answer, which the journal then has too."""
        result = await within_time(outcome, port.sync_timeout)
        if result is None:
            finding = error("207", "The message is stored but not applied yet; send it again.")
            return False, self._acknowledge(er7, Code.ERROR, (finding,), examined)
        accepted, answer = self._told(result, examined, er7)
        await persist(lambda: self._journal.answered(message.id, answer), port)
        return accepted, answer

    def _told(self, result: Outcome, examined: Examined, er7: Er7) -> tuple[bool, bytes]:
        accepted = result.status is Status.APPLIED
        findings = (*examined.verdict.findings, *result.findings)
        return accepted, self._acknowledge(er7, Code.ACCEPT if accepted else Code.ERROR, findings, examined)

    def _application_answer(
        self, outcome: Awaitable[Outcome] | None, examined: Examined, er7: Er7, port: PortOptions
    ) -> Callable[[], Awaitable[bytes | None]]:
        """Return what makes the application acknowledgement of enhanced mode, MSH-16."""
        header = er7.header
        assert header is not None  # read before
        condition = header.raw(16)

        async def later() -> bytes | None:
            accepted, answer = True, b""
            if outcome is not None:
                result = await within_time(outcome, port.sync_timeout)
                if result is None:
                    return None  # not known yet, and nothing untrue is said
                accepted, answer = self._told(result, examined, er7)
            else:
                answer = self._acknowledge(er7, Code.ACCEPT, examined.verdict.findings, examined)
            return answer if wanted(condition, "AA" if accepted else "AE") else None

        return later

    def _unavailable(self, raw: bytes) -> bytes:
        er7 = parse(charset.decode(raw).text)
        finding = error("207", "The message could not be stored; send it again.")
        header = er7 if er7.header else None
        return self._acknowledge(header, _spoken(Code.ERROR, is_enhanced(er7)), (finding,), None)

    # --- rows ---

    def _row(self, examined: Examined, er7: Er7, raw: bytes, peer: Peer, answer: bytes) -> Message:
        received = self._context.clock.now_ms()
        said = describe(er7, examined.source, received)
        return Message(
            id=message_id(er7, examined.source, peer.address),
            source=examined.source.name,
            origin=_origin(peer),
            received=received,
            sequence=self._arrivals.next(),
            raw=raw,
            hash=digest(raw),
            type=said.type,
            control_id=said.control_id,
            charset=examined.charset,
            lane=said.lane,
            event=said.event,
            answer=answer,
            findings=examined.verdict.findings,
        )

    async def _keep_odd(
        self,
        raw: bytes,
        peer: Peer,
        port: PortOptions,
        status: Status,
        findings: tuple[Finding, ...],
        answer: bytes | None,
        *,
        note: str = "",
        type_: str = "",
    ) -> None:
        """Journal what is not to be applied; of what is no message only the beginning, if it is long."""
        if not raw:
            return
        kept = raw[: port.quarantine_limit] if status is Status.QUARANTINED else raw
        er7 = parse(charset.decode(kept).text) if status is Status.SET_ASIDE else None
        if len(kept) < len(raw):
            note = f"{len(raw)} bytes, of which the first {len(kept)} are kept"
        source = (
            self.sources.derive("", "")
            if er7 is None
            else self.sources.derive(er7.value("MSH-3") or "", er7.value("MSH-4") or "")
        )
        row = Message(
            id=fold(status.value, digest(raw), peer.address, str(peer.offset), self._context.ids.new_id()),
            source=source.name,
            origin=_origin(peer),
            received=self._context.clock.now_ms(),
            sequence=self._arrivals.next(),
            raw=kept,
            hash=digest(kept),
            status=status,
            type=type_ if er7 is None else message_type(er7),
            control_id="" if er7 is None else er7.control_id,
            answer=answer or b"",
            findings=findings,
            note=note,
        )
        with contextlib.suppress(Exists):
            await persist(lambda: self._journal.add(row), port)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._context.clock.now_ms() / 1000, UTC).astimezone(self._context.zone)

    def _control_id(self) -> str:
        return self._context.ids.new_id().replace("-", "")[-20:]


class _OtherContent(Exception):
    """The control id stands for another message already."""


def _spoken(code: str, enhanced: bool) -> str:
    return f"C{code[1]}" if enhanced else code


def _origin(peer: Peer) -> Origin:
    return Origin(Channel.MLLP, peer.address, peer.offset, peer.certificate)


def _within(peer: Peer, offset: int) -> Peer:
    return msgspec.structs.replace(peer, offset=peer.offset + offset)
