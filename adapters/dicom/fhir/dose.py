"""Radiation dose reports as Observations (PS3.16 TID 10001, 10011; HL7 Radiation Dose Summary 1.0.0).

One summary Observation (LOINC 73569-6) of the study with the totals as components, and one for each irradiation event.
"""

from collections.abc import Mapping

from adapters.dicom.fhir import content
from adapters.dicom.fhir.about import About, Resource, uid_identifier
from adapters.dicom.fhir.content import Item
from adapters.dicom.fhir.structured import measured
from adapters.dicom.model import Attributes

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_GUIDE = "http://hl7.org/fhir/uv/radiation-dose-summary"
_SUMMARY = {"system": "http://loinc.org", "code": "73569-6", "display": "Radiation exposure and protection information"}
_EVENT = {"system": _DCM, "code": "113852", "display": "Irradiation Event"}
_PROCEDURE = {"system": _DCM, "code": "121058", "display": "Procedure reported"}
_TOTALS = {
    "113813": "CT Dose Length Product Total",
    "113812": "Total Number of Irradiation Events",
    "113722": "Dose Area Product Total",
    "113725": "Dose (RP) Total",
    "111637": "Accumulated Average Glandular Dose",
    "113726": "Fluoro Dose Area Product Total",
    "113727": "Acquisition Dose Area Product Total",
    "113730": "Total Fluoro Time",
    "113731": "Total Number of Radiographic Frames",
}
_OF_EVENT = {
    "113830": "Mean CTDIvol",
    "113838": "DLP",
    "113839": "Effective Dose",
    "122130": "Dose Area Product",
    "113738": "Dose (RP)",
    "111631": "Average Glandular Dose",
}
_ACCUMULATED = ("113811", "113702")  # CT Accumulated Dose Data, Accumulated X-Ray Dose Data
_EVENTS = ("113819", "113706")  # CT Acquisition, Irradiation Event X-Ray Data
_REGION = "123014"
_PHANTOM = "113835"
_EVENT_UID = "113769"
_EVENT_START = "111526"
_START = "113809"
_PROTOCOL = ("125203", "113764")


def resources(attributes: Attributes, about: About) -> list[Resource]:
    """Return the summary and the events; raise :class:`~content.TooLarge`."""
    root = content.read(attributes)
    events = [_event(item, attributes, about) for item in root.walk() if item.is_(*_EVENTS)]
    return [_summary(root, attributes, about, events), *events]


def _summary(root: Item, attributes: Attributes, about: About, events: list[Resource]) -> Resource:
    start = root.find(_START)
    when = (about.point(start.text) if start else None) or about.content_time(attributes)
    made: Resource = {
        "resourceType": "Observation",
        "id": about.id_of("Observation", "dose"),
        "identifier": [{"type": _kind("sop-instance-uid", "SOP Instance UID"), **uid_identifier(about.instance)}],
        **about.common(),
        "partOf": [
            {
                "reference": about.imaging_study,
                "identifier": {
                    "type": _kind("study-instance-uid", "Study Instance UID"),
                    **uid_identifier(about.study),
                },
            }
        ],
        "status": "final",
        "code": {"coding": [_SUMMARY]},
    }
    if when:
        made["effectiveDateTime"] = when
    procedure = root.find("121058")
    components: list[Resource] = []
    if procedure and (reported := procedure.concept):
        components.append({"code": {"coding": [_PROCEDURE]}, "valueCodeableConcept": reported})
    for item in root.walk():
        if item.is_(*_ACCUMULATED):
            components += _components(item, _TOTALS)
    if components:
        made["component"] = components
    if events:
        made["hasMember"] = [{"reference": f"Observation/{event['id']}"} for event in events]
    return made


def _event(item: Item, attributes: Attributes, about: About) -> Resource:
    start = _below(item, _EVENT_START)
    when = (about.point(start.text) if start else None) or about.content_time(attributes)
    made: Resource = {
        "resourceType": "Observation",
        "id": about.id_of("Observation", item.path),
        **about.common(),
        "partOf": [{"reference": about.imaging_study}],
        "status": "final",
        "code": {"coding": [_EVENT]},
    }
    uid = _below(item, _EVENT_UID)
    if uid and uid.text:
        kind = _kind("irradiation-event-uid", "Irradiation Event UID")
        made["identifier"] = [{"type": kind, **uid_identifier(uid.text)}]
    if when:
        made["effectiveDateTime"] = when
    region = _below(item, _REGION)
    if region and (where := region.concept):
        made["bodySite"] = where
    protocol = _below(item, *_PROTOCOL)
    if protocol and protocol.text:
        made["note"] = [{"text": protocol.text}]
    components = _components(item, _OF_EVENT)
    phantom = _below(item, _PHANTOM)
    if phantom and (which := phantom.concept):
        code = {"coding": [{"system": _DCM, "code": _PHANTOM, "display": "CTDIw Phantom Type"}]}
        components.append({"code": code, "valueCodeableConcept": which})
    if components:
        made["component"] = components
    return made


def _components(item: Item, wanted: Mapping[str, str]) -> list[Resource]:
    found: list[Resource] = []
    for below in item.walk():
        display = wanted.get(below.code.value) if below.type == "NUM" else None
        quantity = measured(below) if display else None
        if quantity is not None:
            code = {"coding": [{"system": _DCM, "code": below.code.value, "display": display}]}
            found.append({"code": code, "valueQuantity": quantity})
    return found


def _below(item: Item, *codes: str) -> Item | None:
    return next((below for below in item.walk() if below is not item and below.is_(*codes)), None)


def _kind(code: str, display: str) -> Resource:
    return {"coding": [{"system": f"{_GUIDE}/CodeSystem/dicom-identifier-type", "code": code, "display": display}]}
