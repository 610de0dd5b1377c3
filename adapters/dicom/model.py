"""The vocabulary of the image archive: objects as they come in, are kept and are found (DICOM PS3.3, PS3.4 C.6)."""

import enum
from typing import Any

import msgspec

#: attributes in the DICOM JSON model (PS3.18 F.2): ``{"00100010": {"vr": "PN", "Value": [{"Alphabetic": …}]}}``
Attributes = dict[str, Any]  # JSON


class Level(enum.StrEnum):
    """The query/retrieve levels (0008,0052)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


class Way(enum.StrEnum):
    """By which way an object came."""

    DIMSE = "dimse"
    STOW = "stow"
    FILE = "file"


class Sender(msgspec.Struct, frozen=True):
    """Who sent it. ``name`` is the calling AE title, or what a user calls the import; ``address`` the peer's."""

    way: Way
    name: str = ""
    called: str = ""
    address: str = ""
    certificate: str = ""  # SHA-256 of the peer's certificate, hex


class Place(msgspec.Struct, frozen=True):
    """Where the bytes of a DICOM file (PS3.10: preamble to last element) lie: ``length`` from ``offset`` in a pack."""

    pack: str
    offset: int
    length: int


class Pixels(msgspec.Struct, frozen=True):
    """Where the pixel data element's value lies in the DICOM file. ``length`` -1: encapsulated (PS3.5 A.4)."""

    tag: int
    offset: int
    length: int


class State(enum.StrEnum):
    """What has become of an instance. REJECTED is hidden by a rejection note (IHE RAD IOCM), its bytes are kept."""

    KEPT = "kept"
    REJECTED = "rejected"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One composite object. ``attributes`` are those that queries return at this level.

    ``hash`` is SHA-256 of the file; ``received`` is in ms since 1970 UTC.
    """

    uid: str
    study: str
    series: str
    sop_class: str
    transfer_syntax: str
    place: Place
    hash: str
    received: int
    sender: Sender
    number: int | None = None
    frames: int = 0  # 0: no pixels
    pixels: Pixels | None = None
    attributes: Attributes = {}
    state: State = State.KEPT
    rejection: str = ""  # the rejection note's title (PS3.16 CID 7011), where it is rejected
    revision: int = 0


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One series. ``instances`` counts those that are shown. ``revision`` changes with every instance.

    ``attributes`` are those of the instance with the least UID, ``lead``; ``origins`` says by tag which instance gave
    what that one does not have. So they do not depend on the order in which instances come.
    """

    uid: str
    study: str
    modality: str
    number: int | None = None
    instances: int = 0
    attributes: Attributes = {}
    lead: str = ""
    origins: dict[str, str] = {}
    revision: int = 0


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """One study with its patient, as the images say it, corrected by reconciliation (``attributes`` has the result).

    ``patient`` and ``imaging_study`` are references (``Patient/…``, ``ImagingStudy/…``) once they are known.
    """

    uid: str
    patient_id: str = ""
    issuer: str = ""
    modalities: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    series: int = 0
    instances: int = 0
    size: int = 0  # bytes
    attributes: Attributes = {}
    original: Attributes = {}  # what reconciliation replaced
    lead: str = ""  # as in Series
    origins: dict[str, str] = {}
    patient: str = ""
    imaging_study: str = ""
    arrived: int = 0  # ms since 1970 UTC, the last instance
    revision: int = 0


class Fate(enum.StrEnum):
    """What the archive did with an object."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same bytes are here already
    CONFLICT = "conflict"  # other bytes have its SOP Instance UID: kept apart, a work item
    REFUSED = "refused"  # not kept: ``problem`` says why


class Refusal(enum.StrEnum):
    """Why an object is not kept, in the words of PS3.4 B.2.3 and PS3.18 I.2.2."""

    MALFORMED = "cannot understand"  # C000
    MISMATCH = "data set does not match SOP class"  # A900
    OUT_OF_RESOURCES = "out of resources"  # A700
    NOT_ALLOWED = "not authorized"  # 0124


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The archive's answer for one object. STORED, DUPLICATE and CONFLICT say: the bytes survive power loss.

    ``text`` never has a patient's data; ``tag`` is the attribute that is wrong (0 if it is none).
    """

    fate: Fate
    sop_class: str = ""
    instance: str = ""
    study: str = ""
    series: str = ""
    refusal: Refusal | None = None
    text: str = ""
    tag: int = 0
