"""The whole HTTP face of one worker: the FHIR base, dispatched first, and FastAPI for health, metrics, a front page."""

import time
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.exposition import generate_latest
from starlette.exceptions import HTTPException

from fhir_server.core.change import StoreUnavailable
from fhir_server.core.desk import NoSuchMessage, NotPossible
from fhir_server.core.outcome import Issue, operation_outcome
from fhir_server.core.request import BASE_PATH
from fhir_server.http.app import FhirApplication, Scope, Send
from fhir_server.http.body import Receive
from fhir_server.http.feed_counters import FeedCounters
from fhir_server.http.imaging_counters import ImagingCounters
from fhir_server.http.messages import status_of
from fhir_server.http.metrics import Counters
from fhir_server.http.mount import Mount
from fhir_server.http.negotiate import Answer, answer_for_accept

_FHIR = BASE_PATH.encode()
_SILENCE = 15.0  # seconds after which the process for messages is not well
_CODES = {400: "invalid", 404: "not-found", 409: "conflict", 503: "transient"}


class Health(msgspec.Struct, frozen=True):
    """Why the server is not ready, or None if it is."""

    problem: str | None = None


class Server:
    """ASGI application that sends FHIR requests and those of mounts straight there, and the rest to FastAPI."""

    def __init__(self, fhir: FhirApplication, rest: FastAPI, mounts: Sequence[Mount] = ()) -> None:
        self._fhir = fhir
        self._rest = rest
        self._mounts = tuple((mount.prefix.encode(), mount) for mount in mounts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one request."""
        if scope["type"] == "http":
            path: bytes = scope["raw_path"]
            if path.startswith(_FHIR) and (len(path) == len(_FHIR) or path[len(_FHIR)] == 0x2F):
                await self._fhir(scope, receive, send)
                return
            for prefix, mount in self._mounts:
                if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == 0x2F):
                    await mount(scope, receive, send)
                    return
        await self._rest(scope, receive, send)


def build(
    fhir: FhirApplication,
    *,
    counters: Counters,
    ready: Callable[[], Awaitable[Health]],
    name: str,
    version: str,
    messages: APIRouter | None = None,
    mounts: Sequence[Mount] = (),
) -> Server:
    """Return the application of one worker. ``ready`` looks whether the store answers; ``messages`` are more pages.

    ``mounts`` are the APIs beside FHIR, each below its own path.
    """
    rest = FastAPI(
        title=f"{name} administration",
        version=version,
        description=f"Messages, health and metrics. The FHIR API is at {BASE_PATH}, described by {BASE_PATH}/metadata.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    registry = counters.registry()

    @rest.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Tell that the process answers; restart it if it does not."""
        return {"status": "live"}

    @rest.get("/health/ready", tags=["health"], responses={503: {"description": "the database does not answer"}})
    async def ready_() -> Response:
        """Tell if requests can be served; send traffic elsewhere on 503."""
        health = await ready()
        if health.problem is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "problem": health.problem}, 503, {"Retry-After": "1"})

    @rest.get("/health/feeds", tags=["health"], responses={503: {"description": "messages are not heard"}})
    async def feeds() -> Response:
        """Tell how the process for messages is: connections, messages that wait to be applied, their age."""
        health = _feeds(counters.feeds)
        return JSONResponse(health, 503 if health["status"] == "not heard" else 200)

    @rest.get("/health/imaging", tags=["health"], responses={503: {"description": "images are not taken"}})
    async def imaging() -> Response:
        """Tell how the process for images is: connections, objects that are kept and wait to be indexed."""
        health = _imaging(counters.imaging)
        return JSONResponse(health, 503 if health["status"] == "not heard" else 200)

    @rest.get("/metrics", tags=["metrics"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Give the sum of all workers of this server for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @rest.get("/", include_in_schema=False)
    async def front(request: Request) -> Response:
        base = f"{request.base_url}{BASE_PATH[1:]}"
        if answer_for_accept(request.headers.get("accept", "*/*")) is Answer.PAGE:
            return HTMLResponse(_page(name, version, base))
        return JSONResponse(
            {
                "software": name,
                "version": version,
                "fhir": base,
                "capabilities": f"{base}/metadata",
                "ready": f"{request.base_url}health/ready",
                "messages": f"{request.base_url}messages",
                "metrics": f"{request.base_url}metrics",
                "openapi": f"{request.base_url}openapi.json",
            }
        )

    @rest.exception_handler(HTTPException)
    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "not-supported")
        text = str(error.detail)
        if text == "Not Found":
            text = f"no such address; the FHIR base is {BASE_PATH}"
        outcome: dict[str, Any] = operation_outcome((Issue(code, text),))  # JSON
        return JSONResponse(
            outcome, error.status_code, dict(error.headers or {}), media_type="application/fhir+json; charset=utf-8"
        )

    @rest.exception_handler(RequestValidationError)
    async def explain(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        issues = tuple(
            Issue("invalid", f"{'.'.join(map(str, found['loc']))}: {found['msg']}") for found in error.errors()
        )
        return JSONResponse(operation_outcome(issues), 400, media_type="application/fhir+json; charset=utf-8")

    async def not_done(_: Request, error: Exception) -> Response:
        status = status_of(error)
        text = "the database does not answer" if status == 503 else str(error)
        outcome = operation_outcome((Issue(_CODES[status], text),))
        headers = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse(outcome, status, headers, media_type="application/fhir+json; charset=utf-8")

    for kind in (NoSuchMessage, NotPossible, StoreUnavailable):
        rest.add_exception_handler(kind, not_done)
    if messages is not None:
        rest.include_router(messages)
    return Server(fhir, rest, mounts)


def _feeds(feeds: FeedCounters) -> dict[str, Any]:
    if not feeds.get("starts"):
        return {"status": "off"}
    now = time.time()
    heard = now - feeds.get("beat") < _SILENCE
    oldest = feeds.get("oldest")
    return {
        "status": "heard" if heard else "not heard",
        "connections": int(feeds.get("connections")),
        "waiting": int(feeds.get("waiting")),
        "lagSeconds": round(max(0.0, now - oldest), 1) if oldest else 0,
    }


def _imaging(imaging: ImagingCounters) -> dict[str, Any]:
    if not imaging.get("starts"):
        return {"status": "off"}
    heard = time.time() - imaging.get("beat") < _SILENCE
    return {
        "status": "heard" if heard else "not heard",
        "connections": int(imaging.get("connections")),
        "waiting": int(imaging.get("waiting")),
        "stored": int(imaging.get("answer:stored")),
        "indexed": int(imaging.get("indexed")),
    }


def _page(name: str, version: str, base: str) -> str:
    here = escape(base, quote=True)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title>"
        "<style>body{font:16px/1.6 system-ui;margin:3rem auto;max-width:40rem;padding:0 1rem}</style>"
        f"<h1>{escape(name)} <small>{escape(version)}</small></h1><p>A FHIR R4 server. The FHIR base is "
        f'<code><a href="{here}">{here}</a></code>.<ul>'
        f'<li><a href="{here}/metadata">What it can do</a> (CapabilityStatement)'
        '<li><a href="/viewer">Images</a>'
        '<li><a href="/health/ready">Is it ready?</a><li><a href="/metrics">Metrics</a></ul></html>'
    )
