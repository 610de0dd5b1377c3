"""C-MOVE: objects are sent to a third application entity, which the table of peers has (PS3.4 C.4.2)."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Field, Status, answer
from adapters.dicom.network.offers import Offer, Request
from adapters.dicom.network.peers import Peer, Peers, Right
from adapters.dicom.network.requestor import Proposed
from adapters.dicom.services.calling import FAILURES, Caller
from adapters.dicom.services.identifiers import Model
from adapters.dicom.services.retrieve import UNCOMPRESSED, Objects, SubOperations, Wanted, begun

MODELS: Final[Mapping[str, Model]] = {
    "1.2.840.10008.5.1.4.1.2.1.2": Model.PATIENT_ROOT,
    "1.2.840.10008.5.1.4.1.2.2.2": Model.STUDY_ROOT,
    "1.2.840.10008.5.1.4.1.2.3.2": Model.PATIENT_STUDY_ONLY,
}
_MOST_CONTEXTS: Final = 128
_AT_ONCE: Final = 8
_log = logging.getLogger("adapters.dicom.services")


class MoveService:
    """C-MOVE as SCP. At most ``at_once`` are under way, so that many do not starve what comes in."""

    def __init__(self, objects: Objects, peers: Peers, caller: Caller, at_once: int = _AT_ONCE) -> None:
        self._objects = objects
        self._peers = peers
        self._caller = caller
        self._room = asyncio.Semaphore(at_once)

    def offers(self) -> Mapping[str, Offer]:
        """Return what is offered, by SOP class."""
        return {sop_class: Offer(self.serve, right=Right.RETRIEVE) for sop_class in MODELS}

    async def serve(self, association: Association, request: Request) -> None:
        """Answer a C-MOVE-RQ."""
        command = request.command
        if command.field != Field.C_MOVE_RQ:
            await association.send(request.context_id, answer(command, Status.UNRECOGNIZED_OPERATION))
            return
        peer = self._peers.destination(command.destination)
        here = command.destination.strip() == self._caller.title
        if peer is None and not here:
            text = "The move destination is not known here."
            await association.send(request.context_id, answer(command, Status.MOVE_DESTINATION_UNKNOWN, comment=text))
            return
        async with self._room:
            found = await begun(association, request, self._objects, MODELS[request.abstract_syntax])
            if found is None:
                return
            operations, wanted = found
            if peer is None or here:
                for one in wanted:  # they are here already
                    await operations.count(one, Status.SUCCESS)
            else:
                originator = (association.calling, command.message_id or 0)
                for contexts, batch in batches(wanted):
                    await self._send(operations, peer, contexts, batch, originator)
            await operations.end()

    async def _send(
        self,
        operations: SubOperations,
        peer: Peer,
        contexts: Sequence[Proposed],
        batch: Sequence[Wanted],
        originator: tuple[str, int],
    ) -> None:
        if operations.cancelled:
            return
        try:
            async with self._caller.call(peer, contexts) as receiver:
                await operations.send(receiver, batch, originator)
        except FAILURES as error:
            _log.warning("the move destination %s at %s: %s", peer.title, peer.address, error)
            await operations.fail(batch)


def batches(wanted: Sequence[Wanted]) -> Iterator[tuple[list[Proposed], list[Wanted]]]:
    """Yield the contexts of an association and what is sent on it: one for all, if 128 contexts suffice.

    Each SOP class is proposed with every transfer syntax it is stored in, alone, and uncompressed.
    """
    contexts: dict[tuple[str, tuple[str, ...]], None] = {}
    batch: list[Wanted] = []
    for one in sorted(wanted, key=lambda each: (each.instance.sop_class, each.instance.transfer_syntax)):
        instance = one.instance
        needed = ((instance.sop_class, (instance.transfer_syntax,)), (instance.sop_class, UNCOMPRESSED))
        if len({**contexts, **dict.fromkeys(needed)}) > _MOST_CONTEXTS:
            yield [Proposed(*context) for context in contexts], batch
            contexts, batch = {}, []
        contexts.update(dict.fromkeys(needed))
        batch.append(one)
    if batch:
        yield [Proposed(*context) for context in contexts], batch
