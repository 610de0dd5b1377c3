"""Reports built for tests, in the DICOM JSON model."""

from typing import Any
from zoneinfo import ZoneInfo

from adapters.dicom.fhir.about import About


def code(value: str, scheme: str, meaning: str) -> dict[str, Any]:
    return {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": [scheme]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }


def item(kind: str, name: dict[str, Any], relation: str = "CONTAINS", **more: Any) -> dict[str, Any]:
    made = {
        "0040A010": {"vr": "CS", "Value": [relation]},
        "0040A040": {"vr": "CS", "Value": [kind]},
        "0040A043": {"vr": "SQ", "Value": [name]},
    }
    if children := more.get("children"):
        made["0040A730"] = {"vr": "SQ", "Value": children}
    if text := more.get("text"):
        made["0040A160"] = {"vr": "UT", "Value": [text]}
    if concept := more.get("concept"):
        made["0040A168"] = {"vr": "SQ", "Value": [concept]}
    if uid := more.get("uid"):
        made["0040A124"] = {"vr": "UI", "Value": [uid]}
    if when := more.get("when"):
        made["0040A120"] = {"vr": "DT", "Value": [when]}
    if number := more.get("number"):
        value, unit = number
        measured = {
            "0040A30A": {"vr": "DS", "Value": [value]},
            "004008EA": {"vr": "SQ", "Value": [code(unit, "UCUM", unit)]},
        }
        made["0040A300"] = {"vr": "SQ", "Value": [measured]}
    return made


def document(title: dict[str, Any], children: list[dict[str, Any]], **flags: str) -> dict[str, Any]:
    made = item("CONTAINER", title, "", children=children)
    made["00080023"] = {"vr": "DA", "Value": ["20260131"]}
    made["00080033"] = {"vr": "TM", "Value": ["101530"]}
    made["0040A491"] = {"vr": "CS", "Value": [flags.get("completion", "COMPLETE")]}
    made["0040A493"] = {"vr": "CS", "Value": [flags.get("verification", "VERIFIED")]}
    return made


def about(sop_class: str) -> About:
    return About(
        subject="Patient/p1",
        imaging_study="ImagingStudy/s1",
        study="1.2.3",
        instance="1.2.3.4",
        sop_class=sop_class,
        zone=ZoneInfo("Asia/Tokyo"),
        received=1_769_820_000_000,
    )


def measurements() -> dict[str, Any]:
    """TID 1500: two measurements of one tracked lesion, and an impression."""
    group = item(
        "CONTAINER",
        code("125007", "DCM", "Measurement Group"),
        children=[
            item("TEXT", code("112039", "DCM", "Tracking Identifier"), "HAS OBS CONTEXT", text="Lesion 1"),
            item("UIDREF", code("112040", "DCM", "Tracking Unique Identifier"), "HAS OBS CONTEXT", uid="1.2.3.9"),
            item(
                "CODE",
                code("363698007", "SCT", "Finding Site"),
                "HAS CONCEPT MOD",
                concept=code("39607008", "SCT", "Lung"),
                children=[
                    item(
                        "CODE",
                        code("272741003", "SCT", "Laterality"),
                        "HAS CONCEPT MOD",
                        concept=code("24028007", "SCT", "Right"),
                    )
                ],
            ),
            item("NUM", code("103339001", "SCT", "Long Axis"), number=("12.50", "mm")),
            item("NUM", code("103340004", "SCT", "Short Axis"), number=("7", "mm")),
            item("CODE", code("RID1", "RADLEX", "Margin"), concept=code("RID5713", "RADLEX", "spiculated")),
        ],
    )
    impressions = item(
        "CONTAINER",
        code("121072", "DCM", "Impressions"),
        children=[item("TEXT", code("121073", "DCM", "Impression"), text="右肺に結節 <12.5 mm>")],
    )
    return document(code("126000", "DCM", "Imaging Measurement Report"), [group, impressions])


def ct_dose() -> dict[str, Any]:
    """TID 10011 with one acquisition."""
    mgycm, mgy = "mGy.cm", "mGy"
    totals = item(
        "CONTAINER",
        code("113811", "DCM", "CT Accumulated Dose Data"),
        children=[
            item("NUM", code("113812", "DCM", "Total Number of Irradiation Events"), number=("1", "{events}")),
            item("NUM", code("113813", "DCM", "CT Dose Length Product Total"), number=("415.82", mgycm)),
        ],
    )
    dose = item(
        "CONTAINER",
        code("113829", "DCM", "CT Dose"),
        children=[
            item("NUM", code("113830", "DCM", "Mean CTDIvol"), number=("11.3", mgy)),
            item("NUM", code("113838", "DCM", "DLP"), number=("415.82", mgycm)),
            item(
                "CODE",
                code("113835", "DCM", "CTDIw Phantom Type"),
                concept=code("113691", "DCM", "IEC Body Dosimetry Phantom"),
            ),
        ],
    )
    acquisition = item(
        "CONTAINER",
        code("113819", "DCM", "CT Acquisition"),
        children=[
            item("TEXT", code("125203", "DCM", "Acquisition Protocol"), text="胸部ルーチン"),
            item("CODE", code("123014", "DCM", "Target Region"), concept=code("51185008", "SCT", "Chest")),
            item("UIDREF", code("113769", "DCM", "Irradiation Event UID"), uid="1.2.3.7"),
            dose,
        ],
    )
    start = item(
        "DATETIME", code("113809", "DCM", "Start of X-Ray Irradiation"), "HAS OBS CONTEXT", when="20260131093000"
    )
    procedure = item(
        "CODE",
        code("121058", "DCM", "Procedure reported"),
        "HAS CONCEPT MOD",
        concept=code("77477000", "SCT", "Computed Tomography X-Ray"),
    )
    return document(code("113701", "DCM", "X-Ray Radiation Dose Report"), [procedure, start, totals, acquisition])
