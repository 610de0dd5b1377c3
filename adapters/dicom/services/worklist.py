"""Modality Worklist (PS3.4 K): what is to be done, made from the requests (ServiceRequest) when it is asked for."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.fhir.worklist import DICOM_UID, Order, Tree, entry, is_imaging, study_uid
from adapters.dicom.model import Attributes
from adapters.dicom.services import door
from adapters.dicom.services.matching import matches
from adapters.dicom.services.rows import SCHEDULED, STEP
from fhir_server.core.tables import In, RowConflict, RowQuery, RowWrite, Tables

SOP_CLASS: Final = "1.2.840.10008.5.1.4.31"
_STEP, _MODALITY, _STATION, _DATE = "00400100", "00080060", "00400001", "00400002"
_PAGE: Final = ("_count", "100")
_ACTIVE: Final = ("status", "active")
_BOOKED: Final = ("status", "proposed,pending,booked,arrived,checked-in")
_DAY = re.compile(r"[0-9]{8}")


class ScheduledStudy(msgspec.Struct, frozen=True):
    """What was handed out to a modality under a Study Instance UID."""

    request: str  # ServiceRequest/…


async def scheduled_request(tables: Tables, study: str) -> str:
    """Return the reference of the request that a study was made for as the worklist had it; empty if none."""
    row = (await tables.get(SCHEDULED, (study,))).get(study)
    return msgspec.msgpack.decode(row.content, type=ScheduledStudy).request if row is not None else ""


class Worklist:
    """Finds the entries for one server."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def find(self, wanted: Attributes, caller: str = "") -> AsyncIterator[Attributes]:
        """Yield the entries that match an identifier, with everything known; raise door.Unavailable.

        What a request does not say, modality and station, is as the caller wishes: then it decides there.
        """
        seen: set[str] = set()
        told: set[str] = set()
        for query in await self._queries(wanted):
            async for page in door.search(self._context, "ServiceRequest", *query, _ACTIVE, _PAGE):
                fresh = [one for one in page if is_imaging(one) and one["id"] not in seen]
                seen.update(one["id"] for one in fresh)
                orders = [one for one in await self._orders(fresh) if one.request["id"] not in told]
                told.update(one.request["id"] for one in orders)
                found = [_completed(entry(order, self._context.zone), wanted, caller) for order in orders]
                chosen = [(order, made) for order, made in zip(orders, found, strict=True) if matches(made, wanted)]
                await self._note(order.request for order, _ in chosen)
                for _, made in chosen:
                    yield made

    # --- which requests may match ---

    async def _queries(self, wanted: Attributes) -> Sequence[tuple[tuple[str, str], ...]]:
        """Return searches that together find every request that may match."""
        narrow: list[tuple[str, str]] = []
        if number := _exact(wanted, "00100020"):
            narrow.append(("patient.identifier", door.escaped(number)))
        if number := _exact(wanted, "00080050"):
            narrow.append(("identifier", door.escaped(number)))
        if uid := _exact(wanted, "0020000D"):
            request = await scheduled_request(self._context.tables, uid)
            own = ("identifier", f"{DICOM_UID}|urn:oid:{door.escaped(uid)}")
            narrow.append(("_id", request.partition("/")[2]) if request else own)
        days = _days(next(iter(items(wanted, _STEP)), {}))
        if not days:
            return (tuple(narrow),)
        return (
            (*narrow, *(("occurrence", day) for day in days)),
            (*narrow, *(("authored", day) for day in days), ("occurrence:missing", "true")),
            *[(*narrow, query) for query in await self._booked(days)],
        )

    async def _booked(self, days: Sequence[str]) -> list[tuple[str, str]]:
        """Return searches for the requests that have an appointment on those days."""
        found: dict[tuple[str, str], None] = {}
        query = [("date", day) for day in days]
        async for page in door.search(self._context, "Appointment", *query, _BOOKED, _PAGE):
            for appointment in page:
                for based_on in appointment.get("basedOn", ()):
                    if search := _named(based_on):
                        found[search] = None
        together: dict[str, list[str]] = {}
        for parameter, value in found:
            together.setdefault(parameter, []).append(value)
        return [
            (parameter, ",".join(values[start : start + 50]))
            for parameter, values in together.items()
            for start in range(0, len(values), 50)
        ]

    # --- what belongs to them ---

    async def _orders(self, requests: Sequence[Tree]) -> list[Order]:
        """Return what is to be done as whole orders: parts (JAHIS: ORC-1 CH) are told by what they are based on."""
        chosen = await self._wholes(requests)
        names = list(chosen)
        if not names:
            return []
        parts: dict[str, list[Tree]] = {}
        for part in await door.search_any(self._context, "ServiceRequest", "based-on", names, _ACTIVE):
            for parent in _parents(part):
                parts.setdefault(parent, []).append(part)
        others = await door.read_all(self._context, (
            reference for one in chosen.values() for name in ("subject", "requester")
            if (reference := str(one.get(name, {}).get("reference", "")))
        ))  # fmt: skip
        appointments = await self._appointments(chosen)
        steps = await self._steps(names)
        return [
            Order(
                request=one, patient=others.get(_reference(one, "subject"), {}),
                requester=others.get(_reference(one, "requester")) or _shown(one.get("requester", {})),
                appointment=appointments.get(name, {}), parts=sorted(parts.get(name, ()), key=_number),
                status=steps.get(name, "SCHEDULED"),
            )
            for name, one in chosen.items()
            if steps.get(name) != "COMPLETED"
        ]  # fmt: skip

    async def _wholes(self, requests: Sequence[Tree]) -> dict[str, Tree]:
        parents = {parent for one in requests for parent in _parents(one)}
        there = {f"ServiceRequest/{one['id']}": one for one in requests}
        known = {**there, **await door.read_all(self._context, parents - there.keys())}
        chosen: dict[str, Tree] = {}
        for name, one in there.items():
            above = [parent for parent in _parents(one) if parent in known]
            if not above:
                chosen[name] = one
            chosen.update((parent, known[parent]) for parent in above if known[parent].get("status") == "active")
        return chosen

    async def _appointments(self, requests: Mapping[str, Tree]) -> dict[str, Tree]:
        """Return the next appointment of each request."""
        by_number = {
            (str(identifier.get("system", "")), str(identifier.get("value", ""))): name
            for name, one in requests.items()
            for identifier in one.get("identifier", ())
        }
        found = await door.search_any(self._context, "Appointment", "based-on", requests, _BOOKED)
        numbers = [f"{door.escaped(system)}|{door.escaped(value)}" for system, value in by_number if system and value]
        found += await door.search_any(self._context, "Appointment", "based-on:identifier", numbers, _BOOKED)
        chosen: dict[str, Tree] = {}
        for appointment in sorted(found, key=lambda one: str(one.get("start", "9"))):
            for based_on in appointment.get("basedOn", ()):
                identifier = based_on.get("identifier", {})
                number = (str(identifier.get("system", "")), str(identifier.get("value", "")))
                name = str(based_on.get("reference", "")) or by_number.get(number, "")
                if name in requests:
                    chosen.setdefault(name, appointment)
        return chosen

    async def _steps(self, requests: Sequence[str]) -> dict[str, str]:
        """Return the state of what modalities have begun for those requests: STARTED or COMPLETED (table C.4-10)."""
        found: dict[str, str] = {}
        for start in range(0, len(requests), 50):
            query = RowQuery(table=STEP, where=(In("request", tuple(requests[start : start + 50])),), limit=1000)
            for row in await self._context.tables.find(query):
                step = msgspec.msgpack.decode(row.content)
                state = {"IN PROGRESS": "STARTED", "COMPLETED": "COMPLETED"}.get(step["status"])
                for request in step["requests"] if state else ():
                    found[request] = "STARTED" if found.get(request) == "STARTED" else str(state)
        return found

    async def _note(self, requests: Iterable[Tree]) -> None:
        """Remember under which study UIDs requests were handed out."""
        rows = {study_uid(one): f"ServiceRequest/{one['id']}" for one in requests}
        known = await self._context.tables.get(SCHEDULED, tuple(rows))
        for uid, request in rows.items():
            if uid not in known:
                content = msgspec.msgpack.encode(ScheduledStudy(request))
                row = RowWrite(table=SCHEDULED, id=uid, revision=1, content=content)
                try:
                    await self._context.tables.write((row,))
                except RowConflict:
                    continue  # another query noted it meanwhile


def _completed(made: Attributes, wanted: Attributes, caller: str) -> Attributes:
    """Fill in the modality and the station that were asked for, where the request says none."""
    asked = next(iter(items(wanted, _STEP)), {})
    for step in items(made, _STEP):
        for tag, otherwise in ((_MODALITY, ""), (_STATION, caller)):
            wish = text(asked, tag)
            value = otherwise if not wish or "*" in wish or "?" in wish else wish
            if not text(step, tag) and value:
                step[tag] = {**step[tag], "Value": [value]}
    return made


def _exact(wanted: Attributes, tag: str) -> str:
    """Return the only value of a key without wildcards; empty if there is none such."""
    values = wanted.get(tag, {}).get("Value") or []
    found = str(values[0]).strip() if len(values) == 1 and values[0] else ""
    return "" if "*" in found or "?" in found else found


def _days(step: Attributes) -> list[str]:
    """Return the range of days as FHIR has it (``ge2026-04-01``); empty if any day will do."""
    parts = text(step, _DATE).split("-", 1)
    bounds = (("ge", parts[0]), ("le", parts[-1]))
    return [f"{prefix}{day[:4]}-{day[4:6]}-{day[6:]}" for prefix, day in bounds if _DAY.fullmatch(day)]


def _named(reference: Tree) -> tuple[str, str] | None:
    resource_type, _, id_ = str(reference.get("reference", "")).partition("/")
    if resource_type == "ServiceRequest" and id_:
        return "_id", id_
    identifier = reference.get("identifier", {})
    if identifier.get("value"):
        return "identifier", f"{door.escaped(identifier.get('system', ''))}|{door.escaped(identifier['value'])}"
    return None


def _parents(request: Tree) -> list[str]:
    references = (str(one.get("reference", "")) for one in request.get("basedOn", ()))
    return [reference for reference in dict.fromkeys(references) if reference.startswith("ServiceRequest/")]


def _reference(resource: Tree, name: str) -> str:
    return str(resource.get(name, {}).get("reference", ""))


def _shown(reference: Tree) -> Tree:
    return {"name": [{"text": reference["display"]}]} if reference.get("display") else {}


def _number(request: Tree) -> str:
    return next((str(one.get("value", "")) for one in request.get("identifier", ())), "")
