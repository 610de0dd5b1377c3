"""What comes on an association: messages are put together, requests wait their turn and are served (PS3.7 6.3)."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from adapters.dicom.network import commands
from adapters.dicom.network.commands import Command, Field, Status
from adapters.dicom.network.connection import AssociationLost, Connection
from adapters.dicom.network.exchange import Response
from adapters.dicom.network.messages import Begun, InvalidMessage, Messages, Piece
from adapters.dicom.network.offers import Offer, Request, Sink
from adapters.dicom.network.pdu_stream import Fragment

if TYPE_CHECKING:
    from adapters.dicom.network.association import Association

#: the longest data set that is gathered in memory: identifiers, not images
_LONGEST_GATHERED: Final = 16 * 1024 * 1024
#: requests that wait, before no more is read
_MOST_WAITING: Final = 64

_log = logging.getLogger("adapters.dicom.network")


class _Arrival:
    """A message that is coming, or a request that waits."""

    __slots__ = ("draining", "gathered", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.gathered = bytearray()
        self.draining: asyncio.Task[None] | None = None

    def abandon(self) -> None:
        """Have its sink forget it, after what it is doing."""
        sink = self.request.sink
        if sink is None:
            return
        if self.draining is None or self.draining.done():
            sink.abandon()
        else:
            self.draining.add_done_callback(lambda _: sink.abandon())


class Inbox:
    """Takes what the peer sends. ``offers`` are the services by presentation context, ``window`` how many at a time.

    ``settled`` is called when nothing is in work any more.
    """

    def __init__(self, association: "Association", connection: Connection, settled: Callable[[], None]) -> None:
        self.offers: Mapping[int, Offer] = {}
        self.window = 1
        self._association = association
        self._connection = connection
        self._settled = settled
        self._messages = Messages()
        self._coming: _Arrival | None = None
        self._queue: deque[_Arrival] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = False
        self._cancelled: set[int] = set()

    @property
    def working(self) -> bool:
        """A request waits or is served."""
        return bool(self._tasks or self._queue)

    @property
    def between(self) -> bool:
        """No message has begun that is not whole."""
        return self._messages.between

    def cancelled(self, message_id: int) -> bool:
        """Tell whether an operation was cancelled."""
        return message_id in self._cancelled

    def take(self, fragment: Fragment) -> None:
        """Take a fragment; raise InvalidMessage."""
        for part in self._messages.take(fragment):
            if isinstance(part, Piece):
                self._gather(part.data)
            elif isinstance(part, Begun):
                self._begin(part.context_id, part.command)
            else:
                self._whole()

    def close(self) -> None:
        """Forget what is not whole, and the requests that wait; what is being served comes to its end."""
        waiting = [*self._queue, *([self._coming] if self._coming else [])]
        self._coming = None
        self._queue.clear()
        for arrival in waiting:
            arrival.abandon()

    async def ended(self) -> None:
        """Wait until nothing is served any more."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --- messages ---

    def _begin(self, context_id: int, command: Command) -> None:
        context = self._association.contexts.get(context_id)
        if context is None:
            raise InvalidMessage("a message in a presentation context that was not accepted")
        request = Request(
            context_id=context_id,
            abstract_syntax=context.abstract_syntax,
            transfer_syntax=context.transfer_syntax,
            command=command,
        )
        self._coming = _Arrival(request)
        if command.is_response or command.field == Field.C_CANCEL_RQ:
            return
        self._cancelled.discard(command.message_id or 0)  # of an earlier request with this number
        offer = self.offers.get(context_id)
        if command.has_data and context.scp and offer is not None and offer.sink is not None:
            request.sink = offer.sink(self._association, request)

    def _gather(self, data: memoryview) -> None:
        arrival = self._coming
        assert arrival is not None
        sink = arrival.request.sink
        if sink is None:
            arrival.gathered += data
            if len(arrival.gathered) > _LONGEST_GATHERED:
                raise InvalidMessage("a data set that is too long for its service")
            return
        sink.write(data)
        if sink.full and (arrival.draining is None or arrival.draining.done()):
            self._connection.hold()
            arrival.draining = asyncio.get_running_loop().create_task(self._drain(sink))

    async def _drain(self, sink: Sink) -> None:
        try:
            await sink.drain()
        except Exception:  # noqa: BLE001  # the service hears of it when the object is whole
            _log.exception("association with %s: what came could not be written", self._connection.address)
        finally:
            self._connection.go_on()

    def _whole(self) -> None:
        arrival = self._coming
        assert arrival is not None
        self._coming = None
        request, command = arrival.request, arrival.request.command
        if command.field == Field.C_CANCEL_RQ:
            if command.answers is not None and self.working:
                self._cancelled.add(command.answers)
            return
        if request.sink is None and command.has_data:
            request.dataset = bytes(arrival.gathered)
        if command.is_response:
            self._association.answered(Response(command, request.dataset, request.transfer_syntax))
            return
        self._queue.append(arrival)
        if len(self._queue) >= _MOST_WAITING and not self._held:
            self._held = True
            self._connection.hold()
        self._start()

    # --- requests ---

    def _start(self) -> None:
        if self._queue and len(self._tasks) < self.window:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._worked)

    async def _work(self) -> None:
        while self._queue:
            arrival = self._queue.popleft()
            if self._held and len(self._queue) < _MOST_WAITING // 2:
                self._held = False
                self._connection.go_on()
            try:
                if arrival.draining is not None:
                    await arrival.draining  # the last bytes may have come while earlier ones were written
                await self._serve(arrival.request)
            except AssociationLost:
                return
            except Exception:  # noqa: BLE001  # this association is given up, the others go on
                _log.exception("association with %s: a service failed", self._connection.address)
                self._association.abort("a service failed")
                return
            finally:
                self._cancelled.discard(arrival.request.command.message_id or 0)

    async def _serve(self, request: Request) -> None:
        offer = self.offers.get(request.context_id)
        if offer is None or not self._association.contexts[request.context_id].scp:
            refusal = commands.answer(request.command, Status.NOT_AUTHORIZED)
            await self._association.send(request.context_id, refusal)
        else:
            await offer.serve(self._association, request)

    def _worked(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._start()  # what came between the end of the task's work and now
        self._settled()
