"""Identifiers of C-FIND, C-MOVE and C-GET: what they ask for, and what is wrong with them (PS3.4 C.1.2, C.4)."""

import enum
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from adapters.dicom.archive.find import Found, ImageQuery, Match
from adapters.dicom.dataset import names
from adapters.dicom.dataset.charset_writing import choose
from adapters.dicom.dataset.coding import declared, decode_dataset, encode_dataset, texts
from adapters.dicom.dataset.reader import Malformed
from adapters.dicom.model import Attributes, Level
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Status, answer
from adapters.dicom.network.offers import Request
from adapters.dicom.services.matching import CONTROL, project

#: the unique key of each level (PS3.4 C.6.1.1)
UNIQUE: Final = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.IMAGE: "00080018",
}
_LEVEL: Final = "00080052"
_RETRIEVE_TITLE: Final = "00080054"
_JAPANESE: Final = (
    "ISO 2022 IR 13\\ISO 2022 IR 87",
    "\\ISO 2022 IR 87",
    "ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159",
)
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID: Final = 64


class Model(enum.Enum):
    """The information models and their levels (PS3.4 C.6)."""

    PATIENT_ROOT = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE)
    STUDY_ROOT = (Level.STUDY, Level.SERIES, Level.IMAGE)
    PATIENT_STUDY_ONLY = (Level.PATIENT, Level.STUDY)  # retired, but asked for


class BadIdentifier(Exception):
    """The identifier cannot be answered; ``tag`` is the element that is wrong. No patient's data."""

    def __init__(self, status: int, text: str, tag: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.tag = tag

    def response(self, command: Command) -> Command:
        """Return the response that says so."""
        offending = (self.tag,) if self.tag else None
        return answer(command, self.status, comment=self.text[:64], offending=offending)


class Identifier(msgspec.Struct, frozen=True):
    """A level and its keys."""

    level: Level
    keys: Attributes


def attributes_of(request: Request, association: Association) -> Attributes:
    """Return the data set of a request; raise BadIdentifier."""
    if request.dataset is None:
        raise BadIdentifier(Status.DATA_SET_DOES_NOT_MATCH, "The request has no data set.")
    assumed = association.peer.charset if association.peer is not None else ""
    try:
        return decode_dataset(request.dataset, request.transfer_syntax, assume=assumed or None)
    except Malformed as error:
        raise BadIdentifier(Status.CANNOT_UNDERSTAND, error.text, error.tag) from None


def identifier_of(attributes: Attributes, model: Model) -> Identifier:
    """Return what a query or retrieval asks for; raise BadIdentifier."""
    said = next(iter(attributes.get(_LEVEL, {}).get("Value") or ()), "")
    try:
        level = Level("IMAGE" if str(said).strip() == "INSTANCE" else str(said).strip())
    except ValueError:
        raise BadIdentifier(
            Status.DATA_SET_DOES_NOT_MATCH, "There is no such Query/Retrieve Level.", int(_LEVEL, 16)
        ) from None
    if level not in model.value:
        text = f"The information model has no level {level}."
        raise BadIdentifier(Status.DATA_SET_DOES_NOT_MATCH, text, int(_LEVEL, 16))
    for tag, key in attributes.items():
        if key.get("vr") == "UI":
            _check_uids(tag, key)
    return Identifier(level, {tag: key for tag, key in attributes.items() if tag != _LEVEL})


def query_of(identifier: Identifier, limit: int, *, fuzzy: bool = False) -> ImageQuery:
    """Return the question to the index."""
    return ImageQuery(level=identifier.level, matches=tuple(_matches(identifier.keys)), fuzzy=fuzzy, limit=limit)


def retrieval_of(identifier: Identifier, limit: int) -> ImageQuery:
    """Return the question for what is to be retrieved: unique keys only (PS3.4 C.4.2.1.4.1); raise BadIdentifier."""
    own = UNIQUE[identifier.level]
    values = _values(identifier.keys.get(own, {}))
    if not values or (identifier.level is Level.PATIENT and (len(values) > 1 or set("*?") & set(values[0]))):
        text = f"The unique key of the level {identifier.level} is needed."
        raise BadIdentifier(Status.DATA_SET_DOES_NOT_MATCH, text, int(own, 16))
    found = [Match(tag, given) for tag in UNIQUE.values() if (given := _values(identifier.keys.get(tag, {})))]
    level = Level.STUDY if identifier.level is Level.PATIENT else identifier.level
    return ImageQuery(level=level, matches=tuple(found), limit=limit)


def answer_of(found: Found, identifier: Identifier, title: str) -> Attributes:
    """Return one answer: what was asked for, the level, and the AE title to retrieve it from."""
    unique = {UNIQUE[identifier.level]: {"vr": "LO" if identifier.level is Level.PATIENT else "UI"}}
    made = project(found.attributes, {**unique, **identifier.keys})
    made[_LEVEL] = {"vr": "CS", "Value": [identifier.level.value]}
    made[_RETRIEVE_TITLE] = {"vr": "AE", "Value": [title]}
    return made


def encoded(made: Attributes, request: Request, association: Association) -> bytes:
    """Write an answer in a character set that the caller can read: its own, else what its entry says, else UTF-8."""
    said = declared(request.dataset or b"", request.transfer_syntax)
    known = association.peer.charset if association.peer is not None else ""
    japanese = _JAPANESE if any(f"IR {number}" in f"{said} {known}" for number in (13, 87, 159)) else ()
    charset = choose("".join(texts(made)), *filter(None, (said, known)), *japanese)
    return encode_dataset(made, request.transfer_syntax, charset)


def _matches(keys: Attributes, path: str = "") -> Iterator[Match]:
    for tag, key in keys.items():
        if tag in CONTROL:
            continue
        if key.get("vr") == "SQ":
            for item in (key.get("Value") or ())[:1]:
                yield from _matches(item, f"{path}{tag}/")
        elif values := _values(key):
            yield Match(f"{path}{tag}", values)


def _values(key: Attributes) -> tuple[str, ...]:
    """Return the values of a key as an identifier has them; none for one that matches everything."""
    found = (_text(value) for value in key.get("Value") or ())
    return tuple(text for text in found if text)


def _text(value: Any) -> str:  # a JSON value
    if isinstance(value, dict):
        return names.join(value)
    return "" if value is None else str(value).strip()


def _check_uids(tag: str, key: Attributes) -> None:
    for uid in _values(key):
        if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
            raise BadIdentifier(Status.DATA_SET_DOES_NOT_MATCH, "The key has a value that is no UID.", int(tag, 16))
