"""Modality Performed Procedure Step (PS3.4 F): what a modality does, as a row, a Procedure and a registered study."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from adapters.context import Context
from adapters.dicom.fhir.about import UID_SYSTEM
from adapters.dicom.fhir.codes import text
from adapters.dicom.fhir.patient import PatientSystems, patient
from adapters.dicom.fhir.steps import (
    Resource,
    Step,
    accessions_of,
    cleaned,
    procedure,
    registered,
    studies_of,
)
from adapters.dicom.fhir.study import study_id
from adapters.dicom.model import Attributes
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field, Status, answer
from adapters.dicom.network.offers import Offer, Request
from adapters.dicom.network.peers import Right
from adapters.dicom.services import door
from adapters.dicom.services.identifiers import BadIdentifier, attributes_of, encoded
from adapters.dicom.services.rows import STEP
from adapters.dicom.services.worklist import scheduled_request
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import In, Row, RowQuery, RowWrite, Tables

SOP_CLASS: Final = "1.2.840.10008.3.1.2.3.3"
RETRIEVE: Final = "1.2.840.10008.3.1.2.3.4"
_STATUS: Final = "00400252"
_SCHEDULED: Final = "00400270"
_BEGUN, _ENDS = "IN PROGRESS", ("COMPLETED", "DISCONTINUED")
_NO_LONGER: Final = 0xA710  # Performed Procedure Step Object may no longer be updated (PS3.4 F.7.2.2.2)
_ATTEMPTS: Final = 5
#: what N-SET does not change (PS3.4 table F.7.2-1)
_FIXED: Final = frozenset(
    ("00080005", "00080060", "00100010", "00100020", "00100021", "00100030", "00100040", "00400241", "00400244",
     "00400245", "00400253", "00400270", "00081120", "00200010")
)  # fmt: skip
_log = logging.getLogger("adapters.dicom.services")
_decode = msgspec.msgpack.Decoder(Step).decode


async def performed(tables: Tables, study: str) -> list[Step]:
    """Return the performed procedure steps of a study, in the order of their UIDs."""
    rows = await tables.find(RowQuery(table=STEP, where=(In("study", (study,)),), limit=1000))
    return [_read(row) for row in rows]


class Refused(Exception):
    """The operation is refused."""

    def __init__(self, status: int, text: str, tag: int = 0, error_id: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.tag = tag
        self.error_id = error_id


class StepService:
    """N-CREATE, N-SET and N-GET as SCP."""

    def __init__(self, context: Context, systems: PatientSystems | None = None) -> None:
        self._context = context
        self._systems = systems or PatientSystems()
        self._tables = context.tables

    def offers(self) -> Mapping[str, Offer]:
        """Return what is offered, by SOP class."""
        return {sop_class: Offer(self.serve, right=Right.STEP) for sop_class in (SOP_CLASS, RETRIEVE)}

    async def serve(self, association: Association, request: Request) -> None:
        """Answer a request."""
        command, dataset = request.command, None
        try:
            match command.field:
                case Field.N_CREATE_RQ:
                    made = await self.create(command.instance, attributes_of(request, association))
                    last = answer(command, instance=made.uid)
                case Field.N_SET_RQ:
                    await self.change(command.instance, attributes_of(request, association))
                    last = answer(command)
                case Field.N_GET_RQ:
                    found = await self.get(command.instance, command.attributes)
                    dataset = encoded(found, request, association)
                    last = answer(command)
                case _:
                    last = answer(command, Status.UNRECOGNIZED_OPERATION)
        except BadIdentifier as bad:
            last = answer(command, Status.PROCESSING_FAILURE, comment=bad.text[:64])
        except Refused as refused:
            last = _refusal(command, refused)
        except door.Refused as error:
            _log.error("a performed procedure step of %s is refused: %s", association.calling, "; ".join(error.issues))
            last = answer(command, Status.PROCESSING_FAILURE, comment="The step cannot be kept as a Procedure.")
        except (door.Unavailable, StoreUnavailable) as error:
            _log.warning("a performed procedure step of %s was not kept: %s", association.calling, error)
            last = answer(command, Status.RESOURCE_LIMITATION, comment="The server cannot answer now.")
        await association.send(request.context_id, last, dataset)

    async def create(self, uid: str, attributes: Attributes) -> Step:
        """Keep a new step; raise Refused."""
        status = _needed(attributes, _STATUS)
        _needed(attributes, _SCHEDULED)
        if status != _BEGUN:
            raise Refused(Status.INVALID_ATTRIBUTE_VALUE, f"A step begins as {_BEGUN}.", int(_STATUS, 16))
        step = Step(
            uid=uid or f"2.25.{uuid.uuid4().int}", status=status, attributes=_kept(attributes),
            studies=studies_of(attributes), modified=self._context.clock.now_ms(), revision=1,
        )  # fmt: skip
        for _ in range(_ATTEMPTS):
            if await self._row(step.uid) is not None:
                raise Refused(Status.DUPLICATE_INSTANCE, "There is such a performed procedure step already.")
            try:
                return await self._write(step)
            except door.Conflict:
                continue
        raise door.Unavailable("others write the same again and again")

    async def change(self, uid: str, attributes: Attributes) -> Step:
        """Change a step that is in progress; raise Refused."""
        for _ in range(_ATTEMPTS):
            step = await self._existing(uid)
            if step.status in _ENDS:
                text_ = "Performed Procedure Step Object may no longer be updated"
                raise Refused(Status.PROCESSING_FAILURE, text_, error_id=_NO_LONGER)
            status = text(attributes, _STATUS) or step.status
            if status not in (_BEGUN, *_ENDS):
                raise Refused(Status.INVALID_ATTRIBUTE_VALUE, "There is no such status.", int(_STATUS, 16))
            changed = {tag: value for tag, value in _kept(attributes).items() if tag not in _FIXED}
            step = msgspec.structs.replace(
                step, status=status, attributes={**step.attributes, **changed},
                modified=self._context.clock.now_ms(), revision=step.revision + 1,
            )  # fmt: skip
            try:
                return await self._write(step)
            except door.Conflict:
                continue
        raise door.Unavailable("others write the same again and again")

    async def get(self, uid: str, wanted: Sequence[int] | None) -> Attributes:
        """Return the attributes asked for (tags), all for None; raise Refused."""
        attributes = (await self._existing(uid)).attributes
        if wanted is None:
            return attributes
        tags = [f"{tag:08X}" for tag in wanted]
        return {tag: attributes[tag] for tag in tags if tag in attributes}

    # --- inside ---

    async def _row(self, uid: str) -> Row | None:
        return (await self._tables.get(STEP, (uid,))).get(uid)

    async def _existing(self, uid: str) -> Step:
        row = await self._row(uid)
        if row is None:
            raise Refused(Status.NO_SUCH_INSTANCE, "There is no such performed procedure step.")
        return _read(row)

    async def _write(self, step: Step) -> Step:
        """Write row, Procedure and studies in one commit; raise door.Conflict."""
        found = await self._requests(step)
        step = msgspec.structs.replace(step, requests=tuple(f"ServiceRequest/{one['id']}" for one in found))
        zone = self._context.zone
        entries: list[Resource] = []
        subject = next((one["subject"] for one in found if "subject" in one), None)
        if subject is None:
            subject = await self._patient(step, entries)
        entries.append(_put(procedure(step, subject, zone)))
        for study in step.studies:
            name = f"ImagingStudy/{study_id(study)}"
            there = (await door.read_all(self._context, (name,))).get(name)
            if there is None:
                made = registered(step, study, subject, zone)
                entries.append(_put(made, ifNoneMatch="*"))
            elif there["status"] == "registered" and step.status == "DISCONTINUED":
                entries.append(_put({**there, "status": "cancelled"}, ifMatch=f'W/"{there["meta"]["versionId"]}"'))
        await door.transact(self._context, entries, (_write(step),))
        return step

    async def _requests(self, step: Step) -> list[Resource]:
        """Return the requests that a step was performed for: by worklist entry, study UID, accession number."""
        context = self._context
        references = [name for study in step.studies if (name := await scheduled_request(self._tables, study))]
        found = list((await door.read_all(context, references)).values())
        if not found:
            studies = [f"{UID_SYSTEM}|urn:oid:{door.escaped(study)}" for study in step.studies]
            found = await door.search_any(context, "ServiceRequest", "identifier", studies)
        if not found:
            numbers = [door.escaped(number) for number in accessions_of(step.attributes)]
            found = await door.search_any(context, "ServiceRequest", "identifier", numbers)
            found = await self._of_patient(found, text(step.attributes, "00100020"))
        return found

    async def _of_patient(self, requests: list[Resource], number: str) -> list[Resource]:
        """Return the requests whose patient is not known to have other numbers only."""
        subjects = [str(one.get("subject", {}).get("reference", "")) for one in requests]
        patients = await door.read_all(self._context, subjects)
        chosen = []
        for one, subject in zip(requests, subjects, strict=True):
            known = [identifier.get("value") for identifier in patients.get(subject, {}).get("identifier", ())]
            if not number or not known or number in known:
                chosen.append(one)
        return chosen

    async def _patient(self, step: Step, entries: list[Resource]) -> Resource:
        """Return a reference to the patient whom the step names; one who is not known is made."""
        number = text(step.attributes, "00100020")
        if not number:
            return {"type": "Patient", "display": "unknown"}
        system = self._systems.system(step.attributes, None)
        known = f"{door.escaped(system)}|{door.escaped(number)}"
        found = await door.search_any(self._context, "Patient", "identifier", [known])
        if len(found) == 1:
            return {"reference": f"Patient/{found[0]['id']}"}
        name = f"urn:uuid:{uuid.uuid4()}"
        request = {"method": "POST", "url": "Patient", "ifNoneExist": urlencode({"identifier": known})}
        entries.append({"fullUrl": name, "resource": patient(step.attributes, system, number), "request": request})
        return {"reference": name}


def _needed(attributes: Attributes, tag: str) -> str:
    element = attributes.get(tag)
    if element is None:
        raise Refused(Status.MISSING_ATTRIBUTE, f"({tag[:4]},{tag[4:]}) is missing.", int(tag, 16))
    if not element.get("Value"):
        raise Refused(Status.MISSING_ATTRIBUTE_VALUE, f"({tag[:4]},{tag[4:]}) has no value.", int(tag, 16))
    return text(attributes, tag) if element.get("vr") != "SQ" else ""


def _kept(attributes: Attributes) -> Attributes:
    return cleaned({tag: value for tag, value in attributes.items() if tag != "00080005"})


def _read(row: Row) -> Step:
    return msgspec.structs.replace(_decode(row.content), revision=row.revision)


def _write(step: Step) -> RowWrite:
    return RowWrite(
        table=STEP, id=step.uid, revision=step.revision, content=msgspec.msgpack.encode(step),
        fields={"request": step.requests, "study": step.studies},
    )  # fmt: skip


def _put(resource: Resource, **conditions: str) -> Resource:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url, **conditions}}


def _refusal(command: Command, refused: Refused) -> Command:
    return answer(
        command, refused.status, comment=refused.text[:64], error_id=refused.error_id,
        offending=(refused.tag,) if refused.tag else None,
    )  # fmt: skip
