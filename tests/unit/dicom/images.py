"""Rows of made-up studies, for tests of what looks them up."""

from typing import Any

from adapters.dicom.archive.rows import instance_row, series_row, study_row
from adapters.dicom.dataset.names import parse
from adapters.dicom.model import Attributes, Instance, Place, Sender, Series, Study, Way
from fhir_server.core.tables import Tables

SENDER = Sender(way=Way.DIMSE, name="CT1")


def element(vr: str, *values: Any) -> dict[str, Any]:
    """Return an element in DICOM JSON."""
    return {"vr": vr, "Value": [parse(value) if vr == "PN" else value for value in values]}


def attributes(**given: Any) -> Attributes:
    """Return attributes from ``LO00100020="1"``: VR and tag in one name."""
    found: Attributes = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        found[name[2:]] = element(name[:2], *values)
    return found


def study(
    uid: str, *, series: int = 1, instances: int = 1, modalities: tuple[str, ...] = ("CT",), **said: Any
) -> Study:
    """Return a study."""
    found = attributes(**said)
    patient_id = found.get("00100020", {}).get("Value", [""])[0]
    return Study(
        uid=uid, patient_id=patient_id, modalities=modalities, sop_classes=("1.2.840.10008.5.1.4.1.1.2",),
        series=series, instances=instances, attributes=found, patient="Patient/p1", revision=1,
    )  # fmt: skip


def series(
    uid: str, of: str, *, modality: str = "CT", number: int | None = 1, instances: int = 1, **said: Any
) -> Series:
    """Return a series."""
    found = {"00080060": element("CS", modality), **attributes(**said)}
    return Series(
        uid=uid, study=of, modality=modality, number=number, instances=instances, attributes=found, revision=1
    )


def instance(uid: str, of: str, study_uid: str, *, number: int | None = 1, **more: Any) -> Instance:
    """Return an instance."""
    said = {name: more.pop(name) for name in tuple(more) if name[:2].isupper() and name[2:3].isdigit()}
    fields: dict[str, Any] = {
        "sop_class": "1.2.840.10008.5.1.4.1.1.2", "transfer_syntax": "1.2.840.10008.1.2.1", "hash": "0",
        "place": Place("202601/p", 0, 10), "received": 1, "sender": SENDER, "revision": 1, **more,
    }  # fmt: skip
    return Instance(uid=uid, study=study_uid, series=of, number=number, attributes=attributes(**said), **fields)


async def put(tables: Tables, *things: Study | Series | Instance) -> None:
    """Write the rows."""
    rows = []
    for thing in things:
        match thing:
            case Study():
                rows.append(study_row(thing))
            case Series():
                rows.append(series_row(thing))
            case Instance():
                rows.append(instance_row(thing))
    await tables.write(rows)
