"""Documents and attachments: ED and RP values, and texts of OBX put together (HL7 v2-to-FHIR)."""

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

_TYPES = {"AP": "application", "AU": "audio", "FT": "text", "IM": "image", "TEXT": "text", "TX": "text"}
_SUBTYPES = {"PLAIN": "plain", "TEXT": "plain", "RTF": "rtf", "HTML": "html", "JPG": "jpeg", "XML": "xml", "PDF": "pdf"}


def ed_attachment(value: "Value | None", scope: "Scope") -> "Element | None":
    """Convert ED: type, subtype, encoding, data."""
    if value is None or not value.valued:
        return None
    text = value.get(5)
    if not text:
        return None
    encoding = value.take(4).strip().upper()
    data = _data(text, encoding)
    if data is None:
        scope.problem(value, "the data are not in the encoding that ED-4 names", "102")
        return None
    value.mark(5)
    value.mark(1)
    found: Element = {"data": data}
    content = content_type(value.take(2), value.take(3))
    if content:
        found["contentType"] = content
    return found


def rp_attachment(value: "Value | None", _scope: "Scope") -> "Element | None":
    """Convert RP: pointer, application, type, subtype."""
    if value is None or not value.get(1):
        return None
    found: Element = {"url": "".join(value.take(1).split())}
    content = content_type(value.take(3), value.take(4))
    if content:
        found["contentType"] = content
    if value.get(2):
        found["title"] = value.take(2)
    return found


def content_type(type_: str, subtype: str) -> str | None:
    """Return the MIME type that tables 0191 and 0291 name."""
    type_, subtype = type_.strip(), subtype.strip()
    if "/" in type_:
        return type_
    main = _TYPES.get(type_.upper(), type_.lower())
    sub = _SUBTYPES.get(subtype.upper(), subtype.lower())
    if sub in ("pdf", "rtf") and main not in ("application", "image"):
        main = "application" if sub == "pdf" else "text"
    if not sub:
        return "text/plain" if main == "text" else None
    return f"{main or 'application'}/{sub}"


def document_content(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Return DocumentReference.content: each attachment of the OBX of the group, and their texts as one."""
    found: list[Element] = []
    lines: list[str] = []
    for view in scope.within("OBX"):
        kind = view.text(2)
        for one in view.field(5):
            attachment = ed_attachment(one, scope) if kind == "ED" else None
            if attachment is None and kind == "RP":
                attachment = rp_attachment(one, scope)
            if attachment is not None:
                found.append({"attachment": {**attachment, **_title(view)}})
            elif one.valued:
                lines.append(one.whole())
    if lines:
        text = base64.b64encode("\n".join(lines).encode()).decode()
        found.insert(0, {"attachment": {"contentType": "text/plain; charset=utf-8", "data": text}})
    return found or [{"attachment": {"title": "the message has no content of the document"}}]


def _title(view: "SegmentView") -> "Element":
    first = view.first(3)
    title = first.take(2) if first is not None else ""
    return {"title": title} if title else {}


def _data(text: str, encoding: str) -> str | None:
    """Return the data in base64."""
    try:
        if encoding == "BASE64":
            packed = "".join(text.split())
            base64.b64decode(packed, validate=True)
            return packed
        if encoding == "HEX":
            return base64.b64encode(bytes.fromhex(text)).decode()
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(text.encode()).decode()


CONVERSIONS: Mapping[str, "Convert"] = {
    "ed_attachment": ed_attachment,
    "rp_attachment": rp_attachment,
    "document_content": document_content,
}
