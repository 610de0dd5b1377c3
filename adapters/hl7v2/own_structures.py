"""Structures and segments of the SS-MIX2 standardised storage that HL7's tables lack: Z events of Japan (JAHIS)."""

from collections.abc import Mapping

_VISIT = "[ PV1 [ PV2 ] ]"
_INSURANCE = "[ { IN1 [ IN2 ] [ IN3 ] } ]"
_TIMING = "[ { TQ1 [ { TQ2 } ] } ]"
_OBSERVATIONS = "[ { OBX [ { NTE } ] } ]"
_ROLES = "[ { ROL [ { VAR } ] } ]"

#: message structures, in the standard's notation
STRUCTURES: Mapping[str, str] = {
    "PPR_ZD1": (
        f"MSH [ {{ SFT }} ] PID {_VISIT} {{ PRB [ ZPR ] [ {{ ZPD }} ] [ {{ NTE }} ] [ {{ VAR }} ] {_ROLES} "
        f"[ {{ PTH [ {{ VAR }} ] }} ] [ {{ ZI1 }} ] {_OBSERVATIONS} "
        f"[ {{ GOL [ {{ NTE }} ] [ {{ VAR }} ] {_ROLES} {_OBSERVATIONS} }} ] [ {{ ORC [ OBR ] [ {{ NTE }} ] }} ] }}"
    ),
    "OMI_Z23": (
        f"MSH [ {{ SFT }} ] [ {{ NTE }} ] [ PID [ PD1 ] [ {{ NTE }} ] {_VISIT} {_INSURANCE} [ GT1 ] [ {{ AL1 }} ] ] "
        f"{{ ORC {_TIMING} OBR [ {{ NTE }} ] [ CTD ] [ {{ DG1 }} ] {_OBSERVATIONS} "
        "[ { ZE1 [ { OBX } ] [ { ZE2 } ] } ] { IPC } }"
    ),
}

#: segments: type of each field in order, ``!`` where it is required
SEGMENTS: Mapping[str, tuple[str, ...]] = {
    "ZPR": ("CWE", "CWE!", "CWE", "CWE", "CWE", "CWE", "ST"),
    "ZPD": ("SI", "CWE"),
    "ZE1": ("SI", "IS!", "CWE!", "NM", "CWE", "", "XCN", "IS", "", "XTN", "ST", "ST"),
    "ZE2": ("SI", "CQ", "CQ", "CQ", "CQ", "NM", "ST"),
}
