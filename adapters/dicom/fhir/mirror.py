"""What a wave needs of FHIR: the patient, the orders, the ImagingStudy as it is, and the entries of the transaction."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from adapters.context import Context
from adapters.dicom.fhir.about import UID_SYSTEM
from adapters.dicom.fhir.codes import text
from adapters.dicom.fhir.endpoint import endpoints
from adapters.dicom.fhir.orders import accessions, orders
from adapters.dicom.fhir.patient import PatientSystems, patient
from adapters.dicom.fhir.study import study_id
from adapters.dicom.fhir.texts import clean
from adapters.dicom.model import Sender, Series, Study
from adapters.dicom.services import door
from fhir_server.core.request import BASE_PATH

Tree = dict[str, Any]  # a FHIR resource

_SPACE: Final = uuid.UUID("0e0d7a52-58c8-5a53-93b5-0ec1f6a6f4d0")
_TITLES: Final = "urn:renkei:dicom:title"
_AUTHOR: Final = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}]
}
_LONGEST_CHAIN: Final = 16


class Current(msgspec.Struct, frozen=True):
    """An ImagingStudy as the server has it: its reference, its content (None: there is none) and version."""

    name: str
    tree: Tree | None = None
    version: str = ""


class Mirror:
    """Asks the door, and makes the entries that keep FHIR in step with the index."""

    def __init__(self, context: Context, systems: PatientSystems) -> None:
        self._context = context
        self._systems = systems
        self._public = context.base.removesuffix(BASE_PATH)
        self._has_endpoints = False

    @property
    def public(self) -> str:
        """The server's address, without a trailing slash."""
        return self._public

    async def patient(self, study: Study, sender: Sender | None) -> str:
        """Return the reference of the study's patient, who is made if there is none; empty without a Patient ID.

        Raise door.Refused where several have the Patient ID, and what the door raises.
        """
        if study.patient:
            return study.patient
        value = clean(text(study.attributes, "00100020"))
        if not value:
            return ""
        system = self._systems.system(study.attributes, sender)
        token = f"{door.escaped(system)}|{door.escaped(value)}"
        found = await door.search_any(self._context, "Patient", "identifier", [token])
        names = {await self._survivor(one) for one in found}
        if len(names) > 1:
            raise door.Refused(412, (f"{len(names)} Patients have this Patient ID: merge them",))
        if names:
            return names.pop()
        request = {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={quote(token, safe='')}"}
        made = patient(study.attributes, system, value)
        (answered,) = await door.transact(self._context, [{"resource": made, "request": request}], ())
        return str(answered["response"]["location"]).partition("/_history/")[0]

    async def orders(self, study: Study, series: Sequence[Series], subject: str) -> tuple[str, ...]:
        """Return the references of the orders that the study was made for."""
        numbers = accessions(study.attributes, [one.attributes for one in series])
        return await orders(self._context, study.uid, numbers, subject)

    async def current(self, study: Study) -> Current:
        """Return the ImagingStudy as it is: that of the index, or one that other protocols made for the study."""
        name = study.imaging_study or f"ImagingStudy/{study_id(study.uid)}"
        tree, version = await door.read(self._context, *name.split("/"))
        if tree is None and not study.imaging_study:
            token = f"{UID_SYSTEM}|urn:oid:{study.uid}"
            found = await door.search_any(self._context, "ImagingStudy", "identifier", [token])
            if found:
                tree = min(found, key=lambda one: str(one["id"]))
                name, version = f"ImagingStudy/{tree['id']}", str(tree["meta"]["versionId"])
        return Current(name, tree, version)

    def entries(self, current: Current, tree: Tree, senders: Sequence[Sender], received: int) -> list[Tree]:
        """Return the entries that write an ImagingStudy and say who sent what it says."""
        request = {"method": "PUT", "url": current.name}
        if current.version:
            request["ifMatch"] = f'W/"{current.version}"'
        found = [{"resource": tree, "request": request}]
        if senders:
            version = int(current.version or 0) + 1
            made = _provenance(f"{current.name}/_history/{version}", senders, received)
            found.append({"resource": made, "request": {"method": "PUT", "url": f"Provenance/{made['id']}"}})
        return found

    async def ensure_endpoints(self) -> None:
        """Write the server's Endpoints where they are missing or not what they are now."""
        if self._has_endpoints:
            return
        entries = []
        for wanted in endpoints(self._public):
            name = f"Endpoint/{wanted['id']}"
            tree, version = await door.read(self._context, "Endpoint", wanted["id"])
            if tree is None or any(tree.get(member) != value for member, value in wanted.items()):
                match = {"ifMatch": f'W/"{version}"'} if version else {}
                entries.append({"resource": wanted, "request": {"method": "PUT", "url": name, **match}})
        if entries:
            await door.transact(self._context, entries, ())
        self._has_endpoints = True

    async def _survivor(self, tree: Tree) -> str:
        """Return the patient who replaces this one, or this one."""
        name = f"Patient/{tree['id']}"
        for _ in range(_LONGEST_CHAIN):
            following = next(
                (
                    str(link["other"]["reference"])
                    for link in tree.get("link", ())
                    if link.get("type") == "replaced-by" and link.get("other", {}).get("reference")
                ),
                None,
            )
            found = (await door.read_all(self._context, [following])).get(following) if following else None
            if following is None or found is None:
                return name
            name, tree = following, found
        return name


def _provenance(target: str, senders: Sequence[Sender], received: int) -> Tree:
    agents = []
    for name in dict.fromkeys(clean(one.name) or one.way.value for one in senders):
        who = {"identifier": {"system": _TITLES, "value": name}, "display": name}
        agents.append({"type": _AUTHOR, "who": who})
    return {
        "resourceType": "Provenance",
        "id": str(uuid.uuid5(_SPACE, target)),
        "target": [{"reference": target}],
        "recorded": datetime.fromtimestamp(received / 1000, UTC).isoformat(timespec="milliseconds"),
        "agent": agents,
    }
