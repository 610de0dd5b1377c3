"""The resources that messages are merged with: read and searched through the door, remembered for a while.

What is remembered may be old: every write names the version it builds on, and is planned again where that is not
the current one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from adapters.context import Context
from adapters.hl7v2.mapping.draft import Element
from adapters.ingest.identify import identifiers_of, replaced_by, token
from fhir_server.core import json
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction, Preferences

_MINIMAL = Preferences(return_="minimal", handling="strict")
_SEARCHED_AT_ONCE = 50
_READ_AT_ONCE = 500
_FEW = 8
_PAGE = "1000"
_LONGEST_CHAIN = 16
_STAY_CLASSES = ("IMP", "ACUTE", "NONAC")
_UNAVAILABLE = (429, 502, 503, 504)

#: type, system and value of an identifier
Identifier = tuple[str, str, str]


class UnavailableError(Exception):
    """The door cannot serve now; nothing was decided."""


class RefusedError(Exception):
    """The door refused what was asked; ``issues`` are those of its OperationOutcome."""

    def __init__(self, status: int, issues: Sequence[Element]) -> None:
        super().__init__(f"{status}: " + ", ".join(str(issue.get("code")) for issue in issues))
        self.status = status
        self.issues = issues


class ForgottenError(Exception):
    """What was just read has been found to be old meanwhile: begin again."""


class Known(NamedTuple):
    """A resource as it is known: ``tree`` without version and time, None if there is none.

    ``version`` is 0 if there never was one, or if that was not looked at.
    """

    tree: Element | None
    version: int
    read: int  # when, ms


class Resources:
    """Current resources by ``Type/id``, ids by identifier, stays by patient; for one process."""

    def __init__(self, context: Context, most: int, life: int) -> None:
        """Remember up to ``most`` of each kind for ``life`` ms."""
        self._context = context
        self._most = most
        self._life = life
        self._now = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._identified: OrderedDict[Identifier, tuple[tuple[str, ...], int]] = OrderedDict()
        self._stays: OrderedDict[str, tuple[tuple[str, ...], int]] = OrderedDict()

    def begin(self) -> None:
        """Look at the clock: what was remembered for too long is read again. Only here is anything dropped."""
        self._now = self._context.clock.now_ms()
        for cache in (self._known, self._identified, self._stays):
            while len(cache) > self._most:
                cache.popitem(last=False)

    # --- reading ---

    async def load(self, names: Iterable[str]) -> None:
        """Read those that are not known: a few one by one, which shows deletions, many by search, which costs less."""
        wanted: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            if not self._is_fresh(self._known.get(name)):
                wanted.setdefault(name.partition("/")[0], []).append(name)
        few = [name for found in wanted.values() if len(found) < _FEW for name in found]
        many = [
            (resource_type, found[start : start + _READ_AT_ONCE])
            for resource_type, found in wanted.items()
            if len(found) >= _FEW
            for start in range(0, len(found), _READ_AT_ONCE)
        ]
        await _together([*map(self._read, few), *(self._find(*part) for part in many)])

    def get(self, name: str) -> Known:
        """Return one that was loaded; raise ForgottenError if it was forgotten since."""
        known = self._known.get(name)
        if known is None:
            raise ForgottenError
        self._known.move_to_end(name)
        return known

    async def identify(self, wanted: Iterable[Identifier]) -> None:
        """Search for those identifiers that are not known, many in one search."""
        by_type: dict[str, list[Identifier]] = {}
        for identifier in dict.fromkeys(wanted):
            found = self._identified.get(identifier)
            if found is None or found[1] + self._life < self._now:
                by_type.setdefault(identifier[0], []).append(identifier)
        await _together(
            [
                self._search_identifiers(resource_type, identifiers[start : start + _SEARCHED_AT_ONCE])
                for resource_type, identifiers in by_type.items()
                for start in range(0, len(identifiers), _SEARCHED_AT_ONCE)
            ]
        )

    def identified(self, identifier: Identifier) -> tuple[str, ...]:
        """Return the ids of the resources with an identifier that was searched for; raise ForgottenError."""
        found = self._identified.get(identifier)
        if found is None:
            raise ForgottenError
        return found[0]

    async def find_stays(self, patients: Iterable[str]) -> None:
        """Search for the inpatient Encounters of those patients (ids) of whom they are not known."""
        wanted = []
        for patient in dict.fromkeys(patients):
            found = self._stays.get(patient)
            if found is None or found[1] + self._life < self._now:
                wanted.append(patient)
        for start in range(0, len(wanted), _SEARCHED_AT_ONCE):
            part = wanted[start : start + _SEARCHED_AT_ONCE]
            query = (("patient", ",".join(part)), ("class", ",".join(_STAY_CLASSES)), ("_count", _PAGE))
            stays: dict[str, list[str]] = {patient: [] for patient in part}
            for tree in await self._search("Encounter", query):
                patient = str(tree.get("subject", {}).get("reference", "")).rpartition("/")[2]
                if patient in stays:
                    stays[patient].append(tree["id"])
            for patient, ids in stays.items():
                self._remember(self._stays, patient, (tuple(ids), self._now))

    def stays(self, patient: str) -> tuple[str, ...]:
        """Return the ids of the stays of a patient for whom they were searched; raise ForgottenError."""
        found = self._stays.get(patient)
        if found is None:
            raise ForgottenError
        return found[0]

    async def survivor(self, name: str, until: str = "") -> str:
        """Return the patient who replaces this one (or ``until``, if met on the way): its own name if none does."""
        for _ in range(_LONGEST_CHAIN):
            await self.load((name,))
            tree = self.get(name).tree
            following = replaced_by(tree) if tree is not None else None
            if following is None or name == until:
                return name
            name = following
        return name

    # --- writing ---

    async def write(self, entries: Sequence[Element]) -> list[Element]:
        """Write the entries of one transaction; return the entries of its response."""
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        request = FhirRequest(
            interaction=Interaction.BUNDLE,
            resource=bundle,
            method="POST",
            base=self._context.base,
            preferences=_MINIMAL,
            request_id="feed",
        )
        content = await self._ask(request)
        found: list[Element] = content["entry"]
        return found

    def wrote(self, name: str, tree: Element, version: int) -> None:
        """Take note of what was written."""
        before = self._known.get(name)
        self._remember(self._known, name, Known(tree, version, self._now))
        resource_type, _, id_ = name.partition("/")
        if resource_type == "Encounter":
            self._note_stay(tree, id_)
        old = set(identifiers_of(before.tree)) if before and before.tree else set()
        new = set(identifiers_of(tree))
        for system, value in new ^ old:
            found = self._identified.get((resource_type, system, value))
            if found is not None:
                ids = tuple(other for other in found[0] if other != id_)
                self._identified[resource_type, system, value] = (
                    (*ids, id_) if (system, value) in new else ids
                ), found[1]  # fmt: skip

    def forget(self, names: Iterable[str], identifiers: Iterable[Identifier] = ()) -> None:
        """Forget what others may have changed, and by what it was or was not found."""
        for identifier in identifiers:
            self._identified.pop(identifier, None)
        for name in names:
            known = self._known.pop(name, None)
            resource_type, _, id_ = name.partition("/")
            if known is not None and known.tree is not None:
                for system, value in identifiers_of(known.tree):
                    self._identified.pop((resource_type, system, value), None)
            if resource_type == "Patient":
                self._stays.pop(id_, None)
            elif resource_type == "Encounter":  # it may be there or not, and whose it is may not be known
                self._stays.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._identified.clear()
        self._stays.clear()

    # --- inside ---

    def _note_stay(self, tree: Element, id_: str) -> None:
        patient = str(tree.get("subject", {}).get("reference", "")).rpartition("/")[2]
        found = self._stays.get(patient)
        if found is not None:
            others = tuple(other for other in found[0] if other != id_)
            is_stay = tree.get("class", {}).get("code") in _STAY_CLASSES
            self._stays[patient] = (*others, id_) if is_stay else others, found[1]

    def _is_fresh(self, known: Known | None) -> bool:
        return known is not None and known.read + self._life >= self._now

    async def _read(self, name: str) -> None:
        resource_type, _, id_ = name.partition("/")
        request = FhirRequest(
            interaction=Interaction.READ, resource_type=resource_type, id=id_, base=self._context.base
        )  # fmt: skip
        response = await self._context.handle(request)
        if response.status == 200:
            tree = json.decode_own(b"".join(response.body))
            self._learn(name, tree)
        elif response.status in (404, 410):
            tag = response.headers.get("ETag", "").strip('W/"')
            self._remember(self._known, name, Known(None, int(tag) if tag.isdigit() else 0, self._now))
        else:
            raise _failure(response)

    async def _find(self, resource_type: str, names: Sequence[str]) -> None:
        ids = ",".join(name.partition("/")[2] for name in names)
        there = {tree["id"] for tree in await self._search(resource_type, (("_id", ids), ("_count", _PAGE)))}
        for name in names:
            if name.partition("/")[2] not in there:
                self._remember(self._known, name, Known(None, 0, self._now))

    def _learn(self, name: str, tree: Element) -> None:
        meta = tree.get("meta", {})
        version = int(meta.pop("versionId", "0"))
        meta.pop("lastUpdated", None)
        if not meta:
            tree.pop("meta", None)
        self._remember(self._known, name, Known(tree, version, self._now))

    async def _search_identifiers(self, resource_type: str, identifiers: Sequence[Identifier]) -> None:
        found: dict[Identifier, dict[str, None]] = {identifier: {} for identifier in identifiers}
        values = ",".join(token(system, value) for _, system, value in identifiers)
        for tree in await self._search(resource_type, (("identifier", values), ("_count", _PAGE))):
            for system, value in identifiers_of(tree):
                if (resource_type, system, value) in found:
                    found[resource_type, system, value][tree["id"]] = None
        for identifier, ids in found.items():
            self._remember(self._identified, identifier, (tuple(ids), self._now))

    async def _search(self, resource_type: str, query: tuple[tuple[str, str], ...]) -> list[Element]:
        """Return all matches, and remember them."""
        found: list[Element] = []
        while True:
            request = FhirRequest(
                interaction=Interaction.SEARCH_TYPE,
                resource_type=resource_type,
                query=query,
                base=self._context.base,
                preferences=_MINIMAL,
            )
            content = await self._ask(request)
            page = [entry["resource"] for entry in content.get("entry", ()) if entry["search"]["mode"] == "match"]
            for tree in page:
                self._learn(f"{resource_type}/{tree['id']}", tree)
            found.extend(page)
            following = next((link["url"] for link in content.get("link", ()) if link["relation"] == "next"), None)
            if following is None:
                return found
            query = _parameters(following)

    async def _ask(self, request: FhirRequest) -> Any:  # decoded JSON
        response = await self._context.handle(request)
        if response.status >= 400:
            raise _failure(response)
        return json.decode_own(b"".join(response.body))

    def _remember(self, cache: "OrderedDict[Any, Any]", key: object, value: object) -> None:  # one of three caches
        cache[key] = value
        cache.move_to_end(key)


async def _together(reads: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; a single one needs no task of its own."""
    if len(reads) == 1:
        await reads[0]
    elif reads:
        await asyncio.gather(*reads)


def _failure(response: FhirResponse) -> Exception:
    if response.status in _UNAVAILABLE:
        return UnavailableError(f"the server answered {response.status}")
    try:
        issues = json.decode(b"".join(response.body)).get("issue", [])
    except (json.JsonError, AttributeError):
        issues = []
    return RefusedError(response.status, issues)


def _parameters(url: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(url.partition("?")[2], keep_blank_values=True))
