"""What C-GET and C-MOVE have in common: which objects, their bytes, sub-operations and their counts (PS3.4 C.4.2)."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec
import pydicom

from adapters.dicom.archive.find import ImageIndex, ImageQuery
from adapters.dicom.dataset.coding import encode_dataset
from adapters.dicom.dataset.meta import split
from adapters.dicom.dataset.reader import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from adapters.dicom.model import Attributes, Instance, Level, Place, Study
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field, Status, answer
from adapters.dicom.network.connection import AssociationLost
from adapters.dicom.network.negotiation import PresentationContext
from adapters.dicom.network.offers import Request
from adapters.dicom.services.identifiers import BadIdentifier, Model, attributes_of, identifier_of, retrieval_of
from fhir_server.core.change import StoreUnavailable

#: what a receiver may take instead of the stored transfer syntax, the best first
UNCOMPRESSED: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
_NATIVE: Final = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED))
_WARNINGS: Final = (0xB000, 0xB006, 0xB007)
_UNCOUNTED: Final = 0xA701  # Unable to calculate number of matches
_UNABLE: Final = 0xA702  # Unable to perform sub-operations
_MOST: Final = 100_000  # matches of the identifier
_SOME_FAILED: Final = 0xB000
_LARGE: Final = 16 * 1024 * 1024
_CHUNK: Final = 4 * 1024 * 1024
_HEAD: Final = 64 * 1024
_BETWEEN_RESPONSES: Final = 0.1  # seconds

#: decodes the pixels of a DICOM file: Explicit VR Little Endian, whole
Transcode = Callable[[Instance], Awaitable[bytes]]
#: changes attributes of a DICOM file
Rewrite = Callable[[bytes, Attributes], bytes]
#: what reconciliation wants changed in the objects of a study; None: nothing
Overlay = Callable[[Study], Attributes | None]


class Reader(Protocol):
    """Reads kept files (``Archive``)."""

    async def read(self, place: Place, start: int = 0, length: int = -1) -> bytes:
        """Return bytes of a kept file; raise FileNotFoundError."""
        ...


class Wanted(msgspec.Struct, frozen=True):
    """An object to be sent, and what is to be changed in it."""

    instance: Instance
    overlay: Attributes | None = None


class Unsendable(Exception):
    """The receiver does not take the object as it is, and it cannot be had otherwise."""


class Objects:
    """Finds objects and gives their data sets."""

    def __init__(
        self,
        index: ImageIndex,
        reader: Reader,
        transcode: Transcode | None = None,
        overlay: Overlay | None = None,
        rewrite: Rewrite | None = None,
    ) -> None:
        self._index = index
        self._reader = reader
        self._transcode = transcode
        self._overlay = overlay
        self._rewrite = rewrite

    async def find(self, query: ImageQuery) -> list[Wanted]:
        """Return the objects that a retrieval is about, each once, in the order of their numbers."""
        found: dict[str, Wanted] = {}
        async for one in self._index.find(query):
            overlay = self._overlay(one.study) if self._overlay is not None else None
            match query.level:
                case Level.IMAGE:
                    instances = [one.instance] if one.instance is not None else []
                case Level.SERIES:
                    instances = await self._index.instances(one.study.uid, one.series.uid if one.series else None)
                case _:
                    instances = await self._index.instances(one.study.uid)
            for instance in instances:
                found[instance.uid] = Wanted(msgspec.structs.replace(instance, attributes={}), overlay)
        return list(found.values())

    async def dataset(self, wanted: Wanted, transfer_syntax: str) -> bytes | AsyncIterator[bytes]:
        """Return the data set in a transfer syntax, as stored if it is that; raise Unsendable or OSError."""
        instance = wanted.instance
        as_stored = instance.transfer_syntax == transfer_syntax
        if as_stored and wanted.overlay is None and instance.place.length > _LARGE:
            return self._stream(instance.place)
        if as_stored or instance.transfer_syntax in _NATIVE:
            file = await self._reader.read(instance.place)
        elif self._transcode is not None:
            file = await self._transcode(instance)
        else:
            raise Unsendable
        if wanted.overlay is not None and self._rewrite is not None:
            file = await asyncio.to_thread(self._rewrite, file, wanted.overlay)
        meta, start = split(file)
        if meta.transfer_syntax != transfer_syntax:
            return await asyncio.to_thread(_converted, file, transfer_syntax)
        return file[start:]

    async def _stream(self, place: Place) -> AsyncIterator[bytes]:
        _, at = split(await self._reader.read(place, 0, _HEAD))
        while at < place.length:
            chunk = await self._reader.read(place, at, _CHUNK)
            yield chunk
            at += len(chunk)


def _converted(file: bytes, transfer_syntax: str) -> bytes:
    """Return a native data set in another native transfer syntax."""
    try:
        dataset = pydicom.dcmread(io.BytesIO(file), force=True)
        out = io.BytesIO()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(transfer_syntax)
        implicit, little = transfer_syntax == IMPLICIT_LITTLE, transfer_syntax != EXPLICIT_BIG
        dataset.save_as(out, implicit_vr=implicit, little_endian=little, enforce_file_format=True, overwrite=True)
    except Exception as error:
        raise Unsendable from error
    written = out.getvalue()
    return written[split(written)[1] :]


async def begun(
    association: Association, request: Request, objects: Objects, model: Model
) -> tuple["SubOperations", list[Wanted]] | None:
    """Find what a request is about; if that cannot be, tell the requestor why and return None."""
    try:
        identifier = identifier_of(attributes_of(request, association), model)
        wanted = await objects.find(retrieval_of(identifier, _MOST))
    except BadIdentifier as bad:
        await association.send(request.context_id, bad.response(request.command))
        return None
    except StoreUnavailable:
        last = answer(request.command, _UNCOUNTED, comment="The server cannot answer now.")
        await association.send(request.context_id, last)
        return None
    return SubOperations(association, request, objects, wanted), wanted


class SubOperations:
    """Sends objects for one C-GET or C-MOVE, and tells the requestor how far it is."""

    def __init__(self, association: Association, request: Request, objects: Objects, wanted: Sequence[Wanted]) -> None:
        self._association = association
        self._request = request
        self._objects = objects
        self._told = -_BETWEEN_RESPONSES
        self._done: set[str] = set()
        self.remaining = len(wanted)
        self.completed = 0
        self.warning = 0
        self.failed: list[str] = []

    @property
    def cancelled(self) -> bool:
        """The requestor wants no more."""
        return self._association.cancelled(self._request.command.message_id or 0)

    async def send(self, receiver: Association, wanted: Iterable[Wanted], originator: tuple[str, int] | None) -> None:
        """Send objects on an association until it is lost or the operation is cancelled."""
        lost = False
        for one in wanted:
            if self.cancelled:
                return
            status: int = Status.PROCESSING_FAILURE
            if not lost:
                try:
                    status = await self._send(receiver, one, originator)
                except (AssociationLost, TimeoutError):
                    if receiver is self._association:
                        raise
                    lost = True
            await self.count(one, status)

    async def count(self, wanted: Wanted, status: int) -> None:
        """Count a sub-operation by the status of its C-STORE-RSP."""
        self.remaining -= 1
        self._done.add(wanted.instance.uid)
        if status == Status.SUCCESS:
            self.completed += 1
        elif status in _WARNINGS:
            self.warning += 1
        else:
            self.failed.append(wanted.instance.uid)
        now = asyncio.get_running_loop().time()
        if self.remaining and now - self._told >= _BETWEEN_RESPONSES:
            self._told = now
            await self._association.send(self._request.context_id, self._response(Status.PENDING))

    async def fail(self, wanted: Iterable[Wanted]) -> None:
        """Count those that could not be sent any more."""
        for one in wanted:
            if one.instance.uid not in self._done:
                await self.count(one, Status.PROCESSING_FAILURE)

    async def end(self) -> None:
        """Send the last response."""
        if self.cancelled and self.remaining:
            status: int = Status.CANCEL
        elif self.failed:
            status = _SOME_FAILED if self.completed or self.warning else _UNABLE
        else:
            status = _SOME_FAILED if self.warning else Status.SUCCESS
        dataset = None
        if self.failed:
            failed: Attributes = {"00080058": {"vr": "UI", "Value": list(self.failed)}}
            dataset = encode_dataset(failed, self._request.transfer_syntax)
        await self._association.send(self._request.context_id, self._response(status), dataset)

    async def _send(self, receiver: Association, wanted: Wanted, originator: tuple[str, int] | None) -> int:
        instance = wanted.instance
        for context in contexts_for(receiver, instance):
            try:
                dataset = await self._objects.dataset(wanted, context.transfer_syntax)
            except (Unsendable, OSError):
                continue
            command = Command(
                field=Field.C_STORE_RQ, sop_class=instance.sop_class, instance=instance.uid,
                priority=self._request.command.priority or 0,
                originator=originator[0] if originator else "", originator_id=originator[1] if originator else None,
            )  # fmt: skip
            return (await receiver.request(command, dataset, context)).status
        return Status.PROCESSING_FAILURE

    def _response(self, status: int) -> Command:
        last = status not in (Status.PENDING, Status.CANCEL)
        return answer(
            self._request.command, status, instance="", remaining=None if last else self.remaining,
            completed=self.completed, failed=len(self.failed), warning=self.warning,
        )  # fmt: skip


def contexts_for(receiver: Association, instance: Instance) -> list[PresentationContext]:
    """Return the contexts in which an object can be sent: as stored, else uncompressed."""
    syntaxes = dict.fromkeys((instance.transfer_syntax, *UNCOMPRESSED))
    found = (receiver.context_for(instance.sop_class, (syntax,)) for syntax in syntaxes)
    return [context for context in found if context is not None]
