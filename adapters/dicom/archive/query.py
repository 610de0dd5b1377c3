"""Questions to the image index, and what they mean as conditions on its rows (attribute matching, PS3.4 C.2.2.2).

A key is matched by what its attribute's value representation allows: universal, single value, list of UIDs, wildcard,
range (of date and time as one, where both are asked), one of several values, items of sequences, and empty values.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from pydicom.datadict import dictionary_VR

from adapters.dicom.archive.fields import HIDDEN, SEARCHED, WHEN, Fields, attribute_fields, canonical
from adapters.dicom.archive.sounds import sound
from adapters.dicom.dataset import levels
from adapters.dicom.dataset.names import fold, parse
from adapters.dicom.model import Attributes, Level
from fhir_server.core.conditions import Test, meaning
from fhir_server.core.tables import AllOf, AnyOf, Between, Condition, In, Like, Missing

_RANGES: Final = frozenset(("DA", "TM", "DT"))
_WILD: Final = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
#: never keys: character set, level, retrieve AE, availability, time zone, and counts
_CONTROL: Final = frozenset(
    ("00080005", "00080052", "00080054", "00080056", "00080201", "00081190",
     "00201200", "00201202", "00201204", "00201206", "00201208", "00201209")
)  # fmt: skip
_COMPUTED: Final = {"00080061": "modalities", "00080062": "sop_classes"}
#: dates that are asked together with a time, and the field of both
_TOGETHER: Final = (("00080020", "00080030", WHEN),)
_IDENTIFIERS: Final = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}
_EMPTY: Final = '""'  # two quotation marks ask for an empty value (PS3.4 C.2.2.2.4)


class BadKey(Exception):
    """A key cannot be matched: its value is none that its attribute can have. ``tag`` is its path."""

    def __init__(self, tag: str, text: str) -> None:
        super().__init__(text)
        self.tag = tag
        self.text = text


class Match(msgspec.Struct, frozen=True):
    """One key. ``tag`` is a path: ``00100010``, ``00400275/00400009``; ``values`` as in an identifier or a query.

    No value, an empty one and ``*`` match everything.
    """

    tag: str
    values: tuple[str, ...] = ()


class ImageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. ``include`` None: every attribute that there is.

    ``order`` by patient, then newest study, series number, instance number. ``fuzzy``: names by any part of them, in
    any script. ``patients`` are references (``Patient/1``) to which the studies must belong; None: all.
    """

    level: Level
    matches: tuple[Match, ...] = ()
    include: frozenset[str] | None = None
    fuzzy: bool = False
    offset: int = 0
    limit: int = 100
    show_rejected: bool = False
    patients: tuple[str, ...] | None = None


class Part(msgspec.Struct, frozen=True):
    """What a level's rows must fulfil: conditions on rows (the first: shown), ids if asked, and tests of attributes."""

    where: tuple[Condition, ...] = ()
    ids: tuple[str, ...] | None = None
    residual: tuple[Condition, ...] = ()
    items: tuple[tuple[str, tuple[Condition, ...]], ...] = ()  # sequence, and what one of its items must fulfil

    @property
    def is_universal(self) -> bool:
        """Whether every row matches (but for what is hidden)."""
        return self.ids is None and not (self.residual or self.items or self.where[1:])

    @property
    def is_exact(self) -> bool:
        """Whether the conditions on rows say all."""
        return not self.residual and not self.items


class Tester:
    """Tests what the conditions on rows do not say; and those too, for rows that were fetched by their ids."""

    def __init__(self, part: Part) -> None:
        self._where = [meaning(one) for one in part.where]
        self._tests: list[Test] = [meaning(one) for one in part.residual]
        self._items = [(tag, [meaning(one) for one in conditions]) for tag, conditions in part.items]

    def row(self, fields: Fields) -> bool:
        """Return whether the conditions on rows hold."""
        return all(test(fields) for test in self._where)

    def attributes(self, attributes: Attributes) -> bool:
        """Return whether attributes match in all that the conditions on rows do not say."""
        if self._tests:
            fields = attribute_fields(attributes, everything=True)
            if not all(test(fields) for test in self._tests):
                return False
        return all(self._item(attributes, tag, tests) for tag, tests in self._items)

    @staticmethod
    def _item(attributes: Attributes, tag: str, tests: Iterable[Test]) -> bool:
        items = [item for item in attributes.get(tag, {}).get("Value") or () if isinstance(item, Mapping)]
        fields = (attribute_fields(dict(item), everything=True) for item in items or ({},))
        return any(all(test(one) for test in tests) for one in fields)


class Plan(msgspec.Struct, frozen=True):
    """A question by levels, and the paths of keys that are not supported and left out."""

    study: Part
    series: Part
    instance: Part
    unsupported: tuple[str, ...] = ()


_SHOWN: Final = Missing(HIDDEN)
_SHOWN_OR_REJECTED: Final = AnyOf((_SHOWN, In(HIDDEN, (1,))))
_INSTANCE_FIELDS: Final = frozenset(("00080016", "00200013"))


def plan(query: ImageQuery) -> Plan:
    """Return what a question means; raise BadKey."""
    sorted_: dict[Level, list[Match]] = {Level.STUDY: [], Level.SERIES: [], Level.IMAGE: []}
    unsupported: list[str] = []
    for given in query.matches:
        match = Match(given.tag.upper().replace(".", "/"), given.values)
        level = _level_of(match.tag)
        if match.tag in _CONTROL or _is_universal(match):
            continue
        if level is None or (query.level in (Level.PATIENT, Level.STUDY) and level in (Level.SERIES, Level.IMAGE)):
            study_field = {"00080060": "00080061", "00080016": "00080062"}.get(match.tag)
            if study_field and query.level is not Level.PATIENT:
                sorted_[Level.STUDY].append(Match(study_field, match.values))
            else:
                unsupported.append(match.tag)
            continue
        if query.level is Level.SERIES and level is Level.IMAGE:
            unsupported.append(match.tag)
            continue
        sorted_[level].append(match)
        if match.tag == "00080060":  # only studies with such series are looked at
            sorted_[Level.STUDY].append(Match("00080061", match.values))
    parts = {level: _part(level, tuple(found), query) for level, found in sorted_.items()}
    return Plan(parts[Level.STUDY], parts[Level.SERIES], parts[Level.IMAGE], tuple(unsupported))


def value_representation(tag: str) -> str:
    """Return the VR of an attribute by its tag (PS3.6), UN if it is unknown."""
    try:
        return dictionary_VR(int(tag, 16)).split(" or ")[0]
    except (KeyError, ValueError):
        return "UN"


def _level_of(path: str) -> Level | None:
    tag = path.partition("/")[0]
    if tag in levels.PATIENT or tag in levels.STUDY or tag in _COMPUTED:
        return Level.STUDY
    if tag in levels.SERIES:
        return Level.SERIES
    return Level.IMAGE if tag in levels.INSTANCE else None


def _is_universal(match: Match) -> bool:
    return all(not value.strip(" ^=") or not value.strip("* ^=") for value in match.values)


def _part(level: Level, matches: Sequence[Match], query: ImageQuery) -> Part:
    where: list[Condition] = [_SHOWN_OR_REJECTED if query.show_rejected else _SHOWN]
    ids: tuple[str, ...] | None = None
    residual: list[Condition] = []
    items: dict[str, list[Condition]] = {}
    rest = list(matches)
    if level is Level.STUDY:
        if query.patients is not None:
            where.append(In("patient", query.patients))
        rest = _period(rest, where)
    for match in rest:
        if match.tag == _IDENTIFIERS[level]:
            ids = tuple(
                dict.fromkeys(uid for value in match.values for uid in value.replace(",", "\\").split("\\") if uid)
            )
            continue
        sequence, _, inner = match.tag.rpartition("/")
        vr = value_representation(inner)
        condition = _condition(match, vr, fuzzy=query.fuzzy)
        if _is_stored(level, match.tag, vr):
            where.append(condition)
        elif not sequence:
            residual.append(condition)
        if sequence:
            items.setdefault(sequence, []).append(_condition(Match(inner, match.values), vr, fuzzy=query.fuzzy))
    return Part(tuple(where), ids, tuple(residual), tuple((tag, tuple(found)) for tag, found in items.items()))


def _is_stored(level: Level, path: str, vr: str) -> bool:
    if level is Level.IMAGE:
        return path in _INSTANCE_FIELDS
    return path in _COMPUTED or vr in SEARCHED


def _condition(match: Match, vr: str, *, fuzzy: bool) -> Condition:
    field = _COMPUTED.get(match.tag, match.tag)
    if _EMPTY in match.values:
        return Missing(field)
    values = [value.strip() for value in match.values]
    if vr == "UI":
        return In(field, tuple(uid for value in values for uid in value.replace(",", "\\").split("\\")))
    found = [_one(field, match.tag, vr, value, fuzzy=fuzzy) for value in values if value]
    if all(isinstance(one, In) for one in found):
        return In(field, tuple(value for one in found if isinstance(one, In) for value in one.values))
    return found[0] if len(found) == 1 else AnyOf(tuple(found))


def _one(field: str, tag: str, vr: str, value: str, *, fuzzy: bool) -> Condition:
    if vr == "PN":
        return _fuzzy_name(field, value) if fuzzy else _name(field, value)
    if vr in _RANGES:
        low, high = limits(tag, vr, value)
        return Between(field, low, high)
    if vr in _WILD and ("*" in value or "?" in value):
        return Like(field, value)
    wanted = canonical(vr, value)
    return In(field, () if wanted is None else (wanted,))


def _name(field: str, value: str) -> Condition:
    """Any group of the key matches any group of a name, without regard to case, width or kind of kana."""
    patterns = [fold(group.replace("^", " ")) for group in parse(value).values()]
    found: list[Condition] = [
        Like(field, pattern) if "*" in pattern or "?" in pattern else In(field, (pattern,))
        for pattern in dict.fromkeys(patterns)
        if pattern
    ]
    return found[0] if len(found) == 1 else AnyOf(tuple(found))


def _fuzzy_name(field: str, value: str) -> Condition:
    """Every word of the key begins a part of the name, as it is written or as it sounds."""
    groups = []
    for group in parse(value).values():
        words = [word.strip("*") for word in fold(group.replace("^", " ").replace(",", " ")).split()]
        groups.append([_word(f"{field}~", word) for word in words if word])
    found = [words for words in groups if words]
    if len(found) == 1 and len(found[0]) == 1:
        return found[0][0]
    return AnyOf(tuple(AllOf(tuple(words)) for words in found))


def _word(field: str, word: str) -> Condition:
    spoken = sound(word)
    written = Like(field, f"{word}*")
    return AnyOf((written, Like(field, f"{spoken}*"))) if spoken and spoken != word else written


def limits(tag: str, vr: str, value: str) -> tuple[str | None, str | None]:
    """Return the first and last value that a date, a time or a range of them means (PS3.4 C.2.2.2.5); raise BadKey."""
    low, dash, high = value.partition("-") if vr != "DT" else _split_moments(value)
    first = _bound(tag, vr, low, last=False) if low.strip() else None
    if not dash:
        return first, _bound(tag, vr, low, last=True)
    return first, _bound(tag, vr, high, last=True) if high.strip() else None


def _split_moments(value: str) -> tuple[str, str, str]:
    """Split a range of DT at its hyphen, which is not that of an offset from UTC."""
    low, dash, high = value.partition("-")
    if dash and len(high) == 4 and high.isdigit() and int(high[:2]) <= 12 and len(low) > 4:
        return value, "", ""
    return low, dash, high


def _bound(tag: str, vr: str, text: str, *, last: bool) -> str:
    digits = text.strip().replace(":", "").replace(".", "") if vr != "DA" else text.strip().replace(".", "")
    if vr == "DT":
        digits = digits.partition("+")[0].partition("-")[0]
    shortest, longest = {"DA": (8, 8), "TM": (2, 12), "DT": (4, 20)}[vr]
    if not digits.isascii() or not digits.isdigit() or not shortest <= len(digits) <= longest:
        raise BadKey(tag, f"{text.strip()[:32]!r} is no {'date' if vr == 'DA' else 'time'} (VR {vr})")
    end = {"TM": "235959999999", "DA": "99999999", "DT": "99991231235959999999"}[vr]
    return digits + (end[len(digits) :] if last else "0" * (longest - len(digits)))


def _period(matches: list[Match], where: list[Condition]) -> list[Match]:
    """Add the condition of date and time as one, and return the other keys.

    From the first day's time to the last day's (PS3.4 C.2.2.2.5.1); without a time the whole of both days.
    """
    by_tag = {match.tag: match for match in matches}
    for date, time, field in _TOGETHER:
        day, at = by_tag.get(date), by_tag.get(time)
        if day is None or len(day.values) != 1 or _EMPTY in day.values:
            continue
        low, high = limits(date, "DA", day.values[0])
        begin, end = "0" * 12, "9" * 12
        ranged = "-" in day.values[0]
        joined = at is not None and len(at.values) == 1 and "-" in at.values[0] and ranged
        if at is not None and joined:
            first, last = limits(time, "TM", at.values[0])
            begin, end = first or begin, last or end
            matches = [match for match in matches if match.tag != time]
        where.append(Between(field, low and low + begin, high and high + end))
        matches = [match for match in matches if match.tag != date]
    return matches
