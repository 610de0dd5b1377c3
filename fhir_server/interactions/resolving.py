"""What the entries of a transaction stand for: identities and targets of links (FHIR R4 http.html#trules)."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.core.change import Claim, Write
from fhir_server.core.outcome import FhirError, Issue, operation_outcome
from fhir_server.core.ports import IdSource
from fhir_server.core.query import Everything, Key, KeyIn, Not, Stored, all_of
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.interactions import conditional, matching
from fhir_server.interactions.conditional import Condition
from fhir_server.interactions.context import Context
from fhir_server.interactions.delete import refuse_too_many
from fhir_server.interactions.entries import Entry, answer_entry, located
from fhir_server.interactions.read import gone
from fhir_server.interactions.references import rewrite, unfinished, where
from fhir_server.interactions.stamp import Spelling
from fhir_server.interactions.update import given_id, id_mismatch, require_id, taken_id
from fhir_server.interactions.writing import is_present


class Item:
    """A writing entry on its way to the commit; every stage fills in more. Lives for one request only."""

    __slots__ = (
        "claims", "condition", "conditional", "current", "dangling", "doomed", "entry", "interaction", "key", "new_key",
        "patch", "spelling", "status", "stored", "tree", "version", "writes",
    )  # fmt: skip

    def __init__(self, entry: Entry, ids: IdSource) -> None:
        request = entry.request
        self.entry = entry
        self.interaction = request.interaction
        self.condition: Condition | None = None
        self.key: Key | None = None
        self.new_key: Key | None = None
        assert request.resource_type is not None
        if request.id is None and self.interaction in (Interaction.CREATE, Interaction.UPDATE):
            self.new_key = Key(request.resource_type, ids.new_id())
        self.tree: dict[str, Any] = {}
        self.patch: Any = None
        self.spelling: Spelling | None = None  # of the content as it came
        self.forget()

    def forget(self) -> None:
        """Drop what an earlier plan found out."""
        self.key = self.new_key
        self.current: Stored | None = None
        self.doomed: Sequence[Stored] = ()
        self.claims: tuple[Claim, ...] = ()
        self.writes: tuple[Write, ...] = ()
        self.dangling: list[str] = []
        self.conditional: list[str] = []
        self.stored: Stored | None = None
        self.version: int | None = None
        self.status = 204

    def rewrite(self, links: Mapping[str, str], uri_members: frozenset[str]) -> None:
        """Replace the links of the content (or of the patch)."""
        content = self.entry.request.resource
        if self.interaction is Interaction.DELETE or (self.interaction is Interaction.CREATE and self.current):
            return
        if not links and self._is_finished(content):
            self.tree, self.dangling, self.conditional = content, [], []
            return
        if self.interaction is Interaction.PATCH:
            found = rewrite({"patch": content}, links, uri_members)
            self.patch = found.tree["patch"]
        else:
            found = rewrite(content, links, uri_members)
            self.tree = found.tree
        self.dangling, self.conditional = found.dangling, found.conditional

    def _is_finished(self, content: Any) -> bool:
        """Return whether a resource certainly has no link that stands for something else."""
        if not self.writes_resource or not isinstance(content.get("meta", {}), dict):
            return False
        if self.spelling is None:
            self.spelling = Spelling(content)
        return not any(unfinished(part) for part in self.spelling.parts)

    def dangling_issues(self) -> tuple[Issue, ...]:
        """Return one issue for each link to an entry that does not exist."""
        path = f"{self.entry.where}.resource"
        return tuple(
            Issue(
                "not-found",
                "the reference is a urn, but no entry of the Bundle has it as fullUrl",
                where(self.entry.request.resource, urn, path),
            )
            for urn in dict.fromkeys(self.dangling)
        )

    @property
    def writes_resource(self) -> bool:
        """True if the entry carries the resource it writes."""
        return self.interaction in (Interaction.CREATE, Interaction.UPDATE)

    @property
    def writes_content(self) -> bool:
        """True if the entry will (unless nothing changes) write a version with content."""
        if self.interaction is Interaction.CREATE:
            return self.current is None
        return self.interaction is not Interaction.DELETE

    def done(self, stored: Stored, status: int) -> None:
        """Note what will be answered."""
        self.stored, self.status = stored, status

    def deleted(self, version: int | None) -> None:
        """Note that a deletion will be answered."""
        self.version, self.status = version, 204

    def response(self) -> list[bytes]:
        """Return the entry of the response Bundle, with the body that Prefer: return asks for."""
        preferred = self.entry.request.preferences.return_
        body: tuple[bytes, ...] = ()
        stored = self.stored
        if preferred == "OperationOutcome":
            note = Issue("informational", "done", severity="information")
            body = (json.encode(operation_outcome((note,))),)
        elif preferred == "representation" and stored is not None and stored.content is not None:
            body = (stored.content,)
        if stored is None:
            version = None if self.version is None else str(self.version)
            return answer_entry(FhirResponse(status=self.status, body=body, version_id=version), body=bool(body))
        response = FhirResponse(
            status=self.status,
            body=body,
            version_id=str(stored.version),
            last_modified=stored.updated,
            location=f"{stored.key.type}/{stored.key.id}/_history/{stored.version}",
        )
        return answer_entry(response, body=bool(body))


async def fix_identities(context: Context, request: FhirRequest, items: Sequence[Item]) -> None:
    """Find out which resource every item is about and its current version; raise where that has no clear answer."""
    conditions = []
    for item in items:
        item.forget()
        if item.condition is None:
            _plan_condition(context, item)
        if item.condition is not None:
            conditions.append(item.condition)
    found = await matching.find_all(context, conditions) if conditions else {}
    asked = {key for item in items if (key := _named_key(item, found)) is not None}
    current = await _current(context, request, tuple(asked)) if asked else {}
    for item in items:
        if item.interaction is Interaction.DELETE:
            _fix(context, item, found, current, frozenset())
    gone_keys = frozenset(stored.key for item in items for stored in item.doomed)
    for item in items:
        if item.interaction is not Interaction.DELETE:
            _fix(context, item, found, current, gone_keys)
    _refuse_overlap(items)


def _plan_condition(context: Context, item: Item) -> None:
    request = item.entry.request
    assert request.resource_type is not None
    if item.interaction is Interaction.CREATE:
        text = request.preconditions.if_none_exist
        if text is None:
            return
        params = conditional.query_pairs(text, request.resource_type)
    elif request.id is None:
        params = request.query
    else:
        return
    try:
        item.condition = conditional.condition(context, request, request.resource_type, params)
    except FhirError as error:
        raise located(error, f"{item.entry.where}.request") from None
    if item.interaction is Interaction.DELETE:
        many = msgspec.structs.replace(item.condition.query, count=context.limits.conditional_deletes + 1)
        item.condition = msgspec.structs.replace(item.condition, query=many)


def _named_key(item: Item, found: Mapping[str, Sequence[Stored]]) -> Key | None:
    """Return the key that the entry itself names and that must be looked up."""
    request = item.entry.request
    assert request.resource_type is not None
    if request.id is not None:
        return Key(request.resource_type, request.id)
    if item.interaction is Interaction.UPDATE and item.condition is not None and not found[item.condition.text]:
        given = given_id(request.resource)
        return Key(request.resource_type, given) if given is not None else None
    return None


async def _current(context: Context, request: FhirRequest, keys: tuple[Key, ...]) -> Mapping[Key, Stored]:
    visible = await context.store.get(keys, request.principal.access)
    if isinstance(request.principal.access, Everything):
        return visible
    hidden = set(await context.store.get(keys)) - set(visible)
    if hidden:
        raise FhirError.of(403, "forbidden", f"{len(hidden)} of the ids cannot be written")
    return visible


def _fix(
    context: Context,
    item: Item,
    found: Mapping[str, Sequence[Stored]],
    current: Mapping[Key, Stored],
    gone_keys: frozenset[Key],
) -> None:
    try:
        if item.condition is not None:
            rows = [row for row in found[item.condition.text] if row.key not in gone_keys]
            _fix_conditional(context, item, item.condition, rows, current, gone_keys)
        elif item.interaction is not Interaction.CREATE:
            _fix_named(item, current)
    except FhirError as error:
        raise located(error, item.entry.where) from None


def _fix_named(item: Item, current: Mapping[Key, Stored]) -> None:
    request = item.entry.request
    assert request.resource_type is not None
    assert request.id is not None
    item.key = Key(request.resource_type, request.id)
    item.current = current.get(item.key)
    if item.interaction is Interaction.DELETE:
        item.doomed = (item.current,) if item.current is not None and is_present(item.current) else ()
    elif item.interaction is Interaction.UPDATE:
        require_id(request.resource, request.id)
    elif item.current is None:
        raise FhirError.of(404, "not-found", f"{item.key} does not exist")
    elif item.current.content is None:
        raise gone(item.current)


def _fix_conditional(
    context: Context,
    item: Item,
    condition: Condition,
    rows: Sequence[Stored],
    current: Mapping[Key, Stored],
    gone_keys: frozenset[Key],
) -> None:
    if item.interaction is Interaction.DELETE:
        refuse_too_many(context, len(rows))
        item.doomed = rows
        return
    if len(rows) > 1:
        raise conditional.several()
    if rows:
        item.current, item.key = rows[0], rows[0].key
        if item.interaction is Interaction.UPDATE:
            given = given_id(item.entry.request.resource)
            if given is not None and given != item.key.id:
                raise id_mismatch(item.key.type)
        return
    if item.interaction is Interaction.PATCH:
        raise FhirError.of(404, "not-found", "no resource matches the condition")
    query = condition.query
    if gone_keys:
        query = msgspec.structs.replace(query, where=all_of(query.where, Not(KeyIn(tuple(sorted(gone_keys))))))
    item.claims = (Claim(condition.text, query),)
    if item.interaction is Interaction.UPDATE and (given := given_id(item.entry.request.resource)) is not None:
        assert item.new_key is not None
        item.key = Key(item.new_key.type, given)
        item.current = current.get(item.key)
        if is_present(item.current):
            raise taken_id(item.key.type)


def _refuse_overlap(items: Sequence[Item]) -> None:
    """Raise 400 where two entries are about the same resource, or claim the same condition."""
    taken: dict[object, Item] = {}
    for item in items:
        if item.interaction is Interaction.CREATE and item.current is not None:
            continue
        marks: list[object] = [claim.condition for claim in item.claims]
        if item.interaction is Interaction.DELETE:
            marks.extend(stored.key for stored in item.doomed)
            if item.key is not None and not item.doomed:
                marks.append(item.key)
        else:
            marks.append(item.key)
        for mark in marks:
            if mark in taken:
                raise FhirError.of(
                    400,
                    "duplicate",
                    f"this entry and {taken[mark].entry.where} are about the same resource",
                    item.entry.where,
                )
            taken[mark] = item


def links_of(items: Sequence[Item]) -> dict[str, str]:
    """Return what every fullUrl stands for; raise 400 where two entries have the same."""
    links: dict[str, str] = {}
    relative: dict[str, str] = {}
    for item in items:
        full_url = item.entry.full_url
        if full_url is None or item.key is None:
            continue
        if full_url in links:
            raise FhirError.of(400, "duplicate", "an earlier entry has the same fullUrl", f"{item.entry.where}.fullUrl")
        links[full_url] = f"{item.key.type}/{item.key.id}"
        if item.writes_resource and full_url.startswith(("http://", "https://")):
            old = "/".join(full_url.rsplit("/", 2)[1:])
            if old.startswith(f"{item.key.type}/"):
                relative.setdefault(old, links[full_url])
    written = {str(item.key) for item in items if item.writes_resource}
    links.update((old, target) for old, target in relative.items() if old not in written and old not in links)
    return links


async def resolve_references(
    context: Context, request: FhirRequest, items: Sequence[Item], unresolved: Sequence[Item]
) -> dict[str, str]:
    """Return the target of every conditional reference, as it will be after the transaction; exactly one each."""
    conditions: dict[str, Condition] = {}
    places: dict[str, str] = {}
    for item in unresolved:
        for text in item.conditional:
            if text in conditions:
                continue
            place = where(item.entry.request.resource, text, f"{item.entry.where}.resource")
            conditions[text] = _reference_condition(context, request, text, place)
            places[text] = place
    found = await matching.find_all(context, list(conditions.values()))
    changed = {item.key for item in items if item.interaction is not Interaction.PATCH and item.writes_content}
    changed.update(stored.key for item in items for stored in item.doomed)
    links: dict[str, str] = {}
    for text, condition in conditions.items():
        keys = {row.key for row in found[condition.text]} - changed
        keys.update(matching.in_flight(context, condition, items))
        if len(keys) != 1:
            status, code = (412, "multiple-matches") if keys else (400, "not-found")
            count = "more than one resource" if keys else "no resource"
            raise FhirError.of(status, code, f"the conditional reference matches {count}", places[text])
        links[text] = str(keys.pop())
    return links


def _reference_condition(context: Context, request: FhirRequest, text: str, place: str) -> Condition:
    resource_type = text.partition("?")[0]
    try:
        if resource_type not in context.types:
            raise FhirError.of(400, "not-supported", f"'{resource_type[:64]}' is not a resource type of this server")
        return conditional.condition(context, request, resource_type, conditional.query_pairs(text, resource_type))
    except FhirError as error:
        raise FhirError(
            error.status, [msgspec.structs.replace(issue, expression=place) for issue in error.issues]
        ) from None
