"""A structured report as DiagnosticReport and Observations (TID 1500 and basic text; PS3.16, PS3.20).

Every measurement and every coded finding becomes an Observation with the concept, unit and site of its own row; the
whole tree stands as plain text in the report, so that nothing a reader needs is only in the DICOM object.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.dicom.fhir import content
from adapters.dicom.fhir.about import About, Resource, as_instant, uid_identifier
from adapters.dicom.fhir.codes import coding, first, items, system_of, text
from adapters.dicom.fhir.content import Item
from adapters.dicom.model import Attributes

RADIOLOGY = {"system": "http://loinc.org", "code": "LP29684-5", "display": "Radiology"}
_CONCLUSIONS = ("121073", "121077", "111023")  # Impression, Conclusion, Overall assessment's text
_CONCLUSION_CONTAINERS = ("121072", "121076")  # Impressions, Conclusions
_FINDINGS = ("121071", "121069", "121110")
_SITE = ("363698007", "G-C0E3")
_LATERALITY = ("272741003", "G-C171")
_METHOD = ("370129005", "G-C036")
_TRACKING = ("112039", "112040")
_GROUP_CONTEXT = (*_SITE, *_LATERALITY, *_METHOD, *_TRACKING, "121071", "121049", "122712")
_CONTEXT = ("HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT")
_MOST_OBSERVATIONS = 2_000


def resources(attributes: Attributes, about: About) -> list[Resource]:
    """Return the DiagnosticReport and its Observations; raise :class:`~content.TooLarge`."""
    root = content.read(attributes)
    observations = [made for row in _rows(root, ()) if (made := _observation(row, attributes, about))]
    return [_report(root, attributes, about, observations[:_MOST_OBSERVATIONS]), *observations[:_MOST_OBSERVATIONS]]


def status(attributes: Attributes) -> str:
    """Return the status of a document (PS3.3 C.17.2): what is complete but not verified is preliminary."""
    if text(attributes, "0040A491") == "PARTIAL":
        return "partial"
    if text(attributes, "0040A496") == "PRELIMINARY":
        return "preliminary"
    return "final" if text(attributes, "0040A493") == "VERIFIED" or text(attributes, "0040A496") else "preliminary"


def measured(item: Item) -> Resource | None:
    """Return the quantity of a NUM item; None where it has no number."""
    try:
        value = Decimal(item.number)
    except InvalidOperation:
        return None
    if not value.is_finite():
        return None
    quantity: Resource = {"value": value}
    unit = item.unit
    code, system = text(unit, "00080100"), system_of(text(unit, "00080102"))
    if code and system:
        quantity.update(system=system, code=code)
    if shown := item.unit_text:
        quantity["unit"] = shown
    return quantity


def observers(attributes: Attributes) -> list[Resource]:
    """Return who verified the document, as references with a display."""
    found = []
    for item in items(attributes, "0040A073"):
        name = first(item, "0040A075") or {}
        shown = next((str(name[group]).replace("^", " ").strip() for group in name_groups(name)), "")
        organization = text(item, "0040A027")
        display = f"{shown} ({organization})" if shown and organization else shown or organization
        if display:
            found.append({"display": display})
    return found


def name_groups(name: Mapping[str, Any]) -> Sequence[str]:
    """Return the groups of a person name that hold something, the one to be shown first."""
    return [group for group in ("Ideographic", "Alphabetic", "Phonetic") if str(name.get(group, "")).strip("^ ")]


def _report(root: Item, attributes: Attributes, about: About, observations: Sequence[Resource]) -> Resource:
    whole = content.plain(root)
    when = about.content_time(attributes)
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "id": about.id_of("DiagnosticReport"),
        "text": {"status": "generated", "div": _narrative(whole)},
        "identifier": [uid_identifier(about.instance)],
        **about.common(),
        "status": status(attributes),
        "category": [{"coding": [RADIOLOGY]}],
        "code": root.name or {"text": "Structured report"},
        "imagingStudy": [{"reference": about.imaging_study}],
        "presentedForm": [
            {
                "contentType": "text/plain; charset=utf-8",
                "data": base64.b64encode(whole.encode()).decode(),
                "title": (root.name or {}).get("text") or "Structured report",
            }
        ],
    }
    if when:
        report["effectiveDateTime"] = when
    verified = [text(item, "0040A030") for item in items(attributes, "0040A073")]
    issued = as_instant(about.point(max(verified, default="")) or when)
    if issued:
        report["issued"] = issued
    if interpreters := observers(attributes):
        report["resultsInterpreter"] = interpreters
    if observations:
        report["result"] = [{"reference": f"Observation/{one['id']}"} for one in observations]
    if conclusion := "\n".join(_conclusions(root)):
        report["conclusion"] = conclusion
    return report


def _narrative(whole: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml"><pre>{html.escape(_printable(whole), quote=False)}</pre></div>'


def _printable(whole: str) -> str:
    return "".join(character for character in whole if character in "\n\t" or character >= " ")


def _conclusions(root: Item) -> list[str]:
    found = []
    for item in root.walk():
        if item.is_(*_CONCLUSION_CONTAINERS) and item.type == "CONTAINER":
            found += [child.text for child in item.children if child.type in ("TEXT", "CODE") and child.text]
        elif item.is_(*_CONCLUSIONS) and item.type in ("TEXT", "CODE") and item.text:
            found.append(item.text)
    return list(dict.fromkeys(found))


def _rows(item: Item, around: tuple[Item, ...]) -> list[tuple[Item, tuple[Item, ...]]]:
    """Return the items that say something of the patient, each with the items around it."""
    found: list[tuple[Item, tuple[Item, ...]]] = []
    for child in item.children:
        if child.relation in _CONTEXT:
            continue
        if (
            child.type == "NUM"
            or (child.type == "CODE" and not child.is_(*_GROUP_CONTEXT[:-3]))
            or (child.type == "TEXT" and child.is_(*_FINDINGS))
        ):
            found.append((child, (*around, item)))
        found += _rows(child, (*around, item))
    return found


def _observation(row: tuple[Item, tuple[Item, ...]], attributes: Attributes, about: About) -> Resource | None:
    item, around = row
    value = _value(item)
    if item.name is None or value is None:
        return None
    made: Resource = {
        "resourceType": "Observation",
        "id": about.id_of("Observation", item.path),
        **about.common(),
        "status": "final" if status(attributes) == "final" else "preliminary",
        "code": item.name,
        **value,
    }
    if when := about.content_time(attributes):
        made["effectiveDateTime"] = when
    made["partOf"] = [{"reference": about.imaging_study}]
    _place(made, item, around)
    return made


def _value(item: Item) -> Resource | None:
    match item.type:
        case "NUM":
            if quantity := measured(item):
                return {"valueQuantity": quantity}
            missing = items(item.attributes, "0040A301")
            reason = coding(missing[0]) if missing else None
            return {"dataAbsentReason": {"coding": [reason]}} if reason else None
        case "CODE":
            return {"valueCodeableConcept": value} if (value := item.concept) else None
        case "TEXT":
            return {"valueString": item.text} if item.text else None
    return None


def _place(made: Resource, item: Item, around: tuple[Item, ...]) -> None:
    """Say where it was measured, how, and of which lesion: the row itself first, then the groups around it."""
    near = (item, *reversed(around))
    site = _said(near, _SITE)
    if site and (value := site.concept):
        side = site.find(*_LATERALITY) or _said(near, _LATERALITY)
        if side and (sided := side.concept):
            value = {**value, "coding": value["coding"] + sided["coding"]}
        made["bodySite"] = value
    method = _said(near, _METHOD)
    if method and (how := method.concept):
        made["method"] = how
    tracked = _said(near, ("112040",))
    if tracked and tracked.text:
        made["identifier"] = [uid_identifier(tracked.text)]
    label = _said(near, ("112039",))
    if label and label.text:
        made["note"] = [{"text": label.text}]


def _said(near: Sequence[Item], codes: tuple[str, ...]) -> Item | None:
    return next((found for item in near if (found := item.find(*codes))), None)
