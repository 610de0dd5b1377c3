"""What a deleted file (condition flag 0) means: what it said is taken back, with history, never lost.

A movement of a visit is taken back by the message that cancels it (A03 deleted is A13: the stay goes on); everything
else by marking what it says as no longer valid.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from adapters.hl7v2.charset import decode
from adapters.hl7v2.er7 import Er7, parse
from adapters.hl7v2.mapping.draft import Element, Mapped, Mode, Node
from adapters.sources import Source
from adapters.ssmix2.contents import contradictions, incomplete
from adapters.ssmix2.kinds import DATA_TYPES
from adapters.ssmix2.names import Flag, NotAName, parse_name
from fhir_server.core.messages import Channel, Finding, Message

#: MSH-9 of a message -> MSH-9 of what takes it back, of ADT messages
CANCELS: Mapping[str, str] = {
    "ADT^A04^ADT_A01": "ADT^A11^ADT_A09",  # an outpatient's visit has no cancel of its own in the storage
    **{
        f"{one.message}^{one.structure}": f"{one.cancel}^{one.cancel_structure}"
        for one in DATA_TYPES.values()
        if one.cancel
    },
}


_DELETED = "file-deleted"


def _entered_in_error(name: str) -> Element:
    system = f"http://terminology.hl7.org/CodeSystem/{name}"
    return {"coding": [{"system": system, "code": "entered-in-error", "display": "Entered in Error"}]}


class Maps(Protocol):
    """Says what a message means; pure."""

    def map(self, er7: Er7, source: Source, received: int) -> Mapped:
        """Return what the message says about resources."""
        ...


class FlagMapper:
    """A mapper that takes back what deleted files say; use it with :func:`read_file`."""

    def __init__(self, mapper: Maps) -> None:
        self._mapper = mapper

    def map(self, er7: Er7, source: Source, received: int) -> Mapped:
        """Return what the message, or the deleted file, says about resources."""
        mapped = self._mapper.map(er7, source, received)
        return taken_back(mapped) if any(one.code == _DELETED for one in er7.findings) else mapped


def read_file(message: Message, source: Source) -> tuple[Er7, tuple[Finding, ...]]:
    """Return the parsed message and what is wrong with its form; of a file also where its name contradicts it."""
    decoded = decode(message.raw, override=source.charset or None)
    if message.origin.channel is not Channel.SSMIX2:
        er7 = parse(decoded.text, join=source.join)
        return er7, (*decoded.findings, *er7.findings)
    deleted = is_deleted(message)
    er7 = parse(as_cancel(decoded.text) if deleted else decoded.text, join=source.join)
    told = (*decoded.findings, *er7.findings, *_about_file(message, er7, deleted=deleted))
    if deleted:
        er7.findings = (*er7.findings, Finding("information", _DELETED, "The file is flagged as deleted."))
    return er7, told


def _about_file(message: Message, er7: Er7, *, deleted: bool) -> list[Finding]:
    """Return what name and content disagree in: it was accepted, by the command or by an operator."""
    try:
        name = parse_name(message.origin.place.rpartition("/")[2])
    except NotAName:
        return []
    if deleted:  # the content was read as what takes it back
        found = contradictions(name, er7, standard=False)
    else:
        found = contradictions(name, er7)
    if (stump := incomplete(message.raw)) is not None:
        found.append(stump)
    return [msgspec.structs.replace(one, severity="warning") for one in found]


def is_deleted(message: Message) -> bool:
    """Tell whether the message is a storage's file with the flag of deletion."""
    return message.origin.channel is Channel.SSMIX2 and message.origin.place.endswith(f"_{Flag.DELETED.value}")


def as_cancel(text: str) -> str:
    """Return the text of an ADT message as that of the message that takes it back; others as they are."""
    header, end, rest = text.partition("\r")
    fields = header.split(header[3:4]) if len(header) > 3 else []
    if len(fields) < 9 or not header.startswith("MSH"):
        return text
    said = "^".join(fields[8].split("^")[:2])
    for update, cancel in CANCELS.items():
        if update.rpartition("^")[0] == said:
            fields[8] = cancel
            return header[3:4].join(fields) + end + rest
    return text


#: what a resource becomes whose message is deleted, where the mapping does not say it
ENDED: Mapping[str, Element] = {
    **{
        name: {"status": "entered-in-error"}
        for name in (
            "MedicationRequest", "MedicationAdministration", "MedicationDispense", "Immunization", "Observation",
            "DiagnosticReport", "Specimen", "ServiceRequest", "Procedure", "NutritionOrder", "DocumentReference",
        )
    },
    "ImagingStudy": {"status": "cancelled"},
    "Condition": {"verificationStatus": _entered_in_error("condition-ver-status")},
    "AllergyIntolerance": {"verificationStatus": _entered_in_error("allergyintolerance-verification")},
}  # fmt: skip


def taken_back(mapped: Mapped) -> Mapped:
    """Return what a deleted file says: the same, as no longer valid."""
    gone = {**{name: dict(members) for name, members in ENDED.items()}, **mapped.gone}
    for draft in mapped.drafts:
        members = gone.get(draft.type)
        if members is not None and draft.mode in (Mode.UPSERT, Mode.REVISE):
            draft.tree = Node({**draft.tree, **members})
            if "verificationStatus" in members and "clinicalStatus" not in members:
                draft.tree.pop("clinicalStatus", None)  # con-5, ait-2: there is none of what was an error
                draft.cleared.append(("clinicalStatus",))
    mapped.gone = {name: members for name, members in gone.items() if name not in ("Condition", "AllergyIntolerance")}
    mapped.gone.update({name: members for name, members in gone.items() if "clinicalStatus" in members})
    mapped.cancels = True
    return mapped
