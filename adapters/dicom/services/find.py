"""C-FIND: queries of the archive (PS3.4 C.4.1) and of the worklist (PS3.4 K.4.1)."""

import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from adapters.dicom.archive.find import BadKey, ImageIndex
from adapters.dicom.model import Attributes
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field, Status, answer
from adapters.dicom.network.offers import Offer, Request
from adapters.dicom.network.peers import Right
from adapters.dicom.services import door, worklist
from adapters.dicom.services.identifiers import (
    BadIdentifier,
    Model,
    answer_of,
    attributes_of,
    encoded,
    identifier_of,
    query_of,
)
from adapters.dicom.services.matching import project
from fhir_server.core.change import StoreUnavailable

MODELS: Final[Mapping[str, Model]] = {
    "1.2.840.10008.5.1.4.1.2.1.1": Model.PATIENT_ROOT,
    "1.2.840.10008.5.1.4.1.2.2.1": Model.STUDY_ROOT,
    "1.2.840.10008.5.1.4.1.2.3.1": Model.PATIENT_STUDY_ONLY,
}
_UNABLE: Final = 0xC001
_log = logging.getLogger("adapters.dicom.services")

#: answers, and whether all keys were taken into account
_Answers = AsyncGenerator[tuple[Attributes, bool]]


class FindService:
    """C-FIND as SCP. More than ``most`` answers are refused rather than cut off in silence."""

    def __init__(self, index: ImageIndex, entries: worklist.Worklist, title: str, most: int = 10_000) -> None:
        self._index = index
        self._entries = entries
        self._title = title
        self._most = most

    def offers(self) -> Mapping[str, Offer]:
        """Return what is offered, by SOP class."""
        queries = {sop_class: Offer(self.serve, right=Right.QUERY) for sop_class in MODELS}
        return {**queries, worklist.SOP_CLASS: Offer(self.serve, right=Right.WORKLIST)}

    async def serve(self, association: Association, request: Request) -> None:
        """Answer a C-FIND-RQ."""
        command = request.command
        if command.field != Field.C_FIND_RQ:
            await association.send(request.context_id, answer(command, Status.UNRECOGNIZED_OPERATION))
            return
        try:
            last = await self._answer(association, request)
        except BadIdentifier as bad:
            last = bad.response(command)
        except BadKey as bad:
            tag = bad.tag.rpartition("/")[2]
            last = answer(command, Status.DATA_SET_DOES_NOT_MATCH, comment=_told(tag), offending=(int(tag, 16),))
        except (door.Unavailable, StoreUnavailable):
            _log.warning("a query of %s could not be answered: the server is not available", association.calling)
            last = answer(command, _UNABLE, comment="The server cannot answer now.")
        await association.send(request.context_id, last)

    async def _answer(self, association: Association, request: Request) -> Command:
        """Send the matches, and return the last response."""
        command = request.command
        wanted = attributes_of(request, association)
        on_list = request.abstract_syntax == worklist.SOP_CLASS
        answers = (
            self._worklist(wanted, association) if on_list else self._archive(wanted, MODELS[request.abstract_syntax])
        )
        left = self._most
        async with contextlib.aclosing(answers):
            async for made, complete in answers:
                if association.cancelled(command.message_id or 0):
                    return answer(command, Status.CANCEL)
                if not left:
                    text = f"There are more than {self._most} matches."
                    return answer(command, Status.OUT_OF_RESOURCES, comment=text)
                left -= 1
                status = Status.PENDING if complete else Status.PENDING_WARNING
                dataset = encoded(made, request, association)
                await association.send(request.context_id, answer(command, status, instance=""), dataset)
        return answer(command)

    async def _archive(self, wanted: Attributes, model: Model) -> _Answers:
        identifier = identifier_of(wanted, model)
        query = query_of(identifier, self._most + 1)
        complete = not self._index.unsupported(query)
        async for found in self._index.find(query):
            yield answer_of(found, identifier, self._title), complete

    async def _worklist(self, wanted: Attributes, association: Association) -> _Answers:
        async for entry in self._entries.find(wanted, association.calling):
            yield project(entry, wanted), True


def _told(tag: str) -> str:
    return f"The key ({tag[:4]},{tag[4:]}) has a value that its VR does not allow."
