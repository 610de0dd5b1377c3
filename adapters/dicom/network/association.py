"""An association as services see it: requests of the peer, and requests to it (PS3.7 7, 8)."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from adapters.dicom.model import Sender, Way
from adapters.dicom.network import commands
from adapters.dicom.network.commands import Command, Field, Status
from adapters.dicom.network.connection import AssociationLost, Connection, Times
from adapters.dicom.network.exchange import Exchange, Response
from adapters.dicom.network.messages import Begun, InvalidMessage, Messages, Piece
from adapters.dicom.network.negotiation import Agreement, PresentationContext, agreed
from adapters.dicom.network.offers import Offer, Offers, Request
from adapters.dicom.network.pdu import AssociateAccept, AssociateReject, AssociateRequest
from adapters.dicom.network.pdu_stream import Fragment
from adapters.dicom.network.peers import Peer
from adapters.dicom.network.sending import Sending
from adapters.dicom.network.upper_layer import (
    MAX_LENGTH,
    Aborted,
    Heard,
    ReleaseAsked,
    Released,
    UpperLayer,
    WrongState,
)

#: the longest data set that is gathered in memory: identifiers, not images
_LONGEST_GATHERED: Final = 64 * 1024 * 1024
#: requests that wait, before no more is read
_MOST_WAITING: Final = 64

_log = logging.getLogger("adapters.dicom.network")

#: answers an A-ASSOCIATE-RQ; sets who the peer is
Decide = Callable[["Association", AssociateRequest], Agreement | AssociateReject]


class AssociationRefused(Exception):
    """The peer does not want the association."""


class Association:
    """One association, of either role. ``decide``: this end accepts; without it this end requests."""

    def __init__(
        self,
        offers: Offers | None = None,
        decide: Decide | None = None,
        times: Times | None = None,
        max_length: int = MAX_LENGTH,
        closed: Callable[["Association"], None] | None = None,
    ) -> None:
        self.requestor = decide is None
        self.calling = ""
        self.called = ""
        self.peer: Peer | None = None  # the entry of the table of application entities
        self.contexts: Mapping[int, PresentationContext] = {}
        self.asked: AssociateRequest | None = None
        self.taken: AssociateAccept | None = None
        self.connection = Connection(
            UpperLayer(requestor=self.requestor, max_length=max_length), self, times or Times()
        )
        self._offers = offers
        self._decide = decide
        self._closed = closed
        self._by_context: Mapping[int, Offer] = {}
        self._messages = Messages()
        self._receiving: Request | None = None
        self._gathered = bytearray()
        self._queue: deque[Request] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._window = 1
        self._held = False
        self._draining: asyncio.Task[None] | None = None
        self._cancelled: set[int] = set()
        self._release_asked = False
        self._finishing = False
        self._sending = Sending(self.connection)
        self._exchanges: dict[int, Exchange] = {}
        self._last_id = 0
        self._established = asyncio.Event()
        self._refused: AssociateReject | None = None
        self._over = asyncio.Event()
        self._why = ""

    # --- for services ---

    @property
    def address(self) -> str:
        """The peer's ``host:port``."""
        return self.connection.address

    @property
    def certificate(self) -> str:
        """The SHA-256 of the peer's certificate, in hex."""
        return self.connection.certificate

    @property
    def sender(self) -> Sender:
        """Who sends the objects of this association."""
        return Sender(
            way=Way.DIMSE,
            name=self.calling,
            called=self.called,
            address=self.address,
            certificate=self.certificate,
        )

    @property
    def over(self) -> bool:
        """Nothing can be sent any more."""
        return self._over.is_set()

    def cancelled(self, message_id: int) -> bool:
        """Tell whether the peer has cancelled the operation (C-CANCEL-RQ)."""
        return message_id in self._cancelled

    async def send(
        self, context_id: int, command: Command, dataset: bytes | AsyncIterator[bytes] | None = None
    ) -> None:
        """Send a message; raise AssociationLost. A data set is encoded in the context's transfer syntax."""
        self._alive()
        await self._sending.send(context_id, command, dataset)

    async def answer_stored(self, request: Request) -> None:
        """Answer a C-STORE-RQ with success: one write."""
        command = request.command
        self._alive()
        message = commands.store_response(command.message_id or 0, command.sop_class, command.instance)
        await self._sending.send_alone(request.context_id, message)

    def context_for(self, sop_class: str, transfer_syntaxes: tuple[str, ...] = ()) -> PresentationContext | None:
        """Return a context in which we may ask the peer, with one of the transfer syntaxes, in their order."""
        found = [one for one in self.contexts.values() if one.abstract_syntax == sop_class and one.scu]
        if not transfer_syntaxes:
            return found[0] if found else None
        return next((one for syntax in transfer_syntaxes for one in found if one.transfer_syntax == syntax), None)

    async def request(
        self,
        command: Command,
        dataset: bytes | AsyncIterator[bytes] | None = None,
        context: PresentationContext | None = None,
    ) -> Response:
        """Send a request and return its only or last response; raise AssociationLost or TimeoutError."""
        last: Response | None = None
        async for response in self.responses(command, dataset, context):
            last = response
        assert last is not None  # responses end with one, or raise
        return last

    async def responses(
        self,
        command: Command,
        dataset: bytes | AsyncIterator[bytes] | None = None,
        context: PresentationContext | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request and yield its responses, the pending ones first; raise AssociationLost or TimeoutError.

        Whoever leaves before the last response cancels the operation.
        """
        chosen = context or self.context_for(command.sop_class)
        if chosen is None:
            raise AssociationLost("the peer did not accept a presentation context for this SOP class")
        self._last_id = self._last_id % 65535 + 1
        number = self._last_id
        exchange = self._exchanges[number] = Exchange(self.connection)
        ended = False
        try:
            await self.send(chosen.id, msgspec.structs.replace(command, message_id=number), dataset)
            while not ended:
                response = await exchange.next(self.connection.times.answer)
                ended = not response.command.pending
                yield response
        finally:
            if not ended and not self.over:
                cancel = Command(field=Field.C_CANCEL_RQ, answers=number)
                await self.send(chosen.id, cancel)
                await exchange.rest(self.connection.times.answer)
            exchange.end()
            del self._exchanges[number]

    async def established(self) -> None:
        """Wait until the peer accepts; raise AssociationRefused or AssociationLost."""
        await self._established.wait()
        if self._refused is not None:
            raise AssociationRefused(str(self._refused))
        if self._why:
            raise AssociationLost(self._why)

    async def release(self) -> None:
        """End the association in order; what is left of it is gone when this returns."""
        times = self.connection.times
        try:
            self.connection.engine.release()
        except WrongState:
            self.abort("given up")
        self.connection.flush()
        try:
            await asyncio.wait_for(self._over.wait(), times.artim or None)
        except TimeoutError:
            self.connection.close_now("the peer did not answer the release")

    def abort(self, why: str) -> None:
        """End the association at once."""
        self.connection.abort(why)
        self._end(why)

    def finish(self) -> None:
        """End it as soon as what was begun is answered."""
        self._finishing = True
        self._settle()

    async def ended(self) -> None:
        """Wait until it is over and its services have come to their end."""
        await self._over.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --- the connection's calls ---

    @property
    def busy(self) -> bool:
        """A request is in work, or one of ours is not answered (which has a clock of its own)."""
        return bool(self._tasks or self._exchanges)

    @property
    def in_message(self) -> bool:
        """A message has begun and is not whole."""
        return not self._messages.between

    def made(self) -> None:
        """Ask for the association, if this end is to."""
        if self.asked is not None and self.requestor:
            self.connection.engine.associate(self.asked)

    def heard(self, event: Heard) -> None:
        """Take what the engine heard."""
        match event:
            case Fragment():
                self._take(event)
            case AssociateRequest():
                self._answer(event)
            case AssociateAccept():
                assert self.asked is not None
                self.taken = event
                self._sending.limit(event.user.max_length)
                self.contexts = agreed(self.asked, event)
                self._by_context = self._offered()
                self._established.set()
            case AssociateReject():
                self._refused = event
                self._end(str(event))
            case ReleaseAsked():
                self._release_asked = True
                self._settle()
            case Released():
                self._end("the association was released")
            case Aborted():
                if event.text:
                    _log.info("association with %s: %s", self.address, event.text)
                self._end(event.text or "the peer aborted the association")

    def gone(self, why: str) -> None:
        """Take note that nothing more will come."""
        self._end(why)
        if self._closed is not None:
            self._closed(self)

    # --- messages that come ---

    def _answer(self, request: AssociateRequest) -> None:
        assert self._decide is not None
        self.asked, self.calling, self.called = request, request.calling, request.called
        decision = self._decide(self, request)
        if isinstance(decision, AssociateReject):
            _log.warning("association of %s from %s %s", request.calling, self.address, decision)
            self.connection.engine.reject(decision)
            return
        self.taken = decision.answer
        self._sending.limit(request.user.max_length)
        self.contexts, self._by_context = decision.contexts, decision.offers
        if decision.answer.user.window is not None:
            self._window = decision.answer.user.window[0]
        self.connection.engine.accept(decision.answer)
        self._established.set()

    def _offered(self) -> Mapping[int, Offer]:
        if self._offers is None:
            return {}
        found = ((one.id, self._offers.find(one.abstract_syntax)) for one in self.contexts.values() if one.scp)
        return {number: offer for number, offer in found if offer is not None}

    def _take(self, fragment: Fragment) -> None:
        if self._over.is_set():
            return
        try:
            for part in self._messages.take(fragment):
                if isinstance(part, Piece):
                    self._gather(part.data)
                elif isinstance(part, Begun):
                    self._begin(part.context_id, part.command)
                else:
                    self._whole()
        except InvalidMessage as error:
            self._break(str(error))

    def _begin(self, context_id: int, command: Command) -> None:
        context = self.contexts.get(context_id)
        if context is None:
            raise InvalidMessage("a message in a presentation context that was not accepted")
        request = Request(
            context_id=context_id,
            abstract_syntax=context.abstract_syntax,
            transfer_syntax=context.transfer_syntax,
            command=command,
        )
        self._receiving = request
        self._gathered = bytearray()
        if command.is_response or command.field == Field.C_CANCEL_RQ:
            return
        self._cancelled.discard(command.message_id or 0)  # of an earlier request with this number
        if not command.has_data:
            return
        offer = self._by_context.get(context_id)
        if offer is not None and offer.sink is not None and context.scp:
            request.sink = offer.sink(self, request)

    def _gather(self, data: memoryview) -> None:
        assert self._receiving is not None
        sink = self._receiving.sink
        if sink is not None:
            sink.write(data)
            if sink.full and self._draining is None:
                self.connection.hold()
                self._draining = asyncio.get_running_loop().create_task(self._drain(self._receiving))
            return
        self._gathered += data
        if len(self._gathered) > _LONGEST_GATHERED:
            raise InvalidMessage("a data set that is too long for its service")

    async def _drain(self, request: Request) -> None:
        assert request.sink is not None
        try:
            await request.sink.drain()
        except Exception:  # noqa: BLE001  # the service hears of it when the object is whole
            _log.exception("association with %s: what was received could not be written", self.address)
        finally:
            self._draining = None
            self.connection.go_on()

    def _whole(self) -> None:
        request = self._receiving
        assert request is not None
        self._receiving = None
        command = request.command
        if command.field == Field.C_CANCEL_RQ:
            if command.answers is not None and self.busy:
                self._cancelled.add(command.answers)
            return
        if request.sink is None and command.has_data:
            request.dataset = bytes(self._gathered)
        if command.is_response:
            exchange = self._exchanges.get(command.answers or 0)
            if exchange is None:
                raise InvalidMessage("a response to what was not asked")
            exchange.add(Response(command, request.dataset, request.transfer_syntax))
            return
        self._queue.append(request)
        if len(self._queue) >= _MOST_WAITING and not self._held:
            self._held = True
            self.connection.hold()
        self._start()

    def _start(self) -> None:
        if self._queue and len(self._tasks) < self._window:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._worked)

    async def _work(self) -> None:
        while self._queue and not self._over.is_set():
            request = self._queue.popleft()
            if self._held and len(self._queue) < _MOST_WAITING // 2:
                self._held = False
                self.connection.go_on()
            offer = self._by_context.get(request.context_id)
            try:
                if offer is None or not self.contexts[request.context_id].scp:
                    await self.send(request.context_id, commands.answer(request.command, Status.NOT_AUTHORIZED))
                else:
                    await offer.serve(self, request)
            except AssociationLost:
                return
            except Exception:  # noqa: BLE001  # this association is given up, the others go on
                _log.exception("association with %s: a service failed", self.address)
                self.abort("a service failed")
                return
            finally:
                self._cancelled.discard(request.command.message_id or 0)

    def _worked(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._start()  # what came between the end of the task's work and now
        self._settle()

    def _settle(self) -> None:
        """End what is to end once nothing is in work."""
        if self._tasks or self._queue or self._over.is_set():
            return
        if self._release_asked:
            self.connection.engine.answer_release()
            self.connection.flush()
            self._end("the association was released")
        elif self._finishing and self._messages.between:
            self.abort("this server is stopping")

    def _break(self, why: str) -> None:
        _log.info("association with %s: %s", self.address, why)
        self.connection.abort(why, 2, 6)
        self._end(why)

    def _alive(self) -> None:
        if self._over.is_set():
            raise AssociationLost(self._why)

    def _end(self, why: str) -> None:
        if self._over.is_set():
            return
        self._why = why
        self._over.set()
        self._established.set()
        if self._receiving is not None and self._receiving.sink is not None:
            abandon = self._receiving.sink.abandon
            if self._draining is None:
                abandon()
            else:
                self._draining.add_done_callback(lambda _: abandon())
        for request in self._queue:
            if request.sink is not None:
                request.sink.abandon()
        self._receiving = None
        self._queue.clear()
        for exchange in self._exchanges.values():
            exchange.lost(why)
