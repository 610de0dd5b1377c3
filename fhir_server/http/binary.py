"""Binary as what it holds: raw content in and out with its own media type (FHIR R4 binary.html#rest).

Content comes from anywhere, so a browser must neither guess its type nor show it as part of this site.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.core.request import Interaction
from fhir_server.http import negotiate
from fhir_server.interactions.addresses import Target

SECURITY_CONTEXT = b"x-security-context"

_TYPE = "Binary"
_UNKNOWN = "application/octet-stream"
_TOKEN = r"[A-Za-z0-9!#$&^_.+\-]{1,127}"  # noqa: S105  # of RFC 6838, not a secret
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?: ?; ?{_TOKEN}=(?:{_TOKEN}|"[A-Za-z0-9 ,:;/=.+\-_()]{{0,127}}"))*')
_HEADER_VALUE = re.compile(r"[\x21-\x7e]{1,1024}")
_READS = (Interaction.READ, Interaction.VREAD)
_WRITES = (Interaction.CREATE, Interaction.UPDATE)
_ALONE = (*_READS, *_WRITES)
_GUARD = {
    "Content-Disposition": "attachment",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class Raw(msgspec.Struct, frozen=True):
    """What a Binary holds, and the headers it is sent with."""

    content: bytes
    media_type: str
    headers: dict[str, str]


def accepts_anything(target: Target, accept: str) -> bool:
    """Return True where what is accepted is said for the content: then what is not content comes as JSON."""
    return target.resource_type == _TYPE and target.interaction in _ALONE and not negotiate.names_fhir(accept)


def is_asked_for(target: Target, accept: str, format_: str | None) -> bool:
    """Return True for a read of a Binary that does not name a FHIR format."""
    return format_ is None and target.interaction in _READS and accepts_anything(target, accept)


def is_sent(target: Target, content_type: str) -> bool:
    """Return True if the body of a create or update of a Binary is the content itself."""
    if target.resource_type != _TYPE or target.interaction not in _WRITES:
        return False
    return bool(content_type) and negotiate.body_format(content_type) is None


def wrapped(target: Target, raw: bytes, content_type: str, security_context: str) -> dict[str, Any]:
    """Return the Binary resource that holds ``raw``; what is wrong with the headers the validator will say."""
    tree: dict[str, Any] = {"resourceType": _TYPE}
    if target.id is not None:
        tree["id"] = target.id
    tree["contentType"] = " ".join(content_type.split())
    if security_context:
        tree["securityContext"] = {"reference": security_context}
    if raw:
        tree["data"] = base64.b64encode(raw).decode("ascii")
    return tree


def unwrapped(pieces: Sequence[bytes]) -> Raw:
    """Return what a stored Binary holds."""
    tree = json.decode(b"".join(pieces))
    headers = dict(_GUARD)
    context = tree.get("securityContext")
    reference = context.get("reference") if isinstance(context, dict) else None
    if isinstance(reference, str) and _HEADER_VALUE.fullmatch(reference):
        headers["X-Security-Context"] = reference
    media_type = tree.get("contentType")
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        media_type = _UNKNOWN
    try:
        content = binascii.a2b_base64(tree.get("data", ""))
    except (binascii.Error, ValueError, TypeError):  # stored by something that did not validate
        content = b""
    return Raw(content, media_type, headers)
