"""QIDO-RS: searches for studies, series and instances (PS3.18 10.6)."""

from collections.abc import Sequence

import msgspec

from adapters.dicom.archive.find import Found, ImageIndex
from adapters.dicom.model import Attributes
from adapters.dicom.web import media
from adapters.dicom.web.errors import warning
from adapters.dicom.web.query import MOST, read_query
from adapters.dicom.web.routes import Target
from fhir_server.core.web import WebRequest, WebResponse

_JSON = "application/dicom+json"
_OFFERS = (media.Offer(_JSON), media.Offer("application/json"))
_RETRIEVE_URL, _CHARACTER_SET = "00081190", "00080005"
_encode = msgspec.json.Encoder().encode


async def search(index: ImageIndex, target: Target, request: WebRequest, accept: Sequence[str] = ()) -> WebResponse:
    """Answer a search: 200 with a JSON array, 204 where nothing matches."""
    choice = media.choose(media.accepted(request.header(b"accept"), accept), _OFFERS)
    asked = read_query(target, request.query)
    query = asked.query
    probe = query.limit >= MOST  # our own limit, of which the client must be told
    if probe:
        query = msgspec.structs.replace(query, limit=query.limit + 1)
    found = [_result(one, request.base) async for one in index.find(query)]
    warnings = []
    if asked.ignored:
        warnings.append(f"The following parameters are not supported: {', '.join(asked.ignored)}")
    if probe and len(found) > MOST:
        found.pop()
        warnings.append(f"There are additional results that can be requested with offset={query.offset + MOST}")
    headers = {"Cache-Control": "no-store"}
    if warnings:
        headers["Warning"] = warning(request.base, *warnings)
    if not found:
        return WebResponse(status=204, headers=headers)
    return WebResponse(headers={**headers, "Content-Type": choice.type}, body=_encode(found))


def _result(found: Found, base: str) -> Attributes:
    """Return a match with its Retrieve URL; texts are UTF-8 now, whatever the object's character set."""
    attributes = found.attributes
    url = f"{base}/studies/{found.study.uid}"
    if found.series is not None:
        url += f"/series/{found.series.uid}"
    if found.instance is not None:
        url += f"/instances/{found.instance.uid}"
    attributes[_RETRIEVE_URL] = {"vr": "UR", "Value": [url]}
    if _CHARACTER_SET in attributes:
        attributes[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return dict(sorted(attributes.items()))
