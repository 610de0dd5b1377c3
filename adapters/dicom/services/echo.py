"""Verification: C-ECHO (PS3.4 A, PS3.7 9.1.5)."""

from typing import Final

from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field, Status, answer
from adapters.dicom.network.offers import Offer, Request
from adapters.dicom.network.requestor import Proposed

VERIFICATION: Final = "1.2.840.10008.1.1"
PROPOSED: Final = Proposed(VERIFICATION, ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"))


async def serve(association: Association, request: Request) -> None:
    """Answer a C-ECHO-RQ."""
    known = request.command.field == Field.C_ECHO_RQ
    status = Status.SUCCESS if known else Status.UNRECOGNIZED_OPERATION
    await association.send(request.context_id, answer(request.command, status))


async def echo(association: Association) -> int:
    """Ask the peer for an echo and return the status."""
    response = await association.request(Command(field=Field.C_ECHO_RQ, sop_class=VERIFICATION))
    return response.status


OFFER: Final = Offer(serve, right=None)
