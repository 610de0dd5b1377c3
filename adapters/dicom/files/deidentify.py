"""De-identification by the Basic Application Level Confidentiality Profile (PS3.15 E.2) with its options (E.3).

The actions are the standard's table, as data in ``profile.csv``. UIDs, pseudonyms and date shifts follow from a secret
key, so that what belonged together still does, and nobody without the key finds the way back. Pixels are not cleaned:
objects that may show a name in the picture are refused.
"""

import csv
import enum
import hashlib
import hmac
import io
from collections.abc import Mapping
from datetime import date, timedelta
from importlib import resources
from typing import Any

import msgspec
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

_BURNED_IN = (  # Secondary Capture, Ultrasound: people type names into these
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
)
_DOCUMENTS = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.", "1.2.840.10008.5.1.4.1.1.11.")
_DATES = frozenset(("DA", "DT", "TM"))
_BIRTH = frozenset((0x00100030, 0x00100032, 0x00100033, 0x00100034))
_DUMMIES: Mapping[str, Any] = {  # by value representation, a value of its type
    "AE": "ANONYMOUS", "AS": "000Y", "CS": "ANONYMOUS", "DA": "19000101", "DT": "19000101000000", "TM": "000000",
    "DS": "0", "IS": "0", "LO": "anonymous", "LT": "anonymous", "PN": "Anonymous", "SH": "anonymous",
    "ST": "anonymous", "UC": "anonymous", "UT": "anonymous", "UR": "urn:anonymous", "FD": 0.0, "FL": 0.0, "SL": 0,
    "SS": 0, "UL": 0, "US": 0, "SV": 0, "UV": 0,
}  # fmt: skip
_LONGEST_SHIFT = 3650  # days


class Unsafe(Exception):
    """The object cannot be de-identified safely; the message says why, without a patient's data."""


class Dates(enum.StrEnum):
    """What becomes of dates (E.3.6). Birth dates never stay."""

    REMOVED = "removed"
    SHIFTED = "shifted"
    KEPT = "kept"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the profile. ``key`` is secret; the same key gives the same pseudonyms."""

    key: bytes
    dates: Dates = Dates.REMOVED
    keep_uids: bool = False
    keep_patient_characteristics: bool = False
    keep_device: bool = False
    keep_institution: bool = False
    keep_descriptions: bool = False  # cleaned of the patient's names and numbers
    accept_pixels: bool = False  # also where the picture may show a name


class Deidentifier:
    """De-identifies objects of any patients with one set of options."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._profile = _profile()
        wanted = {
            "patient": options.keep_patient_characteristics,
            "device": options.keep_device,
            "institution": options.keep_institution,
        }
        self._kept = frozenset(name for name, is_wanted in wanted.items() if is_wanted)

    def file(self, content: bytes) -> bytes:
        """Return the DICOM file without the patient; raise Unsafe."""
        dataset = pydicom.dcmread(io.BytesIO(content))
        self._check(dataset)
        patient = f"{dataset.get('PatientID', '')}^{dataset.get('IssuerOfPatientID', '')}"
        told = _told(dataset)
        self._clean(dataset, patient, told)
        self._mark(dataset, patient)
        if not self._options.keep_uids:
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for name in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "PrivateInformation"):
            if name in dataset.file_meta:
                del dataset.file_meta[name]
        dataset.preamble = bytes(128)
        written = io.BytesIO()
        dataset.save_as(written, enforce_file_format=True)
        return written.getvalue()

    def uid(self, uid: str) -> str:
        """Return the UID that stands for this one (PS3.5 B.2)."""
        if self._options.keep_uids or not uid:
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def pseudonym(self, patient: str) -> str:
        """Return the Patient ID that stands for this patient."""
        return f"P{self._digest('patient', patient).hex()[:12].upper()}"

    def shift(self, patient: str) -> timedelta:
        """Return by how much this patient's dates move: back, by at least a day."""
        number = int.from_bytes(self._digest("shift", patient)[:4], "big")
        return timedelta(days=-(1 + number % _LONGEST_SHIFT))

    def _digest(self, what: str, value: str) -> bytes:
        return hmac.digest(self._options.key, f"{what} {value}".encode(), hashlib.sha256)

    def _check(self, dataset: Dataset) -> None:
        sop_class = str(dataset.get("SOPClassUID", ""))
        if sop_class.startswith(_DOCUMENTS):
            raise Unsafe("a document, a report or a presentation state: its content cannot be cleaned")
        burned = str(dataset.get("BurnedInAnnotation", "")).upper()
        suspect = burned == "YES" or (burned != "NO" and any(_is_a(sop_class, one) for one in _BURNED_IN))
        if suspect and not self._options.accept_pixels:
            raise Unsafe("the picture may show the patient's name (Burned In Annotation (0028,0301) is not NO)")

    def _clean(self, dataset: Dataset, patient: str, told: frozenset[str]) -> None:
        for tag in list(dataset.keys()):
            if tag.is_private:
                del dataset[tag]
                continue
            action = self._action(tag)
            if action is None:
                element = dataset[tag]
                if element.VR == "SQ":
                    for item in element.value or ():
                        self._clean(item, patient, told)
                continue
            self._act(dataset, tag, action, patient, told)

    def _action(self, tag: BaseTag) -> str | None:
        action = self._profile.of(tag)
        return None if action is not None and self._profile.options.get(int(tag)) in self._kept else action

    def _act(self, dataset: Dataset, tag: BaseTag, action: str, patient: str, told: frozenset[str]) -> None:
        element = dataset[tag]
        if element.VR in _DATES and int(tag) not in _BIRTH and self._keeps_date(element, patient):
            return
        cleanable = self._options.keep_descriptions and self._profile.options.get(int(tag)) == "description"
        if cleanable and isinstance(element.value, str):
            element.value = _without(element.value, told)
            return
        match action:
            case "X":
                del dataset[tag]
            case "U" | "X/Z/U*":
                self._map(dataset, element, patient, told)
            case "Z" | "X/Z":
                dataset[tag] = DataElement(tag, element.VR, Sequence() if element.VR == "SQ" else None)
            case _:  # where the standard leaves a choice, a value keeps the object valid whatever its type there
                dataset[tag] = DataElement(tag, element.VR, _dummy(element.VR))

    def _map(self, dataset: Dataset, element: DataElement, patient: str, told: frozenset[str]) -> None:
        if element.VR == "SQ":
            for item in element.value or ():
                self._clean(item, patient, told)
        elif element.VR == "UI":
            values = [element.value] if element.VM <= 1 else list(element.value)
            mapped = [self.uid(str(value)) for value in values if value]
            element.value = mapped[0] if len(mapped) == 1 else mapped
        else:
            dataset[element.tag] = DataElement(element.tag, element.VR, _dummy(element.VR))

    def _keeps_date(self, element: DataElement, patient: str) -> bool:
        """Leave the date or time in the element, moved if so wished; tell if it stays."""
        if self._options.dates is Dates.REMOVED:
            return False
        if self._options.dates is Dates.SHIFTED and element.VR != "TM":
            values = [element.value] if element.VM <= 1 else list(element.value)
            moved = [_moved(str(value), self.shift(patient)) for value in values if value]
            if None in moved:
                return False
            element.value = moved[0] if len(moved) == 1 else moved
        return True

    def _mark(self, dataset: Dataset, patient: str) -> None:
        options = self._options
        dataset.PatientID = dataset.PatientName = self.pseudonym(patient)
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "DICOM PS3.15 E.2 Basic Application Level Confidentiality Profile"
        codes = [("113100", "Basic Application Confidentiality Profile")]
        chosen = (
            (options.keep_descriptions, "113105", "Clean Descriptors Option"),
            (options.dates is Dates.KEPT, "113106", "Retain Longitudinal Temporal Information Full Dates Option"),
            (
                options.dates is Dates.SHIFTED,
                "113107",
                "Retain Longitudinal Temporal Information Modified Dates Option",
            ),
            (options.keep_patient_characteristics, "113108", "Retain Patient Characteristics Option"),
            (options.keep_device, "113109", "Retain Device Identity Option"),
            (options.keep_uids, "113110", "Retain UIDs Option"),
            (options.keep_institution, "113112", "Retain Institution Identity Option"),
        )
        codes += [(code, meaning) for wanted, code, meaning in chosen if wanted]
        dataset.DeidentificationMethodCodeSequence = Sequence([_code(*code) for code in codes])
        dataset.LongitudinalTemporalInformationModified = {
            Dates.REMOVED: "REMOVED",
            Dates.SHIFTED: "MODIFIED",
            Dates.KEPT: "UNMODIFIED",
        }[options.dates]


class _Profile(msgspec.Struct, frozen=True):
    """The table: actions by tag, of repeating groups by group and element (None: all), and options by tag."""

    actions: Mapping[int, str]
    repeating: Mapping[int, Mapping[int | None, str]]
    options: Mapping[int, str]

    def of(self, tag: BaseTag) -> str | None:
        """Return the action for an attribute."""
        elements = self.repeating.get(tag.group & 0xFF00, {})
        return self.actions.get(int(tag)) or elements.get(tag.element) or elements.get(None)


def _profile() -> _Profile:
    text = resources.files("adapters.dicom.files").joinpath("profile.csv").read_text(encoding="utf-8")
    actions: dict[int, str] = {}
    repeating: dict[int, dict[int | None, str]] = {}
    options: dict[int, str] = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        tag = row["tag"]
        if "x" in tag:
            element = None if tag[4:] == "xxxx" else int(tag[4:], 16)
            repeating.setdefault(int(f"{tag[:2]}00", 16), {})[element] = row["action"]
            continue
        actions[int(tag, 16)] = row["action"]
        if row["option"]:
            options[int(tag, 16)] = row["option"]
    return _Profile(actions, repeating, options)


def _is_a(sop_class: str, root: str) -> bool:
    return sop_class == root or sop_class.startswith(f"{root}.")


def _dummy(representation: str) -> Any:  # a value of that representation's type
    if representation == "SQ":
        return Sequence()
    if representation == "UI":
        return "2.25.0"
    return _DUMMIES.get(representation, b"\0\0")


def _told(dataset: Dataset) -> frozenset[str]:
    """Return the words by which the patient could be known in a free text."""
    words = [str(dataset.get(name, "")) for name in ("PatientID", "PatientBirthDate", "AccessionNumber")]
    words += str(dataset.get("PatientName", "")).replace("=", "^").split("^")
    return frozenset(word.strip() for word in words if len(word.strip()) > 1)


def _without(text: str, told: frozenset[str]) -> str:
    low = text
    for word in sorted(told, key=len, reverse=True):
        place = low.casefold().find(word.casefold())
        while place >= 0:
            low = low[:place] + low[place + len(word) :]
            place = low.casefold().find(word.casefold())
    return " ".join(low.split())


def _moved(value: str, shift: timedelta) -> str | None:
    """Return a DA or DT value moved by whole days; None where it has no day."""
    try:
        day = date(int(value[:4]), int(value[4:6]), int(value[6:8])) + shift
    except (ValueError, OverflowError):
        return None
    return f"{day:%Y%m%d}{value[8:]}"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
