"""A second opinion on a message for operators: hl7apy itself, slow and off the hot path.

It stops at many inputs that our own checks name, raises outside its own hierarchy, and writes its full list to a file
only; so everything is wrapped, and the list is read back from a temporary file.
"""

import re
import tempfile
from pathlib import Path

_VALUE = re.compile(r"^(Warning: )Value .* not in table ", re.DOTALL)
_ELEMENT = re.compile(r"<(\w+) (\w+)[^>]*>")


def oracle_report(text: str) -> list[str]:
    """Return what hl7apy says of a decoded message, one line a finding; empty if it finds nothing. Never raises.

    Without the message's values: they are a patient's.
    """
    try:
        return _report(text)
    except Exception as failure:  # noqa: BLE001  # the library raises what it likes
        return [f"hl7apy cannot read the message: {type(failure).__name__}"]


def _report(text: str) -> list[str]:
    from hl7apy.exceptions import HL7apyException  # off the hot path
    from hl7apy.parser import parse_message

    normal = text.lstrip("\ufeff").replace("\r\n", "\r").replace("\n", "\r")
    message = parse_message(normal, find_groups=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        stopped = ""
        try:
            message.validate(report_file=str(report))
        except HL7apyException:
            pass  # the first line of the report
        except Exception as failure:  # noqa: BLE001  # AttributeError where it knows no structure, and others
            stopped = f"hl7apy stopped: {type(failure).__name__}"
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    said = [_without_values(line) for line in lines]
    return [*said, stopped] if stopped else said


def _without_values(line: str) -> str:
    line = _VALUE.sub(r"\1A value is not in table ", line)
    return _ELEMENT.sub(r"\1 \2", line)
