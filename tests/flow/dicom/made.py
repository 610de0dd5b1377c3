"""DICOM files made of a few attributes."""

from typing import Any

from adapters.dicom.dataset.json import from_json
from adapters.dicom.dataset.meta import file_meta
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE
from tests.unit.dicom.images import attributes

CT, SR, KOS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.59"


def made(study: str, series: str, uid: str, *, sop_class: str = CT, modality: str = "CT", **said: Any) -> bytes:
    """Return a file of a patient ``P1``, with further attributes as ``LO00081030="Chest"``."""
    given: dict[str, Any] = {
        "UI00080016": sop_class, "UI00080018": uid, "DA00080020": "20240110", "CS00080060": modality,
        "PN00100010": "YAMADA^TAROU=山田^太郎=やまだ^たろう", "LO00100020": "P1", "DA00100030": "19700102",
        "UI0020000D": study, "UI0020000E": series, **said,
    }  # fmt: skip
    content = dict(sorted(attributes(**given).items()))
    return file_meta(sop_class, uid, EXPLICIT_LITTLE) + from_json(content)


def coded(code: str, meaning: str, scheme: str = "DCM") -> dict[str, Any]:
    """Return an item of a code sequence."""
    return attributes(SH00080100=code, SH00080102=scheme, LO00080104=meaning)


def rejection_note(study: str, uid: str, code: str, series: str, rejected: list[str]) -> bytes:
    """Return a Key Object Selection that rejects instances of a series."""
    named = [attributes(UI00081150=CT, UI00081155=one) for one in rejected]
    evidence = attributes(UI0020000D=study, SQ00081115=[attributes(UI0020000E=series, SQ00081199=named)])
    return made(
        study, f"{study}.99", uid, sop_class=KOS, modality="KO", CS0040A040="CONTAINER",
        SQ0040A043=[coded(code, "Rejected")], SQ0040A375=[evidence],
    )  # fmt: skip
