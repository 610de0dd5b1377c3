"""Documents (MDM): content as Binary resources of their own, what the document is and what it takes the place of."""

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.documents import content_type, ed_attachment, rp_attachment
from adapters.hl7v2.mapping.draft import Draft, Element, Mode, Node
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import SegmentView, Value
from adapters.ingest.identify import logical_id

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_UNNAMED = "application/octet-stream"


def contents(_value: Value | None, scope: Scope) -> list[Element] | None:
    """All OBX of the document: each attachment a Binary, texts put together as one."""
    found: list[Element] = []
    lines: list[str] = []
    title = ""
    for view in scope.segments("OBX"):
        inner = Scope(scope.run, scope.group, scope.draft, scope.index, view)
        kind = view.text(2)
        inner.consume("OBX-3", "OBX-4", "OBX-11")
        for value in view.field(5):
            attachment = ed_attachment(value, inner) if kind == "ED" else None
            if attachment is None and kind == "RP":
                attachment = rp_attachment(value, inner)
            if attachment is not None:
                found.append({"attachment": _filed(attachment, len(found) + 1, scope) | _told(view, inner)})
            elif value.valued:
                lines.append(value.whole())
                title = title or view.text(3, 2)
    if lines:
        text: Element = {
            "contentType": "text/plain; charset=utf-8",
            "data": base64.b64encode("\n".join(lines).encode()).decode(),
        }
        found.insert(0, {"attachment": _filed(text, 0, scope) | ({"title": title} if title else {})})
    return found or None


def _told(view: SegmentView, scope: Scope) -> Element:
    """Return title and time of an attachment: OBX-22 has a file's name where the document has several."""
    title = view.text(22) or view.text(3, 2)
    scope.consume("OBX-22")
    created = scope.convert("dateTime", view.first(14))
    return ({"title": title} if title else {}) | ({"creation": created} if created else {})


def _filed(attachment: Element, number: int, scope: Scope) -> Element:
    """Put the data into a Binary and return the attachment that leads there."""
    data = attachment.pop("data", "")
    if not data:
        return attachment
    raw = base64.b64decode(data)
    kind = attachment.setdefault("contentType", _UNNAMED)
    key = f"{scope.draft.key}/{number}"
    own = Draft(type="Binary", key=key, tree=Node())
    tree: Element = {"contentType": kind.partition(";")[0], "data": data}
    patients = scope.made("patient")
    if patients:
        tree["securityContext"] = scope.reference(patients[0], own)
    scope.make("Binary", key, tree, mode=Mode.UPSERT, links=own.links)
    attachment["url"] = f"Binary/{logical_id('Binary', scope.source.name, key)}"
    attachment["size"] = len(raw)
    attachment["hash"] = base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode()
    return attachment


def content_kind(_value: Value | None, scope: Scope) -> None:
    """TXA-3 tells the kind of content where the content itself does not."""
    scope.consume("TXA-3")
    kind = content_type(scope.text("TXA", 3), "") if scope.text("TXA", 3) else None
    for one in scope.draft.tree.get("content", ()):
        if kind and one["attachment"].get("contentType") == _UNNAMED:
            one["attachment"]["contentType"] = kind


def document_status(_value: Value | None, scope: Scope) -> str:
    """Return current, superseded (obsolete), or entered-in-error (cancelled)."""
    state = scope.value("TXA-19", take=True).strip().upper()
    if scope.message.trigger == "T11" or state == "CA":
        return "entered-in-error"
    return "superseded" if state == "OB" else "current"


def replaced(value: Value | None, scope: Scope) -> Element | None:
    """TXA-13 of a replacement (T09, T10): the document whose place it takes; of an addendum the one it belongs to."""
    if value is None or not value.valued:
        return None
    code = {"T05": "appends", "T06": "appends", "T09": "replaces", "T10": "replaces"}.get(
        scope.message.trigger, "appends"
    )
    identifier = scope.convert("EI-Identifier", value)
    return {"code": code, "target": {"type": "DocumentReference", "identifier": identifier}} if identifier else None


def document_number(value: Value | None, scope: Scope) -> Element | None:
    """Return TXA-12 as identifier; a number without authority is the source's."""
    found: Element | None = scope.convert("EI-Identifier", value)
    if not found or not found.get("value"):
        return None
    found.setdefault("system", f"urn:renkei:source:{scope.source.name}:document")
    return found


CONVERSIONS: Mapping[str, "Convert"] = {
    "filed_contents": contents,
    "filed_kind": content_kind,
    "filed_status": document_status,
    "filed_replaced": replaced,
    "filed_number": document_number,
}
