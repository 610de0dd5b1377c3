"""Storage Commitment Push Model (PS3.4 J.3): we promise to keep objects once their bytes were read back."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from adapters.context import Context
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.dataset.coding import encode_dataset
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.model import Attributes, Instance, State
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field, Status, answer
from adapters.dicom.network.offers import Offer, Request
from adapters.dicom.network.peers import Peers, Right
from adapters.dicom.network.requestor import Proposed
from adapters.dicom.services.calling import FAILURES, Caller
from adapters.dicom.services.identifiers import BadIdentifier, attributes_of
from adapters.dicom.services.rows import COMMITMENT
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import Between, In, Row, RowConflict, RowQuery, RowWrite

SOP_CLASS: Final = "1.2.840.10008.1.20.1"
INSTANCE: Final = "1.2.840.10008.1.20.1.1"
_REQUEST_ACTION: Final = 1
_ALL_KEPT, _SOME_FAILED = 1, 2  # event types (PS3.4 J.3.3)
_PROCESSING_FAILURE, _NO_SUCH_OBJECT, _OTHER_CLASS = 0x0110, 0x0112, 0x0119  # Failure Reason (PS3.3 C.14.1.1)
_DUPLICATE_TRANSACTION: Final = 0x0131
_CONTEXT: Final = Proposed(SOP_CLASS, (EXPLICIT_LITTLE, IMPLICIT_LITTLE), scu=False, scp=True)
_log = logging.getLogger("adapters.dicom.services")


class Reference(msgspec.Struct, frozen=True):
    """An object that is to be kept, and why it is not (0: it is, or it was not looked at)."""

    sop_class: str
    instance: str
    reason: int = 0


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One request for commitment. ``state``: open, checked (to be reported), reported, given up. Times: ms."""

    uid: str
    peer: str
    address: str
    references: tuple[Reference, ...]
    state: str = "open"
    attempts: int = 0
    due: int = 0
    begun: int = 0
    revision: int = 0

    @property
    def id(self) -> str:
        """The id of its row: other peers may have the same UIDs."""
        return f"{self.peer}/{self.uid}"


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How reports are tried again: pauses in ms, doubled up to ``longest``, for ``life`` since the request."""

    first: int = 5_000
    longest: int = 900_000
    life: int = 3 * 24 * 3_600_000
    lease: int = 120_000


class Keeper(Protocol):
    """What of the archive is needed."""

    async def settled(self) -> None:
        """Return once everything that was kept before is indexed."""
        ...

    async def verified(self, instance: Instance) -> bytes | None:
        """Return a kept file whose hash is what it was."""
        ...


class CommitmentService:
    """N-ACTION as SCP, and the reports that follow.

    A report goes to the peer's address on an association of its own; on the one on which it asked if there is no
    address, or its entry says so.
    """

    def __init__(
        self,
        context: Context,
        archive: Keeper,
        index: ImageIndex,
        peers: Peers,
        caller: Caller,
        patience: Patience | None = None,
    ) -> None:
        self._tables = context.tables
        self._clock = context.clock
        self._archive = archive
        self._index = index
        self._peers = peers
        self._caller = caller
        self._patience = patience or Patience()
        self._asked: dict[str, tuple[Association, int]] = {}  # by row id: associations that may still be open
        self._news = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def offers(self) -> Mapping[str, Offer]:
        """Return what is offered, by SOP class."""
        return {SOP_CLASS: Offer(self.serve, right=Right.COMMIT, sender_right=Right.COMMIT)}

    # --- requests ---

    async def serve(self, association: Association, request: Request) -> None:
        """Answer an N-ACTION-RQ once the transaction is written down; what follows is done later."""
        command = request.command
        if command.field != Field.N_ACTION_RQ:
            await association.send(request.context_id, answer(command, Status.UNRECOGNIZED_OPERATION))
            return
        try:
            last = await self._accept(association, request)
        except BadIdentifier as bad:
            last = answer(command, Status.PROCESSING_FAILURE, comment=bad.text[:64])
        except StoreUnavailable:
            last = answer(command, Status.RESOURCE_LIMITATION, comment="The server cannot answer now.")
        await association.send(request.context_id, last)
        self._news.set()

    async def _accept(self, association: Association, request: Request) -> Command:
        command = request.command
        if command.action_type != _REQUEST_ACTION:
            return answer(command, Status.NO_SUCH_ACTION_TYPE, action_type=command.action_type)
        attributes = attributes_of(request, association)
        uid, references = text(attributes, "00081195"), references_of(attributes)
        if not uid or not references:
            tag = 0x00081199 if uid else 0x00081195
            return answer(command, Status.INVALID_ARGUMENT_VALUE, comment="An argument is missing.", offending=(tag,))
        now = self._clock.now_ms()
        transaction = Transaction(
            uid=uid, peer=association.calling, address=association.address, references=references,
            due=now, begun=now, revision=1,
        )  # fmt: skip
        try:
            await self._tables.write((_write(transaction),))
        except RowConflict:
            return answer(command, _DUPLICATE_TRANSACTION, comment="The Transaction UID is in use.")
        entry = association.peer
        if (entry is not None and entry.reports == "same") or self._peers.destination(association.calling) is None:
            self._asked[transaction.id] = association, request.context_id
        return answer(command, action_type=_REQUEST_ACTION)

    # --- checks and reports ---

    def start(self) -> None:
        """Go on with what is open, now and as requests come."""
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop; what is open is gone on with at the next start."""
        if self._task is not None:
            self._stopping = True  # as a wait that has just ended swallows the cancellation (Python 3.11)
            self._news.set()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def work(self) -> int | None:
        """Do everything that is due; return in how many ms more will be, None if nothing is open."""
        now = self._clock.now_ms()
        while not self._stopping:
            due = (In("state", ("open", "checked")), Between("due", high=now))
            rows = await self._tables.find(RowQuery(table=COMMITMENT, where=due, limit=20, order=(("due", False),)))
            if not rows:
                break
            for row in rows:
                with contextlib.suppress(RowConflict):  # another process does it
                    await self._go_on(_read(row))
        waiting = RowQuery(
            table=COMMITMENT, where=(In("state", ("open", "checked")),), limit=1, order=(("due", False),)
        )
        rows = await self._tables.find(waiting)
        return max(_read(rows[0]).due - now, 1) if rows else None

    async def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            try:
                pause = await self.work()
            except StoreUnavailable:
                pause = self._patience.first
            except Exception:  # noqa: BLE001  # other transactions go on
                _log.exception("storage commitment failed")
                pause = self._patience.first
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if pause is None else pause / 1000):
                    await self._news.wait()

    async def _go_on(self, transaction: Transaction) -> None:
        """Take a transaction over, check its objects if that was not done, and report."""
        transaction = await self._changed(transaction, due=self._clock.now_ms() + self._patience.lease)
        if transaction.state == "open":
            await self._archive.settled()
            checked = tuple([await self._checked(one) for one in transaction.references])
            transaction = await self._changed(transaction, state="checked", references=checked)
        if await self._report(transaction):
            failed = tuple(one for one in transaction.references if one.reason)  # the index has the others
            await self._changed(transaction, state="reported", references=failed)
            return
        now, patience = self._clock.now_ms(), self._patience
        pause = min(patience.first << min(transaction.attempts, 30), patience.longest)
        given_up = now + pause > transaction.begun + patience.life
        if given_up:
            _log.error("storage commitment for %s: no report could be delivered; it is given up", transaction.peer)
        await self._changed(
            transaction, state="given up" if given_up else "checked", attempts=transaction.attempts + 1, due=now + pause
        )

    async def _changed(self, transaction: Transaction, **changes: object) -> Transaction:
        changed = msgspec.structs.replace(transaction, revision=transaction.revision + 1, **changes)
        await self._tables.write((_write(changed),))
        return changed

    async def _checked(self, reference: Reference) -> Reference:
        """Look for one object: it must be indexed, of that class, and its bytes what they were."""
        instance = await self._index.instance(reference.instance)
        if instance is None or instance.state is not State.KEPT:
            reason = _NO_SUCH_OBJECT
        elif instance.sop_class != reference.sop_class:
            reason = _OTHER_CLASS
        else:
            reason = 0 if await self._archive.verified(instance) is not None else _PROCESSING_FAILURE
        return msgspec.structs.replace(reference, reason=reason)

    async def _report(self, transaction: Transaction) -> bool:
        """Send the N-EVENT-REPORT-RQ; tell whether the peer took it."""
        asked = self._asked.pop(transaction.id, None)
        try:
            if asked is not None and not asked[0].over:
                return await self._send(asked[0], asked[1], transaction)
            peer = self._peers.destination(transaction.peer)
            if peer is None:
                _log.warning("storage commitment: there is no address of %s to report to", transaction.peer)
                return False
            async with self._caller.call(peer, (_CONTEXT,)) as association:
                for context in association.contexts.values():
                    return await self._send(association, context.id, transaction)
                _log.warning("storage commitment: %s does not take reports", transaction.peer)
                return False
        except FAILURES as error:
            _log.warning("storage commitment: a report to %s failed: %s", transaction.peer, error)
            return False

    async def _send(self, association: Association, context_id: int, transaction: Transaction) -> bool:
        context = association.contexts[context_id]
        failed = any(one.reason for one in transaction.references)
        command = Command(
            field=Field.N_EVENT_REPORT_RQ, sop_class=SOP_CLASS, instance=INSTANCE,
            event_type=_SOME_FAILED if failed else _ALL_KEPT,
        )  # fmt: skip
        dataset = encode_dataset(report(transaction, self._caller.title), context.transfer_syntax)
        response = await association.request(command, dataset, context)
        if response.status != Status.SUCCESS:
            _log.warning("storage commitment: %s answered the report with %04X", transaction.peer, response.status)
        return response.status == Status.SUCCESS


def references_of(attributes: Attributes) -> tuple[Reference, ...]:
    """Return the objects of a request, each once."""
    found = (Reference(text(item, "00081150"), text(item, "00081155")) for item in items(attributes, "00081199"))
    return tuple(dict.fromkeys(one for one in found if one.sop_class and one.instance))


def report(transaction: Transaction, title: str) -> Attributes:
    """Return what an N-EVENT-REPORT says (PS3.4 table J.3-2)."""
    kept = [one for one in transaction.references if not one.reason]
    failed = [one for one in transaction.references if one.reason]
    made: Attributes = {
        "00080054": {"vr": "AE", "Value": [title]},
        "00081195": {"vr": "UI", "Value": [transaction.uid]},
    }
    if failed:
        made["00081198"] = {"vr": "SQ", "Value": [_item(one) for one in failed]}
    if kept:
        made["00081199"] = {"vr": "SQ", "Value": [_item(one) for one in kept]}
    return made


def _item(reference: Reference) -> Attributes:
    made: Attributes = {
        "00081150": {"vr": "UI", "Value": [reference.sop_class]},
        "00081155": {"vr": "UI", "Value": [reference.instance]},
    }
    if reference.reason:
        made["00081197"] = {"vr": "US", "Value": [reference.reason]}
    return made


def _read(row: Row) -> Transaction:
    return msgspec.structs.replace(msgspec.msgpack.decode(row.content, type=Transaction), revision=row.revision)


def _write(transaction: Transaction) -> RowWrite:
    return RowWrite(
        table=COMMITMENT, id=transaction.id, revision=transaction.revision,
        content=msgspec.msgpack.encode(transaction), fields={"state": transaction.state, "due": transaction.due},
    )  # fmt: skip
