"""The DICOMweb service: every request goes to what its address and method name (PS3.18 8 to 10)."""

from collections.abc import Mapping

import msgspec

from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.archive.removal import Removal
from adapters.dicom.model import Level
from adapters.dicom.web import frames, metadata, removing, rendered, retrieve, routes, search, store, uri
from adapters.dicom.web.capabilities import capabilities
from adapters.dicom.web.errors import WebError
from adapters.dicom.web.objects import Objects
from adapters.dicom.web.pending import Board, Pending
from adapters.dicom.web.routes import Resource, Target
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.outcome import FhirError
from fhir_server.core.web import WebRequest, WebResponse

_METHODS: Mapping[Resource, str] = {
    Resource.SERVICE: "GET, OPTIONS",
    Resource.URI: "GET, OPTIONS",
    Resource.SEARCH: "GET, OPTIONS",
    Resource.OBJECTS: "GET, DELETE, OPTIONS",
    Resource.METADATA: "GET, OPTIONS",
    Resource.FRAMES: "GET, OPTIONS",
    Resource.BULK: "GET, OPTIONS",
    Resource.RENDERED: "GET, OPTIONS",
    Resource.THUMBNAIL: "GET, OPTIONS",
    Resource.REJECT: "POST, OPTIONS",
    Resource.RESTORE: "POST, OPTIONS",
}
_STUDY = frozenset(("studyinstanceuid", "0020000d", "studyuid"))
_EXPOSED = "Content-Type, Content-Length, Content-Range, Content-Location, ETag, Warning"


class DicomWeb:
    """Answers requests. ``origins`` are other origins whose pages may read the answers (CORS); ``*``: all."""

    def __init__(
        self,
        objects: Objects,
        metadata: SeriesMetadata,
        removal: Removal,
        origins: tuple[str, ...] = (),
        board: Board | None = None,
    ) -> None:
        """``board`` is what the workers of the server tell each other."""
        self._objects = objects
        self._metadata = metadata
        self._removal = removal
        self._pending = Pending(objects.archive, board)
        self._origins = frozenset(origins)

    async def __call__(self, request: WebRequest) -> WebResponse:
        """Answer one request, whatever it is."""
        try:
            response = await self._answer(request)
        except WebError as error:
            response = error.response()
        except FhirError as error:
            text = "; ".join(issue.diagnostics for issue in error.issues)
            response = WebError(error.status, text, error.headers).response()
        except StoreUnavailable:
            response = WebError(503, "the database does not answer; try again", {"Retry-After": "1"}).response()
        return self._shared(request, response)

    async def _answer(self, request: WebRequest) -> WebResponse:
        target = routes.resolve(request.path)
        allowed = _allowed(target)
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return WebResponse(status=204, headers={"Allow": allowed})
        if method not in allowed.split(", "):
            raise WebError(405, f"{method} is not possible here, only {allowed}", {"Allow": allowed})
        if method == "DELETE" or target.resource in (Resource.REJECT, Resource.RESTORE):
            return await removing.remove(self._objects, self._removal, target)
        if method == "POST":
            return await store.store(self._objects.archive, self._pending, target, request)
        return await self._read(target, request)

    async def _read(self, target: Target, request: WebRequest) -> WebResponse:
        """Answer what is named; what was acknowledged before is there, also if it is not indexed yet."""
        if target.level is not Level.IMAGE or target.resource is Resource.SEARCH:
            for study in (target.study, *_studies(request)):
                await self._pending.settled(study)
        try:
            return await self._found(target, request)
        except WebError as error:
            if error.status != 404 or not await self._pending.settled(target.study):
                raise
        return await self._found(target, request)

    async def _found(self, target: Target, request: WebRequest) -> WebResponse:
        objects = self._objects
        accept = [value for name, value in request.query if name.lower() == "accept"]
        match target.resource:
            case Resource.SEARCH:
                return await search.search(objects.index, target, request, accept)
            case Resource.OBJECTS:
                return await retrieve.objects(objects, target, request, accept)
            case Resource.METADATA:
                return await metadata.metadata(objects, self._metadata, target, request, accept)
            case Resource.FRAMES:
                return await frames.frames(objects, target, request, accept)
            case Resource.BULK:
                return await frames.bulk(objects, target, request, accept)
            case Resource.RENDERED | Resource.THUMBNAIL:
                return await rendered.rendered(objects, target, request, accept)
            case Resource.URI:
                return await uri.retrieve_uri(objects, request)
            case _:
                return capabilities(request)

    def _shared(self, request: WebRequest, response: WebResponse) -> WebResponse:
        """Let pages of the configured other origins read the answer."""
        origin = request.header(b"origin")
        if not origin or not self._origins or not {origin, "*"} & self._origins:
            return response
        headers = {
            **response.headers,
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _EXPOSED,
            "Vary": "Origin" if "Vary" not in response.headers else f"{response.headers['Vary']}, Origin",
        }
        if request.method == "OPTIONS":
            headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET")
            headers["Access-Control-Allow-Headers"] = request.header(b"access-control-request-headers") or "Accept"
            headers["Access-Control-Max-Age"] = "3600"
        return msgspec.structs.replace(response, headers=headers)


def _studies(request: WebRequest) -> list[str]:
    """Return the studies that a query names."""
    return [value for name, value in request.query if name.lower() in _STUDY]


def _allowed(target: Target) -> str:
    """Return the methods of an address; objects are stored at /studies and /studies/{study}."""
    methods = _METHODS[target.resource]
    if target.level is Level.STUDY and target.resource in (Resource.SEARCH, Resource.OBJECTS):
        return f"POST, {methods}"
    return methods
