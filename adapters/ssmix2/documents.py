"""The extended storage: a folder named like a file, with a document and its attachments.

A ``main_document.hl7`` is a message as any other (vitals are ORU^R30). Everything else in the folder is put into one
MDM^T02 of our own making, byte for byte as ED values, so that it is journalled, mapped, shown and replayed as messages
are. The data type is ``ローカルコード^ローカル名^体系^標準文書コード^標準名^LN`` (SS-MIX2 拡張ストレージ).
"""

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path

from adapters.ssmix2.names import NO_DAY, FileName, error, without_flag
from adapters.ssmix2.reading import Arrival, Files
from adapters.ssmix2.walk import Entry, Root
from fhir_server.core.messages import Finding

MAIN = "main_document.hl7"
_DEEPEST = 4
_MOST = 200
_LARGEST = 256 << 20
_TYPES = {".hl7": "application/hl7-v2", ".xml": "text/xml", ".xsl": "text/xsl", ".mwf": "application/octet-stream"}


def arrivals_of(root: Root, entry: Entry) -> list[Arrival] | None:
    """Return the messages that a document's folder comes to; None if it is gone."""
    assert entry.name is not None
    folder = Path(root.path) / entry.place
    facility = root.facility or root.label
    found: list[Finding] = list(entry.findings)
    try:
        contents = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in _files(folder, found)]
    except FileNotFoundError:
        return None
    if not contents:
        found.append(error("folder", "The document's folder is empty."))
    arrivals = [
        Arrival(facility=facility, place=f"{without_flag(entry.place)}/{name}_{entry.name.flag}", raw=raw,
                name=entry.name, kind=Files.EXTENDED)
        for name, raw in contents if name == MAIN
    ]  # fmt: skip
    rest = [(name, raw) for name, raw in contents if name != MAIN]
    if rest or not contents:
        raw = as_message(entry.name, rest) if rest else b""
        arrivals.append(
            Arrival(facility=facility, place=entry.place, raw=raw, name=entry.name, findings=tuple(found),
                    kind=Files.EXTENDED)
        )  # fmt: skip
    return arrivals


def as_message(name: FileName, contents: Sequence[tuple[str, bytes]]) -> bytes:
    """Return documents as an MDM^T02: TXA says what it is, one OBX holds one file."""
    moment = f"{name.produced[:14]}.{name.produced[14:]}"
    day = "" if name.day == NO_DAY else name.day
    kind = "^".join(_escaped(part) for part in document_code(name.data_type))
    number = _escaped(f"{name.patient}_{name.day}_{name.data_type}_{name.order}")
    titles = [_escaped(title) for title, _ in contents]
    availability = "CA" if name.flag == "0" else "OB" if name.flag == "2" else "AV"
    lines = [
        f"MSH|^~\\&|SS-MIX2|EXTENDED|||{moment}||MDM^T02^MDM_T02|{name.produced}|P|2.5||||||UNICODE UTF-8",
        f"EVN||{moment}",
        f"PID|0001||{_escaped(name.patient)}^^^^PI",
        "PV1|0001|N",
        f"TXA|1|{kind}|AP|{day}||{moment}||||||{number}|||{_escaped(name.order)}|{titles[0]}|AU||{availability}",
    ]
    for at, (title, raw) in enumerate(contents, 1):
        main, _, sub = _content_of(title).partition("/")
        data = base64.b64encode(raw).decode("ascii")
        lines.append(f"OBX|{at}|ED|{kind}||^{main}^{sub}^Base64^{data}||||||F|||{moment}||||||||{titles[at - 1]}")
    return ("\r".join(lines) + "\r").encode()


def document_code(data_type: str) -> tuple[str, str, str, str, str, str]:
    """Return local code, name and system, then standard code, name and system."""
    parts = [*data_type.split("^"), "", "", "", "", "", ""][:6]
    return (parts[0], parts[1], parts[2], parts[3], parts[4], parts[5])


def _content_of(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _escaped(text: str) -> str:
    for char, code in (("\\", "E"), ("|", "F"), ("^", "S"), ("~", "R"), ("&", "T")):
        text = text.replace(char, f"\\{code}\\")
    return text


def _files(folder: Path, found: list[Finding]) -> list[Path]:
    """Return the files of a document in order, within limits; what goes beyond is told."""
    paths = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(".") and path.is_file()]
    paths = [path for path in paths if len(path.relative_to(folder).parts) <= _DEEPEST]
    size = sum(path.stat().st_size for path in paths)
    if len(paths) > _MOST or size > _LARGEST:
        found.append(error("folder", f"The document has {len(paths)} files of {size >> 20} MiB: too large to take."))
        return []
    return paths
