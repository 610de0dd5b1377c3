"""Request bodies to resource trees, patches and search parameters (FHIR R4 http.html 3.1.0.1.9, 3.1.0.7, 3.1.1.5)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.request import Interaction, PatchFormat
from fhir_server.http import binary, negotiate
from fhir_server.http.negotiate import Format
from fhir_server.interactions.addresses import Target, parameters

#: bytes from which a body is read in a thread, so that other requests do not wait for it
ELSEWHERE_FROM = 256 * 1024


class XmlCodec(Protocol):
    """What the edge needs to speak XML."""

    def to_xml(self, tree: Mapping[str, Any], *, pretty: bool = False) -> bytes:
        """Return the resource as XML; raise FhirError if something in it has no XML form."""
        ...

    def to_json(self, raw: bytes) -> dict[str, Any]:
        """Return the resource tree of an XML document; raise FhirError or ValueError."""
        ...


class Content(msgspec.Struct, frozen=True):
    """A body as the door wants it: JSON bytes, their tree, and the language of a patch."""

    body: bytes | None = None
    resource: Any = None  # decoded JSON is untyped until validated
    patch_format: PatchFormat | None = None


NO_CONTENT = Content()


def read_form(raw: bytes, content_type: str) -> Sequence[tuple[str, str]]:
    """Return the parameters of a form body."""
    if not raw:
        return ()
    media_type, _ = negotiate.split_content_type(content_type)
    if media_type != "application/x-www-form-urlencoded":
        raise FhirError.of(415, "not-supported", "_search takes application/x-www-form-urlencoded")
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise bad_request("form body: invalid UTF-8") from None
    return parameters(text)


async def read_content(
    target: Target, raw: bytes, content_type: str, xml: XmlCodec | None, security_context: str = ""
) -> Content:
    """Return the body of an interaction that takes a resource or a patch; a large one is read in a thread."""
    if len(raw) > ELSEWHERE_FROM:
        return await asyncio.to_thread(_read, target, raw, content_type, xml, security_context)
    return _read(target, raw, content_type, xml, security_context)


def _read(target: Target, raw: bytes, content_type: str, xml: XmlCodec | None, security_context: str) -> Content:
    if binary.is_sent(target, content_type):
        tree: Any = binary.wrapped(target, raw, content_type, security_context)  # decoded JSON, untyped
        return Content(json.encode(tree), tree)
    if not raw:
        if target.interaction in (Interaction.OPERATION, Interaction.DELETE):
            return NO_CONTENT
        raise bad_request("the body is empty, a resource was expected", "structure")
    is_patch = target.interaction is Interaction.PATCH
    if is_patch and negotiate.split_content_type(content_type)[0] == "application/json-patch+json":
        return Content(raw, _tree(raw), PatchFormat.JSON)
    format_ = negotiate.body_format(content_type)
    if format_ is None:
        raise _unknown_type(is_patch=is_patch)
    if format_ is Format.XML:
        tree = _from_xml(raw, xml)
        raw = json.encode(tree)
    else:
        tree = _tree(raw)
    if is_patch:
        return Content(raw, tree, PatchFormat.JSON if isinstance(tree, list) else PatchFormat.FHIRPATH)
    if not isinstance(tree, dict):
        raise bad_request("the body is not a JSON object; a resource was expected", "structure")
    return Content(raw, tree)


def without_repeats(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Return the headers by name; repeated ones are joined (RFC 9110 5.3), a repeated Host thereby becomes invalid."""
    found: dict[bytes, bytes] = dict(headers)
    if len(found) == len(headers):
        return found
    found.clear()
    for name, value in headers:
        found[name] = b"%b, %b" % (found[name], value) if name in found else value
    return found


def _unknown_type(*, is_patch: bool) -> FhirError:
    also = ", application/json-patch+json" if is_patch else ""
    return FhirError.of(
        415, "not-supported", f"Content-Type: application/fhir+json{also} and application/fhir+xml are understood"
    )


def _tree(raw: bytes) -> Any:  # decoded JSON is untyped until validated
    try:
        return json.decode(raw)
    except json.JsonError as error:
        raise bad_request(str(error), "structure") from None


def _from_xml(raw: bytes, xml: XmlCodec | None) -> dict[str, Any]:
    if xml is None:
        raise FhirError.of(415, "not-supported", "Content-Type: XML is not available")
    try:
        return xml.to_json(raw)
    except ValueError as error:
        raise bad_request(f"XML: {error}", "structure") from None
