"""An association as services see it: requests of the peer, and requests to it (PS3.7 7, 8)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from adapters.dicom.model import Sender, Way
from adapters.dicom.network import commands
from adapters.dicom.network.commands import Command, Field
from adapters.dicom.network.connection import AssociationLost, Connection, Times
from adapters.dicom.network.exchange import Exchange, Response
from adapters.dicom.network.inbox import Inbox
from adapters.dicom.network.messages import InvalidMessage
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
        self._inbox = Inbox(self, self.connection, self._settle)
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
        return self._inbox.cancelled(message_id)

    def answered(self, response: Response) -> None:
        """Take a response of the peer; raise InvalidMessage if nothing was asked."""
        exchange = self._exchanges.get(response.command.answers or 0)
        if exchange is None:
            raise InvalidMessage("a response to what was not asked")
        exchange.add(response)

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
            async with asyncio.timeout(times.artim or None):
                await self._over.wait()
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
        await self._inbox.ended()

    # --- the connection's calls ---

    @property
    def busy(self) -> bool:
        """A request is in work, or one of ours is not answered (which has a clock of its own)."""
        return self._inbox.working or bool(self._exchanges)

    @property
    def in_message(self) -> bool:
        """A message has begun and is not whole."""
        return not self._inbox.between

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
                self._inbox.offers = self._offered()
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
        self.contexts, self._inbox.offers = decision.contexts, decision.offers
        if decision.answer.user.window is not None:
            self._inbox.window = decision.answer.user.window[0]
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
            self._inbox.take(fragment)
        except InvalidMessage as error:
            self._break(str(error))
        except Exception:  # noqa: BLE001  # this association is given up, the others go on
            _log.exception("association with %s: what came could not be taken", self.address)
            self.abort("what came could not be taken")

    def _settle(self) -> None:
        """End what is to end once nothing is in work."""
        if self._inbox.working or self._over.is_set():
            return
        if self._release_asked:
            self.connection.engine.answer_release()
            self.connection.flush()
            self._end("the association was released")
        elif self._finishing and self._inbox.between:
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
        self._inbox.close()
        for exchange in self._exchanges.values():
            exchange.lost(why)
