"""The query parameters of QIDO-RS (PS3.18 8.3.4 and 10.6.1) as a query of the image index."""

import re
from collections.abc import Sequence

import msgspec
from pydicom.datadict import dictionary_VR, tag_for_keyword

from adapters.dicom.archive.find import BadKey, ImageIndex, ImageQuery, Match
from adapters.dicom.model import Level
from adapters.dicom.web.errors import WebError, invalid
from adapters.dicom.web.routes import Target

#: the most results of one answer; a client that wants more asks with ``offset``
MOST = 5000

_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"
_MODALITY, _MODALITIES = "00080060", "00080061"
#: what every answer has (PS3.18 tables 10.6.3-3 to 10.6.3-5), and descriptions, which every list of studies shows
_STUDY_RETURNS = frozenset(
    ("00080020", "00080030", "00080050", "00080056", _MODALITIES, "00080090", "00080201", "00081030", "00100010",
     "00100020", "00100021", "00100030", "00100040", _STUDY_UID, "00200010", "00201206", "00201208")
)  # fmt: skip
_SERIES_RETURNS = frozenset(
    ("00080056", _MODALITY, "00080201", "0008103E", "00080021", "00080031", _STUDY_UID, _SERIES_UID, "00200011",
     "00201209", "00400244", "00400245", "00400275", "00180015")
)  # fmt: skip
_INSTANCE_RETURNS = frozenset(
    ("00080016", _SOP_UID, "00080056", "00080201", _STUDY_UID, _SERIES_UID, "00200013", "00280010", "00280011",
     "00280100", "00280008")
)  # fmt: skip
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NOT_MATCHED = frozenset(("accept", "multiplevaluematching", "emptyvaluematching"))
_DATE = r"[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?"
_MOMENT = r"[0-9]{4}(?:[0-9]{2}){0,5}(?:\.[0-9]{1,6})?(?:[+-][0-9]{4})?"
_LIST = r"[,\\]"
_TEXT_LIMIT = 1024
_EMPTY = '""'


def _range(point: str) -> str:
    return rf"{point}|{point}-(?:{point})?|-{point}"


#: value representation -> (what a value must be, how that is said)
_FORMS = {
    "DA": (re.compile(_range(_DATE)), "a date YYYYMMDD or a range YYYYMMDD-YYYYMMDD"),
    "TM": (re.compile(_range(_TIME)), "a time HHMMSS or a range HHMMSS-HHMMSS"),
    "DT": (re.compile(_range(_MOMENT)), "a date and time YYYYMMDDHHMMSS or a range"),
    "UI": (re.compile(rf"[0-9.]{{1,64}}(?:{_LIST}[0-9.]{{1,64}})*"), "a UID or UIDs separated by commas"),
    "IS": (re.compile(r"[+-]?[0-9]{1,12}"), "a whole number"),
    "US": (re.compile(r"[0-9]{1,5}"), "a whole number"),
    "DS": (re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"), "a number"),
}


class Search(msgspec.Struct, frozen=True):
    """A query, and the parameters that are not supported and therefore ignored."""

    query: ImageQuery
    ignored: tuple[str, ...] = ()


def read_query(target: Target, parameters: Sequence[tuple[str, str]]) -> Search:
    """Return what is searched; raise 400 that names the parameter whose value is invalid."""
    matches = [Match(path, (uid,)) for path, uid in ((_STUDY_UID, target.study), (_SERIES_UID, target.series)) if uid]
    names: dict[str, str] = {}
    include = set(_returned(target))
    limit, offset, fuzzy, everything = MOST, 0, False, False
    ignored = []
    for name, value in parameters:
        match name.lower():
            case "limit":
                limit = min(_number(name, value), MOST)
            case "offset":
                offset = _number(name, value)
            case "fuzzymatching":
                fuzzy = _truth(name, value)
            case "includefield":
                fields = [field.strip() for field in value.split(",") if field.strip()]
                everything = everything or any(field.lower() == "all" for field in fields)
                paths = {field: _path(field) for field in fields if field.lower() != "all"}
                include.update(path[:8] for path in paths.values() if path)
                ignored += [field[:80] for field, path in paths.items() if not path]
            case other if other in _NOT_MATCHED:
                continue
            case _:
                path = _path(name)
                if not path:
                    ignored.append(name[:80])
                    continue
                include.add(path[:8])
                if values := _values(name, path, value):
                    names[path] = name
                    matches.append(Match(path, values))
    query = ImageQuery(
        level=target.level,
        matches=tuple(matches),
        include=None if everything else frozenset(include),
        fuzzy=fuzzy,
        offset=offset,
        limit=limit,
    )
    try:
        ignored += [names[path] for path in ImageIndex.unsupported(query) if path in names]
    except BadKey as error:
        raise invalid(f"parameter {names.get(error.tag, error.tag)[:80]}: its value cannot be matched") from None
    return Search(query, tuple(dict.fromkeys(ignored)))


def _returned(target: Target) -> frozenset[str]:
    """Return the attributes of the level, and those of levels above that the address does not say."""
    own = {Level.STUDY: _STUDY_RETURNS, Level.SERIES: _SERIES_RETURNS}.get(target.level, _INSTANCE_RETURNS)
    if target.level is Level.IMAGE and not target.series:
        own |= _SERIES_RETURNS
    return own if target.study else own | _STUDY_RETURNS


def _path(name: str) -> str:
    """Return tags for a tag, a keyword or several joined by dots (PS3.18 8.3.4.1); empty if it is none."""
    tags = []
    for part in name.split("."):
        tag = part.upper() if _TAG.fullmatch(part) else None
        if tag is None:
            number = tag_for_keyword(part)
            tag = None if number is None else f"{number:08X}"
        if tag is None:
            return ""
        tags.append(tag)
    return "/".join(tags)


def _values(name: str, path: str, value: str) -> tuple[str, ...]:
    """Return the values asked for, any of which matches; none: any value at all."""
    if value in ("", "*"):
        return ()
    if value == _EMPTY:  # no value at all (PS3.4 C.2.2.2.4)
        return (value,)
    if len(value) > _TEXT_LIMIT:
        raise _refused(name, f"at most {_TEXT_LIMIT} characters")
    try:
        representation = dictionary_VR(int(path.rpartition("/")[2], 16))
    except KeyError:  # a private attribute
        return (value,)
    form = _FORMS.get(representation)
    if form is not None and not form[0].fullmatch(value):
        raise _refused(name, form[1])
    if representation in ("UI", "CS"):
        return tuple(part.strip() for part in re.split(_LIST, value) if part.strip())
    return (value,)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise _refused(name, "a whole number from 0")
    return int(value)


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise _refused(name, "true or false")
    return value.lower() == "true"


def _refused(name: str, expected: str) -> WebError:
    """400 without the value: it may be a patient's."""
    return invalid(f"parameter {name[:80]}: expected {expected}")
