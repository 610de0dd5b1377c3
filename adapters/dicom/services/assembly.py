"""All services that need more than the archive's way in, put together for one server."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from adapters.context import Context
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.network.offers import Offer
from adapters.dicom.network.peers import Peers
from adapters.dicom.services.calling import Caller
from adapters.dicom.services.commitment import CommitmentService, Keeper, Patience
from adapters.dicom.services.find import FindService
from adapters.dicom.services.get import GetService
from adapters.dicom.services.move import MoveService
from adapters.dicom.services.retrieve import Objects, Overlay, Reader, Rewrite, Transcode
from adapters.dicom.services.steps import StepService
from adapters.dicom.services.worklist import Worklist


class Store(Keeper, Reader, Protocol):
    """What the services need of the archive."""


class ServiceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``answers`` of one query; ``moves`` at the same time; how patiently commitments are reported."""

    answers: int = 10_000
    moves: int = 8
    patience: Patience = Patience()


class Services:
    """Query, retrieval, storage commitment, worklist and performed procedure steps."""

    def __init__(
        self,
        context: Context,
        archive: Store,
        peers: Peers,
        caller: Caller,
        *,
        transcode: Transcode | None = None,
        overlay: Overlay | None = None,
        rewrite: Rewrite | None = None,
        systems: PatientSystems | None = None,
        limits: ServiceLimits | None = None,
    ) -> None:
        limits = limits or ServiceLimits()
        index = ImageIndex(context.tables)
        objects = Objects(index, archive, transcode, overlay, rewrite)
        self._find = FindService(index, Worklist(context), caller.title, limits.answers)
        self._get = GetService(objects)
        self._move = MoveService(objects, peers, caller, limits.moves)
        self._steps = StepService(context, systems)
        self.commitment = CommitmentService(context, archive, index, peers, caller, limits.patience)

    def offers(self) -> Mapping[str, Offer]:
        """Return what is offered, by SOP class."""
        return {
            **self._find.offers(),
            **self._get.offers(),
            **self._move.offers(),
            **self._steps.offers(),
            **self.commitment.offers(),
        }

    def start(self) -> None:
        """Go on with storage commitments that are open."""
        self.commitment.start()

    async def stop(self) -> None:
        """Stop what goes on by itself."""
        await self.commitment.stop()
