"""A standard storage from what the server holds: what came as a message byte for byte, everything else composed.

A resource counts as a message's if a message wrote it. Of the kinds that stand for the whole of a patient (allergies,
diagnoses) a file is composed as soon as one resource is nobody's message's, with all of them, and takes the place of
the message's file as a newer one.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from adapters.context import Context
from adapters.hl7v2.charset import encode
from adapters.ingest.describe import read
from adapters.sources import Source
from adapters.ssmix2.filing import file_name
from adapters.ssmix2.names import NO_DAY, NO_DEPARTMENT, NO_ORDER, FileName, Flag, NotAName, format_name, parse_name
from adapters.ssmix2.storage import Item
from adapters.ssmix2.writing import orders, patients
from adapters.ssmix2.writing.parts import Setting, Tree, moment, produced
from fhir_server.core import json
from fhir_server.core.messages import MessageQuery, Status
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction

KINDS = ("ADT-00", "ADT-61", "PPR-01", "OMP-01", "OMP-02", "OML-11", "ADT-22", "ADT-52")
_PAGE = 500
_MOST_MESSAGES = 1_000_000
_OVER = ("entered-in-error", "cancelled")
#: types a patient's files are composed of, and what else is read with them
_TYPES = ("Coverage", "AllergyIntolerance", "Condition", "Encounter", "MedicationRequest", "DiagnosticReport")


class ExportFailed(Exception):
    """The server did not answer a search; the message says which."""


class Exported(msgspec.Struct):
    """What an export came to."""

    patients: int = 0
    others: int = 0  # patients without an id of this facility
    kept: int = 0  # files that came as messages
    composed: int = 0
    elsewhere: int = 0  # messages that no data type is made for
    kinds: Counter[str] = msgspec.field(default_factory=Counter)


class Exporter:
    """Reads one source's patients and their files."""

    def __init__(self, context: Context, source: Source) -> None:
        self._context = context
        self._source = source
        self.exported = Exported()

    async def patients(self, since: str = "") -> AsyncIterator[Tree]:
        """Yield every patient that has an id of the source, lowest id first; ``since``: changed since then."""
        query = (("_count", str(_PAGE)), *((("_lastUpdated", f"ge{since}"),) if since else ()))
        async for patient in self._search("Patient", query):
            if self.patient_id(patient):
                yield patient
            else:
                self.exported.others += 1

    def patient_id(self, patient: Tree) -> str:
        """Return the patient's id at the facility."""
        system = self._source.patient_identifier_system()
        found = (one.get("value", "") for one in patient.get("identifier", ()) if one.get("system") == system)
        return str(next(found, ""))

    async def items(self, patient: Tree) -> list[Item]:
        """Return all files of a patient; flags are for :func:`~adapters.ssmix2.storage.flagged` to set."""
        number = self.patient_id(patient)
        items, written, kinds = await self._kept(number)
        composed = [item for item in await self._composed(patient, number, written, kinds) if item is not None]
        self.exported.patients += 1
        self.exported.kept += len(items)
        self.exported.composed += len(composed)
        self.exported.kinds.update(item.name.data_type for item in (*items, *composed))
        return [*items, *composed]

    # --- what came as messages ---

    async def _kept(self, number: str) -> tuple[list[Item], set[str], set[str]]:
        """Return a patient's messages as files, the resources they wrote, and their data types."""
        query = MessageQuery(statuses=(Status.APPLIED,), limit=_MOST_MESSAGES, sources=(self._source.name,))
        if self._source.lanes == "patient":
            query = msgspec.structs.replace(query, lane=f"{self._source.name}/{number}")
        items: dict[FileName, Item] = {}
        written: set[str] = set()
        kinds: set[str] = set()
        async for message in self._context.journal.find(query, raw=True):
            er7, _ = read(message.raw, self._source)
            if (er7.value("PID-3.1") or "").lstrip("0") != number.lstrip("0"):
                continue
            written.update(message.resources)
            name = file_name(message, er7)
            if name is None:
                self.exported.elsewhere += 1
                continue
            kinds.add(name.data_type)
            valid = msgspec.structs.replace(name, flag=Flag.VALID)
            kept = items.get(valid)
            if kept is None or name.flag is Flag.DELETED:
                flag = Flag.DELETED if name.flag is Flag.DELETED else Flag.VALID
                items[valid] = Item(msgspec.structs.replace(name, flag=flag), message.raw)
        return list(items.values()), written, kinds

    # --- what did not ---

    async def _composed(self, patient: Tree, number: str, written: set[str], kinds: set[str]) -> list[Item | None]:
        setting = Setting(self._source.facility or "9999999999", number, self._source.timezone)
        found: dict[str, list[Tree]] = {name: [] for name in _TYPES}
        for name in _TYPES:
            query = (("patient", f"Patient/{patient['id']}"), ("_count", str(_PAGE)))
            found[name] = [one async for one in self._search(name, query)]
        own = {name: [one for one in trees if _name(one) not in written] for name, trees in found.items()}
        items: list[Item | None] = []
        if "ADT-00" not in kinds:
            at = produced((patient, *found["Coverage"]), setting.zone)
            text = patients.adt_00(patient, at, setting, [one for one in found["Coverage"] if _counts(one)])
            items.append(_item(number, NO_DAY, "ADT-00", NO_ORDER, at, text))
        for name, data_type, write in (
            ("AllergyIntolerance", "ADT-61", patients.adt_61), ("Condition", "PPR-01", patients.ppr_01)
        ):  # fmt: skip
            if own[name]:
                all_ = [one for one in found[name] if _counts(one)]
                at = produced(found[name], setting.zone)
                items.append(_item(number, NO_DAY, data_type, NO_ORDER, at, write(patient, at, setting, all_)))
        items += self._stays(patient, number, own["Encounter"], setting)
        items += await self._prescribed(patient, number, own["MedicationRequest"], setting)
        for report in own["DiagnosticReport"]:
            items.append(await self._report(patient, number, report, setting))
        return items

    @staticmethod
    def _stays(patient: Tree, number: str, encounters: Sequence[Tree], setting: Setting) -> list[Item | None]:
        items: list[Item | None] = []
        for stay in encounters:
            if stay.get("class", {}).get("code") not in ("IMP", "ACUTE", "NONAC") or not _counts(stay):
                continue
            at = produced((stay,), setting.zone)
            for data_type, end in (("ADT-22", "start"), ("ADT-52", "end")):
                day = moment(stay.get("period", {}).get(end), setting.zone, digits=8)
                if len(day) == 8 and stay.get("status") != "planned":
                    text = patients.admission(patient, at, setting, stay, over=end == "end")
                    items.append(_item(number, day, data_type, NO_ORDER, at, text))
        return items

    async def _prescribed(
        self, patient: Tree, number: str, requests: Sequence[Tree], setting: Setting
    ) -> list[Item | None]:
        grouped: dict[tuple[str, bool], list[Tree]] = {}
        for request in requests:
            if request.get("intent") == "order" and request.get("status") != "entered-in-error":
                grouped.setdefault((order_number(request), _is_injection(request)), []).append(request)
        items: list[Item | None] = []
        for (order, injection), members in grouped.items():
            members.sort(key=lambda one: (orders.group_of(one).rjust(4, "0"), str(one.get("id"))))
            at = produced(members, setting.zone)
            day = moment(members[0].get("authoredOn"), setting.zone, digits=8) or at[:8]
            if injection:
                references = {
                    str(reference)
                    for one in members
                    if (reference := one.get("medicationReference", {}).get("reference"))
                }
                medications = {one: tree for one in references if (tree := await self._read(one)) is not None}
                text = orders.omp_02(patient, at, setting, order, members, medications)
            else:
                text = orders.omp_01(patient, at, setting, order, members)
            items.append(_item(number, day, "OMP-02" if injection else "OMP-01", order, at, text))
        return items

    async def _report(self, patient: Tree, number: str, report: Tree, setting: Setting) -> Item | None:
        if not _counts(report) or not _is_laboratory(report):
            return None
        results = [one for reference in report.get("result", ()) if (one := await self._read(reference["reference"]))]
        specimens = [str(one.get("reference", "")) for one in report.get("specimen", ())]
        taken = await self._read(specimens[0]) if specimens else None
        at = produced((report, *results), setting.zone)
        order = order_number(report)
        day = moment(report.get("effectiveDateTime"), setting.zone, digits=8) or at[:8]
        text = orders.oml_11(patient, at, setting, order, report, results, taken)
        return _item(number, day, "OML-11", order, at, text)

    # --- the door ---

    async def _search(self, type_: str, query: tuple[tuple[str, str], ...]) -> AsyncIterator[Tree]:
        following: tuple[tuple[str, str], ...] | None = query
        while following is not None:
            request = FhirRequest(
                interaction=Interaction.SEARCH_TYPE, resource_type=type_, query=following, base=self._context.base
            )
            bundle = _decoded(await self._context.handle(request), f"the search for {type_}")
            for entry in bundle.get("entry", ()):
                if entry.get("search", {}).get("mode", "match") == "match":
                    yield entry["resource"]
            url = next((one["url"] for one in bundle.get("link", ()) if one["relation"] == "next"), None)
            following = _query_of(url) if url else None

    async def _read(self, reference: str) -> Tree | None:
        type_, _, id_ = reference.partition("/")
        if not id_ or "/" in id_:
            return None
        request = FhirRequest(interaction=Interaction.READ, resource_type=type_, id=id_, base=self._context.base)
        response = await self._context.handle(request)
        return _decoded(response, reference) if response.status == 200 else None


def order_number(resource: Tree) -> str:
    """Return the number of the order that a resource belongs to, as the storage writes it; else one of its id."""
    group = resource.get("groupIdentifier", {}).get("value")
    placed = [
        one.get("value", "")
        for one in resource.get("identifier", ())
        if any(coding.get("code") == "PLAC" for coding in one.get("type", {}).get("coding", ()))
    ]
    found = str(group or next(iter(placed), ""))
    if not found or len(found) > 15 or "_" in found:
        digits = "".join(char for char in str(resource.get("id", "")) if char.isalnum())
        found = digits[-15:].upper()
    return found.rjust(15, "0")


def _item(number: str, day: str, data_type: str, order: str, at: str, text: str) -> Item | None:
    patient = number if len(number) >= 7 or not number.isdigit() else number.rjust(10, "0")
    name = FileName(
        patient=patient, day=day, data_type=data_type, order=order, produced=at, department=NO_DEPARTMENT,
        flag=Flag.VALID,
    )  # fmt: skip
    try:
        return Item(parse_name(format_name(name)), encode(text, "ISO IR87"))
    except NotAName:
        return None


def _name(tree: Tree) -> str:
    return f"{tree['resourceType']}/{tree['id']}"


def _counts(tree: Tree) -> bool:
    verified = [one.get("code") for one in _codings(tree.get("verificationStatus"))]
    return tree.get("status") not in _OVER and "entered-in-error" not in verified


def _is_injection(request: Tree) -> bool:
    profiles = request.get("meta", {}).get("profile", ())
    return any(str(one).endswith("JP_MedicationRequest_Injection") for one in profiles) or any(
        "JHSI" in str(one.get("system")) for concept in request.get("category", ()) for one in _codings(concept)
    )


def _is_laboratory(report: Tree) -> bool:
    codes = {str(one.get("code")) for concept in report.get("category", ()) for one in _codings(concept)}
    return not codes or bool(codes & {"LAB", "laboratory", "LP29693-6", "11502-2"})


def _codings(concept: Tree | None) -> Sequence[Tree]:
    found: Sequence[Tree] = (concept or {}).get("coding", ())
    return found


def _decoded(response: FhirResponse, what: str) -> Mapping[str, Any]:
    if response.status != 200:
        raise ExportFailed(f"{what} was answered with {response.status}")
    tree: Mapping[str, Any] = json.decode(b"".join(response.body))
    return tree


def _query_of(url: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(urlsplit(url).query, keep_blank_values=True))
