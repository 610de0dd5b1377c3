"""What studies, series and instances can be asked for: the searchable fields of their rows, and the rows' tables.

A field is named by its attribute's tag as in DICOM JSON (``00100020``), inside a sequence by both tags
(``00400275/00400009``). ``~`` after the tag of a person's name: what fuzzy matching looks at. Values are in the form
of :func:`canonical`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from adapters.dicom.archive.sounds import sound
from adapters.dicom.dataset.names import GROUPS, fold
from adapters.dicom.model import Attributes, Instance, Series, State, Study
from fhir_server.core.tables import TableLayout, Value

STUDY = "dicom.study"
SERIES = "dicom.series"
INSTANCE = "dicom.instance"
PACK = "dicom.pack"
WORK = "dicom.work"
METADATA = "dicom.series-metadata"
FOLLOWED = "dicom.followed"

#: when a study began, as 14 to 20 digits: date and time in one
WHEN = "when"
#: on what is not shown: 1 a study or series without instances, or an instance rejected for its quality; 2 any other
HIDDEN = "hidden"
#: Rejected for Quality Reasons (PS3.16 CID 7011, IHE RAD IOCM): such instances can still be asked for
QUALITY = "113001"

LAYOUTS = (
    TableLayout(
        STUDY,
        (
            (f"-{WHEN}",),
            ("00100020", f"-{WHEN}"),
            ("patient", f"-{WHEN}"),
            ("modalities", f"-{WHEN}"),
            ("00080050",),
            ("00100010",),
            ("00100010~",),
            ("arrived",),
        ),
    ),
    TableLayout(SERIES, (("study",),)),
    TableLayout(INSTANCE, (("study", "series"), ("series", "00200013"))),
    TableLayout(PACK, (("open",),)),
    TableLayout(WORK, (("state", "received"), ("study",), ("kind", "state"))),
    TableLayout(METADATA, (("study",),)),
    TableLayout(FOLLOWED),
)

#: value representations whose values are in rows (PS3.5 6.2); others are looked at when rows have been found
SEARCHED = frozenset(("AE", "AS", "CS", "DA", "DS", "IS", "LO", "PN", "SH", "TM", "UI"))
_LONGEST = 256
_NOT_DIGITS = re.compile("[^0-9]+")
_LARGEST = 2**63 - 1

Fields = dict[str, Value | tuple[Value, ...]]


def study_fields(study: Study) -> Fields:
    """Return what a study can be asked for by."""
    fields = attribute_fields(study.attributes)
    fields["modalities"] = study.modalities
    fields["sop_classes"] = study.sop_classes
    fields["arrived"] = study.arrived
    began = moment(study.attributes, "00080020", "00080030")
    if began:
        fields[WHEN] = began
    if study.patient:
        fields["patient"] = study.patient
    if not study.instances:
        fields[HIDDEN] = 1
    return fields


def series_fields(series: Series) -> Fields:
    """Return what a series can be asked for by."""
    fields = attribute_fields(series.attributes)
    fields["study"] = series.study
    if series.number is not None:
        fields["00200011"] = series.number
    if not series.instances:
        fields[HIDDEN] = 1
    return fields


def instance_fields(instance: Instance) -> Fields:
    """Return what an instance can be asked for by; few, as there are many instances."""
    fields: Fields = {"study": instance.study, "series": instance.series, "00080016": instance.sop_class}
    if instance.number is not None:
        fields["00200013"] = instance.number
    if instance.state is not State.KEPT:
        fields[HIDDEN] = 1 if instance.rejection == QUALITY else 2
    return fields


def attribute_fields(attributes: Attributes, *, everything: bool = False) -> Fields:
    """Return the searchable values of attributes and of those one sequence deep; ``everything``: of all kinds."""
    fields: Fields = {}
    for tag, element in attributes.items():
        vr = element.get("vr", "")
        if vr == "SQ":
            _add_items(fields, tag, element, everything)
        elif vr in SEARCHED or everything:
            _add(fields, tag, vr, element)
    return fields


def canonical(vr: str, value: object) -> Value | None:
    """Return a value in the form in which it is compared, None for none.

    Dates are 8 digits and times 12, numbers without leading zeros, texts without blanks around them.
    """
    text = str(value).strip(" \0\t\r\n")
    if not text:
        return None
    match vr:
        case "DA":
            return _NOT_DIGITS.sub("", text)[:8] or None
        case "TM":
            digits = _NOT_DIGITS.sub("", text)
            return digits[:12].ljust(12, "0") if digits else None
        case "DT":
            digits = _NOT_DIGITS.sub("", re.split("[+-]", text, maxsplit=1)[0])
            return digits[:20].ljust(20, "0") if digits else None
        case "IS" | "SL" | "SS" | "UL" | "US" | "SV" | "UV":
            return _whole(text)
        case "DS" | "FL" | "FD":
            return _decimal(text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def moment(attributes: Attributes, date: str, time: str) -> str:
    """Return date and time as 20 digits; empty without a date."""
    day = canonical("DA", first(attributes, date) or "")
    at = canonical("TM", first(attributes, time) or "") or "0" * 12
    return f"{day}{at}" if isinstance(day, str) and len(day) == 8 else ""


def first(attributes: Attributes, tag: str) -> Any:  # a JSON value
    """Return the first value of an attribute, None for none."""
    values = attributes.get(tag, {}).get("Value")
    return values[0] if values else None


def whole_names(value: Mapping[str, str]) -> Iterator[str]:
    """Yield each group of a name, folded, its components with single blanks between them."""
    for group in GROUPS:
        if text := fold((value.get(group) or "").replace("^", " ")):
            yield text


def fuzzy_names(value: Mapping[str, str]) -> Iterator[str]:
    """Yield what a name may be typed as: every component, the group without blanks, and how they sound."""
    for name in whole_names(value):
        parts = name.split(" ")
        for text in (*parts, "".join(parts)):
            yield text
            if spoken := sound(text):
                yield spoken


def _add_items(fields: Fields, tag: str, element: Attributes, everything: bool) -> None:
    for item in element.get("Value") or ():
        if not isinstance(item, Mapping):
            continue
        for inner, found in item.items():
            vr = found.get("vr", "")
            if vr in SEARCHED or (everything and vr != "SQ"):
                _add(fields, f"{tag}/{inner}", vr, found)


def _add(fields: Fields, name: str, vr: str, element: Attributes) -> None:
    values = [value for value in element.get("Value") or () if value is not None]
    if vr == "PN":
        people = [value for value in values if isinstance(value, Mapping)]
        _extend(fields, name, [text for one in people for text in whole_names(one)])
        _extend(fields, f"{name}~", [text for one in people for text in fuzzy_names(one)])
        return
    found = [one for value in values if (one := canonical(vr, value)) is not None]
    _extend(fields, name, [one for one in found if not isinstance(one, str) or len(one) <= _LONGEST])


def _extend(fields: Fields, name: str, values: list[Any]) -> None:
    before = fields.get(name, ())
    merged = tuple(dict.fromkeys((*(before if isinstance(before, tuple) else (before,)), *values)))
    if merged:
        fields[name] = merged[0] if len(merged) == 1 else merged


def _whole(text: str) -> Value:
    try:
        number = int(text)
    except ValueError:
        return text
    return number if abs(number) <= _LARGEST else text


def _decimal(text: str) -> Value:
    try:
        return repr(float(text))
    except ValueError:
        return text
