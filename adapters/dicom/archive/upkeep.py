"""What one process of a server does beside storing images, for ever and each at its own pace.

Rejection notes are carried out, studies follow their patients and orders, the metadata of large series are prepared.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable

from adapters.context import Context
from adapters.dicom.archive.archive import Archive
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.following import PatientFollower
from adapters.dicom.archive.following_orders import OrderFollower
from adapters.dicom.archive.metadata import Preparation, SeriesMetadata
from adapters.dicom.archive.reconcile import Reconciliation
from adapters.dicom.archive.rejection_notes import RejectionNotes
from adapters.dicom.archive.removal import Removal
from adapters.dicom.services import door
from fhir_server.core.change import StoreUnavailable

_log = logging.getLogger(__name__)


class Upkeep:
    """These jobs; ``pace`` stretches or shortens their pauses."""

    def __init__(self, context: Context, archive: Archive, *, pace: float = 1.0) -> None:
        derived = Derived(context, archive.read)
        self.notes = RejectionNotes(context, Removal(context, derived), archive.read)
        self.follower = PatientFollower(context, Reconciliation(context, derived, archive.options.patients))
        self.orders = OrderFollower(context, archive.ask)
        metadata = SeriesMetadata(context.tables, archive.path)
        self.preparation = Preparation(metadata, context.tables, context.clock, idle=lambda: not archive.waiting)
        self._pace = pace

    async def run(self) -> None:
        """Do them for ever."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._repeat("rejection notes", self.notes.apply, 2.0))
            jobs.create_task(self._repeat("reconciliation with patients", self.follower.follow, 5.0))
            jobs.create_task(self._repeat("studies of orders", self.orders.follow, 7.0))
            jobs.create_task(self._repeat("preparing metadata", self.preparation.prepare, 3.0))

    async def _repeat(self, name: str, step: Callable[[], Awaitable[int]], pause: float) -> None:
        while True:
            try:
                await step()
            except (StoreUnavailable, door.Unavailable):
                pass  # it is away: later
            except Exception as error:  # noqa: BLE001  # a job that must not end; the log says where
                where = traceback.extract_tb(error.__traceback__)[-1]
                _log.error("%s failed: %s in %s:%s", name, type(error).__name__, where.filename, where.lineno)
            await asyncio.sleep(pause * self._pace)
