"""Invented messages for orders and results of examinations."""

from collections.abc import Callable

from adapters.hl7v2.mapping.draft import Mapped
from adapters.hl7v2.mapping.engine import Mapper
from fhir_server.core import json
from fhir_server.definitions.model import Definitions
from fhir_server.validation import compile_validator
from tests.golden.medication import Tree, mapped, message, resources, segment

ORDER = "000000000077001"
SPECIMEN = "260401001"
JLAC10 = "http://medis.or.jp/CodeSystem/master-JLAC10-17digits"
UCUM = "http://unitsofmeasure.org"
DOCTOR = "D01^医師^太郎^^^^^^^L^^^^^I"
OML, OUL, OMG, ORU = "OML^O33^OML_O33", "OUL^R22^OUL_R22", "OMG^O19^OMG_O19", "ORU^R01^ORU_R01"
AST, CRP, TP = (
    "3B035000002327201^AST^JC10^10207^GOT^99LAB", "5C070000002306201^CRP^JC10^50010^CRP^99LAB",
    "3A010000002327101^総蛋白^JC10^10222^ＴＰ^99LAB",
)  # fmt: skip

Errors = Callable[[Mapped], list[str]]

__all__ = ["Errors", "Tree", "mapped", "message", "resources", "segment"]


def orc(control: str = "NW", order: str = ORDER, **more: str) -> str:
    """Write ORC of an order."""
    return segment("ORC", **{"f1": control, "f2": order, "f9": "20260401090000", "f12": DOCTOR} | more)


def obr(panel: str = "E002^生化学的検査^99O03", order: str = ORDER, **more: str) -> str:
    """Write OBR."""
    return segment("OBR", **{"f1": "1", "f2": order, "f4": panel} | more)


def spm(number: str = SPECIMEN, kind: str = "023^血清^JC10", taken: str = "202604010830") -> str:
    """Write SPM."""
    return segment("SPM", f1="1", f2=number, f4=kind, f17=taken)


def obx(code: str, value: str, kind: str = "NM", status: str = "F", **more: str) -> str:
    """Write OBX of a result."""
    return segment("OBX", **{"f1": "1", "f2": kind, "f3": code, "f5": value, "f11": status} | more)


def results(*lines: str, status: str = "F", control: str = "SC") -> tuple[str, ...]:
    """Write specimen, order and results."""
    return (spm(), obr(f3=SPECIMEN, f7="202604010830", f22="20260401110000", f25=status), orc(control, f5="CM"), *lines)


def order(*items: str, control: str = "NW") -> tuple[str, ...]:
    """Write specimen and order of these items."""
    lines = [segment("OBX", f1=str(at), f3=code, f11="O") for at, code in enumerate(items, 1)]
    return (
        spm(""),
        orc(control),
        segment("TQ1", f1="1", f7="202604020700", f9="S^至急^HL70485"),
        obr(f16=DOCTOR),
        *lines,
    )


def judge(definitions: Definitions) -> Errors:
    """Return what tells what base R4 has against the resources of a message."""
    validator = compile_validator(definitions)

    def errors(result: Mapped) -> list[str]:
        return [
            f"{tree['resourceType']}: {issue}"
            for tree in resources(result)
            for issue in validator.validate(json.decode(json.encode(tree)))
            if issue.severity in ("error", "fatal")
        ]

    return errors


def only(mapper: Mapper, errors: Errors, *lines: str, kind: str = OUL) -> Mapped:
    """Map a message of which all is understood."""
    result = mapped(mapper, message(*lines, kind=kind))
    assert errors(result) == []
    assert result.findings == []
    assert result.unmapped == {}
    return result
