"""C-GET: objects come back on the association on which they were asked for (PS3.4 C.4.3)."""

from collections.abc import Mapping
from typing import Final

from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Field, Status, answer
from adapters.dicom.network.offers import Offer, Request
from adapters.dicom.network.peers import Right
from adapters.dicom.services.identifiers import Model
from adapters.dicom.services.retrieve import Objects, begun

MODELS: Final[Mapping[str, Model]] = {
    "1.2.840.10008.5.1.4.1.2.1.3": Model.PATIENT_ROOT,
    "1.2.840.10008.5.1.4.1.2.2.3": Model.STUDY_ROOT,
    "1.2.840.10008.5.1.4.1.2.3.3": Model.PATIENT_STUDY_ONLY,
}


class GetService:
    """C-GET as SCP."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def offers(self) -> Mapping[str, Offer]:
        """Return what is offered, by SOP class."""
        return {sop_class: Offer(self.serve, right=Right.RETRIEVE) for sop_class in MODELS}

    async def serve(self, association: Association, request: Request) -> None:
        """Answer a C-GET-RQ."""
        command = request.command
        if command.field != Field.C_GET_RQ:
            await association.send(request.context_id, answer(command, Status.UNRECOGNIZED_OPERATION))
            return
        found = await begun(association, request, self._objects, MODELS[request.abstract_syntax])
        if found is None:
            return
        operations, wanted = found
        await operations.send(association, wanted, None)
        await operations.end()
