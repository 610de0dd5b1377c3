"""Which objects are rejection notes (IHE RAD IOCM, RAD-66; PS3.16 CID 7011)."""

from typing import Final

from adapters.dicom.archive.fields import QUALITY
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.model import Attributes

KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"
TITLES: Final = {
    QUALITY: "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}


def title_of(sop_class: str, attributes: Attributes) -> str:
    """Return the code of a rejection note's title (0040,A043); empty for every other object."""
    if sop_class != KEY_OBJECT_SELECTION:
        return ""
    for item in items(attributes, "0040A043"):
        code = text(item, "00080100")
        if text(item, "00080102") == "DCM" and code in TITLES:
            return code
    return ""
