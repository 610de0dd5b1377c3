"""Which resources the drafts of messages are about: read for many messages at once, decided for each."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo

from adapters.hl7v2.mapping.draft import Draft, Lookup, Mapped, Mode
from adapters.ingest.identify import choose_stay, logical_id
from adapters.ingest.provenance import provenance_id
from adapters.ingest.resources import Identifier, Resources
from adapters.ingest.work import Resolved, Work
from fhir_server.core.messages import Finding, Message, MessageJournal, MessageQuery, Status


class AmbiguousError(Exception):
    """A draft could be about several resources; ``finding`` says so."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


class Resolver:
    """Resolves the drafts of a wave."""

    def __init__(self, resources: Resources, journal: MessageJournal, zone: tzinfo) -> None:
        self._resources = resources
        self._journal = journal
        self._zone = zone

    async def resolve(self, works: Sequence[Work]) -> None:
        """Fill in ``resolved`` of each work, or ``problems`` where that has no clear answer; read what they name."""
        todo = [(work, work.mapped) for work in works if work.mapped is not None and not work.problems]
        await self._resources.identify(
            identifier for _, mapped in todo for draft in mapped.drafts for identifier in _identifiers(draft)
        )
        owns = [_own_names(work, mapped) for work, mapped in todo]
        await self._resources.load(
            name for (_, mapped), own in zip(todo, owns, strict=True) for name in self._likely(mapped, own)
        )
        resolved: list[tuple[Work, Mapped, Resolved]] = []
        doubtful: list[tuple[str, str, str]] = []
        for (work, mapped), own in zip(todo, owns, strict=True):
            try:
                resolved.append((work, mapped, await self._named(mapped, own)))
            except AmbiguousError as ambiguous:
                work.problems = (ambiguous.finding,)
                doubtful.extend(identifier for draft in mapped.drafts for identifier in _identifiers(draft))
        await self._choose_stays(resolved)
        await self._add_history(resolved)
        await self._add_before(resolved)
        await self._resources.load(
            name for _, _, found in resolved for name in (*found.names, *found.prior, *_both(found.merges))
        )
        for work, _, found in resolved:
            work.resolved = found
        self._resources.forget((), doubtful)  # a human will look into it: the next attempt looks again

    # --- identity ---

    def _likely(self, mapped: Mapped, owns: Sequence[str]) -> Iterable[str]:
        """Yield the names that the drafts will have, or nearly: to read them all at once."""
        for draft, own in zip(mapped.drafts, owns, strict=True):
            yield from (self._candidates(draft) if draft.lookup is Lookup.IDENTIFIER else ()) or (own,)

    async def _named(self, mapped: Mapped, owns: Sequence[str]) -> Resolved:
        """Return the names of all drafts but stays."""
        found = Resolved(names=[], modes=[])
        for place, (draft, own) in enumerate(zip(mapped.drafts, owns, strict=True)):
            name, mode = own, draft.mode
            if draft.lookup is Lookup.IDENTIFIER:
                name = await self._identified(draft, own, found)
            merging = any(place in pair for pair in mapped.merges)
            if draft.type == "Patient" and not merging:
                survivor = await self._resources.survivor(name)
                if survivor != name:  # the sender still knows the patient under an id that was merged
                    name = survivor
                    mode = Mode.COMPLETE if mode is Mode.UPSERT else mode
            found.names.append(name)
            found.modes.append(mode)
        for old, new in mapped.merges:
            await self._merged(mapped, found, old, new)
        return found

    async def _identified(self, draft: Draft, own: str, found: Resolved) -> str:
        candidates = self._candidates(draft)
        if not candidates:
            found.claims.extend((identifier, own) for identifier in _identifiers(draft))
            return own
        if len(candidates) > 1 and draft.type == "Patient":
            candidates = list(dict.fromkeys([await self._resources.survivor(name) for name in candidates]))
        if len(candidates) > 1:
            raise _several(draft, len(candidates))
        return candidates[0]

    def _candidates(self, draft: Draft) -> list[str]:
        ids = [id_ for identifier in _identifiers(draft) for id_ in self._resources.identified(identifier)]
        return [f"{draft.type}/{id_}" for id_ in dict.fromkeys(ids)]

    async def _merged(self, mapped: Mapped, found: Resolved, old: int, new: int) -> None:
        """Note who is merged into whom; the survivor may have been merged himself."""
        merged_draft, survivor_draft = mapped.drafts[old], mapped.drafts[new]
        survivor = found.names[new]
        if merged_draft.lookup is Lookup.IDENTIFIER:
            others = [name for name in self._candidates(merged_draft) if name != survivor]
            if len(others) > 1:
                raise _several(merged_draft, len(others))
            if not others and self._candidates(merged_draft):
                found.names[old] = survivor  # it is the survivor's own identifier: nothing to merge
                found.modes[old] = Mode.ENSURE
                return
            found.names[old] = others[0] if others else found.names[old]
        merged = found.names[old]
        found.names[new] = survivor = await self._resources.survivor(survivor, until=merged)
        if survivor == merged:  # merged the other way round before: that is taken back
            found.names[new] = survivor = self._first(survivor_draft, merged) or survivor
        if survivor != merged:
            found.merges.append((merged, survivor))

    def _first(self, draft: Draft, but: str) -> str | None:
        return next((name for name in self._candidates(draft) if name != but), None)

    async def _choose_stays(self, resolved: Iterable[tuple[Work, Mapped, Resolved]]) -> None:
        asked = [
            (work, found, place, draft, patient)
            for work, mapped, found in resolved
            for place, draft in enumerate(mapped.drafts)
            if draft.lookup is Lookup.STAY and (patient := _patient_of(draft, mapped, found)) is not None
        ]
        if not asked:
            return
        await self._resources.find_stays(patient.partition("/")[2] for *_, patient in asked)
        stays = {patient: self._resources.stays(patient.partition("/")[2]) for *_, patient in asked}
        await self._resources.load(f"Encounter/{id_}" for ids in stays.values() for id_ in ids)
        for work, found, place, draft, patient in asked:
            trees = [
                tree for id_ in stays[patient] if (tree := self._resources.get(f"Encounter/{id_}").tree) is not None
            ]
            chosen = choose_stay(draft, trees, work.source.timezone)
            if chosen is not None:
                found.names[place] = f"Encounter/{chosen}"
            found.stays.add(patient)

    # --- order in time ---

    async def _add_history(self, resolved: Sequence[tuple[Work, Mapped, Resolved]]) -> None:
        """Add what later messages wrote, and what is written for the subjects."""
        lanes = {work.message.lane for work, _, _ in resolved if work.message.lane}
        latest = await self._journal.latest_events(sorted(lanes)) if lanes else {}
        subjects = sorted({mapped.subject for _, mapped, _ in resolved if mapped.subject})
        prior = await self._journal.written_for(subjects) if subjects else {}
        for work, mapped, found in resolved:
            message = work.message
            found.prior = prior.get(mapped.subject, ())
            if _may_be_late(message, latest):
                found.later = await self._journal.later(message.lane, message.event, message.sequence)
                if mapped.subject:
                    found.superseded = await self._is_superseded(message, mapped.subject)

    async def _add_before(self, resolved: Sequence[tuple[Work, Mapped, Resolved]]) -> None:
        """Add what the Provenance of an earlier attempt says, where the journal may not have been told of it."""
        doubtful = [
            (f"Provenance/{provenance_id(work.message.id)}", found) for work, _, found in resolved if work.doubtful
        ]
        await self._resources.load(name for name, _ in doubtful)
        for name, found in doubtful:
            tree = self._resources.get(name).tree
            if tree is not None:
                found.before = tuple(target["reference"].partition("/_history/")[0] for target in tree["target"])

    async def _is_superseded(self, message: Message, subject: str) -> bool:
        async for other in self._journal.find(MessageQuery(subject=subject, limit=1000)):
            applied = other.status is Status.APPLIED or other.resources
            if applied and (other.event, other.sequence) > (message.event, message.sequence):
                return True
        return False


def _own_names(work: Work, mapped: Mapped) -> list[str]:
    """Return the name of each draft's resource, should this message be the first to know of it."""
    source = work.source.name
    return [f"{draft.type}/{logical_id(draft.type, source, draft.key)}" for draft in mapped.drafts]


def _identifiers(draft: Draft) -> list[Identifier]:
    if draft.lookup is not Lookup.IDENTIFIER:
        return []
    return [(draft.type, system, value) for system, value in draft.identifiers]


def _patient_of(draft: Draft, mapped: Mapped, found: Resolved) -> str | None:
    return next((found.names[place] for _, place in draft.links if mapped.drafts[place].type == "Patient"), None)


def _may_be_late(message: Message, latest: Mapping[str, int]) -> bool:
    return message.lane in latest and message.event <= latest[message.lane]


def _both(pairs: Iterable[tuple[str, str]]) -> Iterable[str]:
    return (name for pair in pairs for name in pair)


def _several(draft: Draft, number: int) -> AmbiguousError:
    field = draft.fields.get(f"{draft.type}.identifier", "") or draft.fields.get("identifier", "")
    text = (
        f"{number} {draft.type} resources have the identifier of this message; expected one. "
        "Merge them, or correct the identifier, and replay the message."
    )
    return AmbiguousError(Finding("error", "ambiguous", text, field))
