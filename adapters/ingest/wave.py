"""Messages that are written in one transaction.

In one wave no resource is changed twice, and none that an earlier message of the wave built on: so, should the
server die between the transaction and the marks in the journal, applying the messages again changes nothing. A message
that does not fit waits for the next wave, and so do those of its lane behind it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from adapters.hl7v2.mapping.draft import Draft, Element, Mapped, Mode
from adapters.ingest.identify import replaced_by
from adapters.ingest.merge import merged, merged_late, same, with_members
from adapters.ingest.provenance import provenance, provenance_id
from adapters.ingest.resources import Identifier, Resources
from adapters.ingest.work import Resolved, Work
from fhir_server.core.messages import Finding

_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\](?:\.resource)?\.?(.*)", re.DOTALL)
_INDEX = re.compile(r"\[\d+\]")


class _Write(NamedTuple):
    """``version`` is the one it builds on; ``new`` if there is nothing (any more) that it would overwrite."""

    tree: Element
    draft: Draft | None
    version: int
    new: bool


class _Part(NamedTuple):
    """What one message of the wave writes, and which resources it wrote or confirmed."""

    work: Work
    writes: Mapping[str, _Write]
    touched: Sequence[str]


class Wave:
    """Collects messages as long as they fit together, then tells what is to be written."""

    def __init__(self, resources: Resources, most_entries: int, flying: Sequence["Wave"] = ()) -> None:
        """Collect for a transaction beside those of the waves ``flying``."""
        self._resources = resources
        self._flying = flying
        self._room = most_entries
        self._parts: list[_Part] = []
        self.writes: dict[str, _Write] = {}
        self.read: set[str] = set()
        self.claims: dict[Identifier, str] = {}
        self.moved: set[str] = set()  # patients of whom an Encounter changes
        self._events: dict[str, int] = {}
        self._waiting: set[str] = set()  # lanes
        self.subjects: set[str] = set()
        self._answers: dict[str, int] = {}
        self.lanes: set[str] = set()
        self.closes = False  # a merge: nothing beside it
        self.closed = any(wave.closes for wave in flying)

    @property
    def works(self) -> list[Work]:
        """The messages of the wave, in order."""
        return [part.work for part in self._parts]

    def offer(self, work: Work) -> bool:
        """Take the message in if it fits; if not, it waits, and its lane with it."""
        lane, event = work.message.lane, work.message.event
        if self.closed or (lane and lane in self._waiting):
            return False
        mapped, resolved = work.mapped, work.resolved
        assert mapped is not None
        assert resolved is not None
        if mapped.merges and (self._parts or self._flying):
            self.closed = True  # a merge concerns two lanes: it comes alone, after all before it
            return False
        part = None
        if event >= self._events.get(lane, event) and not any(
            resolved.stays & wave.moved or mapped.subject in wave.subjects for wave in (self, *self._flying)
        ):
            part = self._compose(work, mapped, resolved)
        if part is None:
            self._waiting.add(lane)
            self.closed = self.closed or not lane
            return False
        self._accept(part, resolved)
        if lane:
            self._events[lane] = event
        if mapped.subject:
            self.subjects.add(mapped.subject)
        self.lanes.add(lane)
        self.closes = bool(mapped.merges)
        self.closed = self.closes or self._room <= 0
        return True

    def entries(self) -> list[Element]:
        """Return the entries of the transaction: what each message writes, in order, then where it came from."""
        self._flying = ()  # nothing more is offered, and they are not to be kept alive
        found: list[Element] = []
        for part in self._parts:
            found.extend(_entry(name, write) for name, write in part.writes.items())
        for part in self._parts:
            if part.writes:
                versions = [(name, write.version + 1) for name, write in part.writes.items()]
                found.append(self._origin(part, versions))
        return found

    def written(self, answers: Sequence[Element]) -> None:
        """Take note of the versions that a successful transaction made."""
        for (name, write), answer in zip(self.writes.items(), answers, strict=False):
            version = int(str(answer["response"].get("etag", "")).strip('W/"'))
            if version != write.version + 1:
                self._answers[name] = version
            self._resources.wrote(name, write.tree, version)

    def corrections(self) -> list[Element]:
        """Return the entries of what named other versions than were made, as where a resource had been deleted."""
        found: list[Element] = []
        for part in self._parts:
            if not self._answers.keys().isdisjoint(part.writes):
                versions = [(name, self._answers.get(name, write.version + 1)) for name, write in part.writes.items()]
                found.append(self._origin(part, versions))
        return found

    def _origin(self, part: _Part, versions: Sequence[tuple[str, int]]) -> Element:
        tree = provenance(part.work.message, [f"{name}/_history/{version}" for name, version in versions])
        return {"resource": tree, "request": {"method": "PUT", "url": f"Provenance/{tree['id']}"}}

    def conflicted(self) -> None:
        """Forget everything this wave was planned on."""
        origins = (f"Provenance/{provenance_id(part.work.message.id)}" for part in self._parts)
        self._resources.forget({*self.writes, *self.read, *origins}, self.claims)

    def touched(self) -> Mapping[str, Sequence[str]]:
        """Return, by message id, the resources it wrote or confirmed."""
        return {part.work.message.id: part.touched for part in self._parts}

    def blamed(self, issues: Sequence[Element]) -> dict[str, list[Finding]]:
        """Return, by message id, what the issues of a refused transaction say of it; empty if they do not tell."""
        owners = [(part.work, write.draft) for part in self._parts for write in part.writes.values()]
        owners.extend((part.work, None) for part in self._parts if part.writes)
        found: dict[str, list[Finding]] = {}
        for issue in issues:
            if issue.get("severity") not in ("error", "fatal"):
                continue
            match = _ENTRY.match((issue.get("expression") or [""])[0])
            if match is None or int(match[1]) >= len(owners):
                return {}
            work, draft = owners[int(match[1])]
            found.setdefault(work.message.id, []).append(_finding(issue, draft, match[2]))
        return found

    # --- inside ---

    def _compose(self, work: Work, mapped: Mapped, resolved: Resolved) -> _Part | None:
        """Return what the message writes; None if it cannot be in this wave."""
        for wave in (self, *self._flying):
            if any(wave.claims.get(identifier, name) != name for identifier, name in resolved.claims):
                return None  # an earlier message makes the resource with this identifier
        writes: dict[str, _Write] = {}
        read: set[str] = set()
        made = {name for name, mode in zip(resolved.names, resolved.modes, strict=True) if mode is Mode.ENSURE}
        touched: dict[str, None] = dict.fromkeys(name for name in resolved.before if name not in made)
        for element, place in (link for draft in mapped.drafts for link in draft.links):
            element["reference"] = resolved.names[place]
        for draft, name, mode in zip(mapped.drafts, resolved.names, resolved.modes, strict=True):
            if self._lay(draft, name, mode, work, resolved, writes, read) or name in work.message.resources:
                touched[name] = None
        for name in self._ended(mapped, resolved):
            tree = self._tree(name, writes)
            if tree is not None:
                read.add(name)
                touched[name] = None
                ended = with_members(tree, mapped.gone[name.partition("/")[0]])
                if ended is not tree:
                    self._note(writes, name, ended, None)
        for old, survivor in resolved.merges:
            self._merge(old, survivor, writes, read, touched)
        if any(name in self.writes or name in self.read for name in writes):
            return None
        for wave in self._flying:
            if any(name in wave.writes or name in wave.read for name in writes):
                return None
            if not read.isdisjoint(wave.writes):
                return None
        self.read |= read
        return _Part(work, writes, tuple(touched))

    def _lay(
        self,
        draft: Draft,
        name: str,
        mode: Mode,
        work: Work,
        resolved: Resolved,
        writes: dict[str, _Write],
        read: set[str],
    ) -> bool:
        """Lay one draft over what is known; return whether the message wrote or confirmed that resource.

        What was only made because it was missing (a patient named by an order) is not confirmed: an older message
        that tells about it is not late.
        """
        current = self._tree(name, writes)
        late = current is not None and name in resolved.later
        if late:
            mode = Mode.ENSURE if draft.settle is None else Mode.COMPLETE
        if mode is not Mode.ENSURE:
            read.add(name)
        if late and draft.settle is not None and current is not None:
            result: Element | None = merged_late(current, draft.tree, draft.stated)
        else:
            result = merged(mode, current, draft.tree, draft.stated, draft.cleared)
        if result is None:
            return False
        if draft.settle is not None and (result is not current or (mode is Mode.COMPLETE and not late)):
            result = draft.settle(result)
            if current is not None and same(current, result):
                result = current
        if current is None:
            result = {"resourceType": draft.type, "id": name.partition("/")[2], **result}
        mapped = work.mapped
        assert mapped is not None
        if resolved.superseded and not late and draft.type in mapped.replaces:
            result = with_members(result, mapped.gone.get(draft.type, {}))
            if current is not None and same(current, result):
                result = current
        if result is not current:
            self._note(writes, name, result, draft)
        return mode in (Mode.UPSERT, Mode.REVISE) or (mode is Mode.COMPLETE and result is not current)

    def _ended(self, mapped: Mapped, resolved: Resolved) -> list[str]:
        """Return which resources are no longer valid."""
        named = frozenset(resolved.names)
        return [
            name
            for name in resolved.prior
            if (resource_type := name.partition("/")[0]) in mapped.gone
            and (mapped.cancels or (resource_type in mapped.replaces and name not in named))
            and name not in resolved.later
            and not resolved.superseded
        ]

    def _merge(
        self, old: str, survivor: str, writes: dict[str, _Write], read: set[str], touched: dict[str, None]
    ) -> None:
        """Link two patients: the old one is inactive and replaced by the survivor."""
        merged_tree, survivor_tree = self._tree(old, writes), self._tree(survivor, writes)
        if merged_tree is None or survivor_tree is None:
            return
        new = {
            old: {**merged_tree, "active": False, "link": _linked(merged_tree, survivor, "replaced-by")},
            survivor: {**survivor_tree, "link": _linked(survivor_tree, old, "replaces")},
        }
        if replaced_by(survivor_tree) is not None:
            new[survivor]["active"] = True
        for name, tree in new.items():
            read.add(name)
            touched[name] = None
            if not same(self._tree(name, writes), tree):
                self._note(writes, name, tree, writes[name].draft if name in writes else None)

    def _note(self, writes: dict[str, _Write], name: str, tree: Element, draft: Draft | None) -> None:
        known = self._resources.get(name)
        writes[name] = _Write(tree, draft, known.version, known.tree is None)

    def _tree(self, name: str, writes: Mapping[str, _Write]) -> Element | None:
        found = writes.get(name) or self.writes.get(name)
        return found.tree if found else self._resources.get(name).tree

    def _accept(self, part: _Part, resolved: Resolved) -> None:
        self._parts.append(part)
        self.writes.update(part.writes)
        self._room -= len(part.writes) + 1
        self.claims.update(resolved.claims)
        for name, write in part.writes.items():
            if name.startswith("Encounter/"):
                self.moved.add(str(write.tree.get("subject", {}).get("reference", "")))


def _entry(name: str, write: _Write) -> Element:
    request = {"method": "PUT", "url": name}
    if write.new:
        request["ifNoneMatch"] = "*"
    else:
        request["ifMatch"] = f'W/"{write.version}"'
    return {"resource": write.tree, "request": request}


def _linked(tree: Element, other: str, kind: str) -> list[Element]:
    """Return the links of a patient with the one to ``other`` being of this kind."""
    reverse = kind == "replaces"
    kept = [
        link
        for link in tree.get("link", ())
        if link.get("other", {}).get("reference") != other and not (reverse and link.get("type") == "replaced-by")
    ]
    return [*kept, {"other": {"reference": other}, "type": kind}]


def _finding(issue: Element, draft: Draft | None, path: str) -> Finding:
    """Return an issue of the door as a finding that names the field the element came from."""
    text = str(issue.get("diagnostics") or issue.get("code") or "refused")
    if draft is None:
        return Finding("error", str(issue.get("code", "invalid")), text)
    plain = _INDEX.sub("", path)
    where = f"{draft.type}.{plain}" if plain else draft.type
    field = field_of(draft, plain)
    told = f"{field} cannot become {where}: {text}" if field else f"{where}: {text}"
    return Finding("error", str(issue.get("code", "invalid")), told, field)


def field_of(draft: Draft, path: str) -> str:
    """Return the field that the element at a path (without type and indexes) came from, or the nearest around it."""
    parts = path.split(".") if path else []
    for length in range(len(parts), 0, -1):
        near = ".".join(parts[:length])
        field = draft.fields.get(f"{draft.type}.{near}") or draft.fields.get(near)
        if field:
            return field
    return ""
