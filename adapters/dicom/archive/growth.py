"""How a study grows: what arrived is laid over what is known of it. Pure, and the same whatever came first.

Attributes of a study and of a series are those of the instance with the least UID; what that one does not have, or has
without a value, comes from the least of those that have it.
"""

from collections.abc import Mapping, Sequence

import msgspec

from adapters.dicom.archive.rejections import title_of
from adapters.dicom.archive.work import Kind, WorkItem
from adapters.dicom.archive.writer import Kept
from adapters.dicom.dataset.header import Header
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.fhir.study import Shown
from adapters.dicom.fhir.texts import clean
from adapters.dicom.model import Attributes, Fate, Instance, Sender, Series, State, Study


class Arrival(msgspec.Struct, frozen=True):
    """An object that is kept and waits to be indexed."""

    kept: Kept
    header: Header
    sender: Sender


class StudyState(msgspec.Struct, kw_only=True):
    """A study as it is known. ``shown`` is None where there are too many instances to list them."""

    study: Study
    series: dict[str, Series] = {}
    shown: dict[str, dict[str, Shown]] | None = {}


class Known(msgspec.Struct, kw_only=True):
    """Rows that arrivals may contradict: instances and series by UID (of whatever study), ids of work items."""

    instances: Mapping[str, Instance] = {}
    series: Mapping[str, Series] = {}
    work: frozenset[str] = frozenset()


class Growth(msgspec.Struct, kw_only=True):
    """The study after a wave. ``fates`` one for each arrival, in order."""

    state: StudyState
    fates: list[Fate] = []
    instances: list[Instance] = []  # new ones
    series: dict[str, Series] = {}  # changed ones
    work: list[WorkItem] = []


def grow(state: StudyState, known: Known, arrivals: Sequence[Arrival]) -> Growth:
    """Lay arrivals of one study over its state, which is not changed."""
    growth = Growth(
        state=StudyState(study=state.study, series=dict(state.series), shown=_copied(state.shown, arrivals))
    )
    new: dict[str, Instance] = {}
    work: dict[str, WorkItem] = {}
    for arrival in arrivals:
        fate, item = _judge(arrival, growth.state, known, new)
        growth.fates.append(fate)
        if item is not None and item.id not in known.work:
            work.setdefault(item.id, item)
        if fate is Fate.STORED:
            instance = _instance(arrival)
            new[instance.uid] = instance
            _add(growth, arrival, instance)
            if title_of(instance.sop_class, instance.attributes):
                item = _work(arrival, Kind.REJECTION_NOTE, "A rejection note is carried out.")
                work[item.id] = item
    growth.instances = list(new.values())
    growth.work = list(work.values())
    if new:
        _number_revisions(growth, state)
    return growth


def merge(
    attributes: Attributes, lead: str, origins: Mapping[str, str], uid: str, new: Attributes
) -> tuple[Attributes, str, dict[str, str]]:
    """Lay one instance's attributes over those of others, and return attributes, lead and origins."""
    if not lead:
        return new, uid, {}
    if uid == lead or (uid > lead and not origins and attributes == new):
        return attributes, lead, dict(origins)
    result = dict(attributes)
    owners = dict.fromkeys(attributes, lead)
    owners.update(origins)
    for tag, element in new.items():
        before = attributes.get(tag)
        if before is None or (not _valued(element), uid) < (not _valued(before), owners[tag]):
            result[tag] = element
            owners[tag] = uid
    lead = min(lead, uid)
    return result, lead, {tag: owner for tag, owner in owners.items() if owner != lead}


def issuer(attributes: Attributes) -> str:
    """Return who issued the Patient ID: Issuer of Patient ID, else the Universal Entity ID of its qualifiers."""
    return text(attributes, "00100021") or text(next(iter(items(attributes, "00100024")), {}), "00400032")


def title(attributes: Attributes) -> str:
    """Return what an instance is called: Content Label, Concept Name, Document Title, Image Type."""
    concept = text(next(iter(items(attributes, "0040A043")), {}), "00080104")
    types = "\\".join(str(one) for one in attributes.get("00080008", {}).get("Value") or () if one)
    return clean(text(attributes, "00700080") or concept or text(attributes, "00420010") or types)


def shown(instance: Instance) -> Shown:
    """Return what an ImagingStudy says of it."""
    return Shown(instance.sop_class, instance.number, title(instance.attributes))


def _judge(
    arrival: Arrival, state: StudyState, known: Known, new: Mapping[str, Instance]
) -> tuple[Fate, WorkItem | None]:
    """Return what becomes of an arrival, and what a human must decide."""
    header = arrival.header
    earlier = new.get(header.sop_instance) or known.instances.get(header.sop_instance)
    if earlier is not None:
        if earlier.study != header.study:
            return Fate.CONFLICT, _work(arrival, Kind.MOVED, "This instance is in another study already.")
        if earlier.hash == arrival.kept.digest.hex():
            return Fate.DUPLICATE, None
        return Fate.CONFLICT, _work(arrival, Kind.CONFLICT, "Another object has this SOP Instance UID.")
    series = known.series.get(header.series)
    if series is not None and series.study != header.study:
        return Fate.CONFLICT, _work(arrival, Kind.MOVED, "The series of this instance is in another study already.")
    if _is_another_patient(header, state.study):
        return Fate.CONFLICT, _work(
            arrival, Kind.PATIENT, "The study's other instances have another Patient ID or issuer (0010,0020)."
        )
    return Fate.STORED, None


def _is_another_patient(header: Header, study: Study) -> bool:
    """Return whether both name a patient, and not the same. After a correction the former patient counts as well."""
    for attributes in (study.attributes, {**study.attributes, **study.original}):
        differs = any(
            said and known and said != known
            for said, known in (
                (text(header.patient, "00100020"), text(attributes, "00100020")),
                (issuer(header.patient), issuer(attributes)),
            )
        )
        if not differs:
            return False
    return True


def _work(arrival: Arrival, kind: Kind, text: str) -> WorkItem:
    header = arrival.header
    return WorkItem(
        kind=kind,
        text=text,
        received=arrival.kept.received,
        study=header.study,
        series=header.series,
        instance=header.sop_instance,
        key=arrival.kept.digest.hex(),
        place=arrival.kept.place,
        sender=arrival.sender,
        revision=1,
    )


def _instance(arrival: Arrival) -> Instance:
    header, kept = arrival.header, arrival.kept
    return Instance(
        uid=header.sop_instance,
        study=header.study,
        series=header.series,
        sop_class=header.sop_class,
        transfer_syntax=header.transfer_syntax,
        place=kept.place,
        hash=kept.digest.hex(),
        received=kept.received,
        sender=arrival.sender,
        number=header.number,
        frames=header.frames,
        pixels=header.pixels,
        attributes=header.instance_attributes,
        state=State.KEPT,
        revision=1,
    )


def _add(growth: Growth, arrival: Arrival, instance: Instance) -> None:
    state, header = growth.state, arrival.header
    before = state.series.get(instance.series) or Series(uid=instance.series, study=instance.study, modality="")
    attributes, lead, origins = merge(
        before.attributes, before.lead, before.origins, instance.uid, header.series_attributes
    )
    number = text(attributes, "00200011")
    growth.series[instance.series] = state.series[instance.series] = msgspec.structs.replace(
        before,
        modality=text(attributes, "00080060"),
        number=int(number) if number.removeprefix("-").isdecimal() else None,
        instances=before.instances + 1,
        attributes=attributes,
        lead=lead,
        origins=origins,
    )
    state.study = _with_instance(state, header, instance)
    if state.shown is not None:
        state.shown.setdefault(instance.series, {})[instance.uid] = shown(instance)


def _with_instance(state: StudyState, header: Header, instance: Instance) -> Study:
    before = state.study
    said = {**header.patient, **header.study_attributes}
    uncorrected = {**before.attributes, **before.original} if before.original else before.attributes
    merged, lead, origins = merge(uncorrected, before.lead, before.origins, instance.uid, said)
    original = {tag: merged.get(tag, element) for tag, element in before.original.items()}
    corrected = {tag: before.attributes[tag] for tag in original if tag in before.attributes}
    attributes = merged if not original else {**{k: v for k, v in merged.items() if k not in original}, **corrected}
    return msgspec.structs.replace(
        before,
        patient_id=text(attributes, "00100020"),
        issuer=issuer(attributes),
        modalities=tuple(sorted({one.modality for one in state.series.values() if one.modality and one.instances})),
        sop_classes=tuple(sorted({*before.sop_classes, instance.sop_class})),
        series=sum(1 for one in state.series.values() if one.instances),
        instances=before.instances + 1,
        size=before.size + instance.place.length,
        attributes=attributes,
        original=original,
        lead=lead,
        origins=origins,
        arrived=max(before.arrived, instance.received),
    )


def _number_revisions(growth: Growth, before: StudyState) -> None:
    state = growth.state
    state.study = msgspec.structs.replace(state.study, revision=before.study.revision + 1)
    for uid in growth.series:
        earlier = before.series.get(uid)
        numbered = msgspec.structs.replace(state.series[uid], revision=(earlier.revision if earlier else 0) + 1)
        growth.series[uid] = state.series[uid] = numbered


def _copied(
    shown_before: dict[str, dict[str, Shown]] | None, arrivals: Sequence[Arrival]
) -> dict[str, dict[str, Shown]] | None:
    """Return a copy of which the series that arrivals belong to can be changed."""
    if shown_before is None:
        return None
    touched = {arrival.header.series for arrival in arrivals}
    return {uid: dict(found) if uid in touched else found for uid, found in shown_before.items()}


def _valued(element: Mapping[str, object]) -> bool:
    return any(element.get(key) for key in ("Value", "InlineBinary", "BulkDataURI"))
