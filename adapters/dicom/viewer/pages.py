"""Serves the viewers' files: our own page below ``/viewer``, OHIF's below ``/ohif``.

No page may load anything from elsewhere: the Content Security Policy forbids it.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from urllib.parse import urlencode

from adapters.dicom.viewer import ohif
from fhir_server.core.web import WebRequest, WebResponse

VIEWER = "/viewer"
OHIF = "/ohif"

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "wasm": "application/wasm",
    "woff2": "font/woff2",
    "xml": "text/xml",
    "txt": "text/plain; charset=utf-8",
}
_SHARED = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
#: OHIF sets styles by script, makes workers from blobs and compiles WebAssembly
_OHIF_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "manifest-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_HASHED = re.compile(r"(^|\.)[0-9a-f]{20}\.")
_GZIP = re.compile(r"(^|[ ,])gzip *(,|$|; *q=(1|0?\.0*[1-9]))")
_FOREVER = "public, max-age=31536000, immutable"
_ASK = "no-cache"


class ViewerPages:
    """Our own page. ``installed`` is OHIF's folder; ``prefer_ohif`` sends those there who open a study."""

    def __init__(self, installed: Path, *, prefer_ohif: bool = False) -> None:
        self._installed = installed
        self._prefer_ohif = prefer_ohif
        folder = resources.files("adapters.dicom.viewer") / "static"
        self._files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
        self._page = self._files.pop("viewer.html")

    async def __call__(self, request: WebRequest) -> WebResponse:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return _refused(405, "only GET is possible here", {"Allow": "GET"})
        name = request.path.lstrip("/")
        if name:
            content = self._files.get(name)
            if content is None:
                return _refused(404, "there is no such page")
            return _file(request, name, content, {"Content-Security-Policy": _OWN_POLICY})
        if request.path == "/":
            return WebResponse(status=308, headers={"Location": request.base})
        there = ohif.is_installed(self._installed)
        if there and self._prefer_ohif and not any(name == "own" for name, _ in request.query):
            study = any(name == "StudyInstanceUIDs" for name, _ in request.query)
            root = request.base.removesuffix(VIEWER) + OHIF
            place = f"{root}/viewer?{urlencode(list(request.query))}" if study else f"{root}/"
            return WebResponse(status=302, headers={"Location": place, "Cache-Control": "no-store"})
        page = self._page.replace(b'data-ohif="no"', b'data-ohif="yes"') if there else self._page
        return _file(request, "viewer.html", page, {"Content-Security-Policy": _OWN_POLICY})


class OhifPages:
    """OHIF's files in the folder ``installed``; what is no file is its start page, which reads the address itself."""

    def __init__(self, installed: Path) -> None:
        self._installed = installed

    async def __call__(self, request: WebRequest) -> WebResponse:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return _refused(405, "only GET is possible here", {"Allow": "GET"})
        if not ohif.is_installed(self._installed):
            return _refused(404, "OHIF is not installed; renkei viewer install obtains it")
        if not request.path:
            return WebResponse(status=308, headers={"Location": f"{request.base}/"})
        return await asyncio.to_thread(self._answer, request)

    def _answer(self, request: WebRequest) -> WebResponse:
        parts = [part for part in request.path.split("/") if part]
        path = self._installed.joinpath("files", *parts)
        if not parts or not all(map(_NAME.fullmatch, parts)) or not path.is_file():
            if parts and "." in parts[-1]:
                return _refused(404, "there is no such file")
            parts, path = ["index.html"], self._installed / "files" / "index.html"
        headers = {**_ISOLATED, "Content-Security-Policy": _OHIF_POLICY, "Vary": "Accept-Encoding"}
        packed = path.with_name(f"{path.name}.gz")
        if _GZIP.search(request.header(b"accept-encoding")) and packed.is_file():
            path, headers["Content-Encoding"] = packed, "gzip"
        return _file(request, parts[-1], path.read_bytes(), headers)


def _file(request: WebRequest, name: str, content: bytes, headers: Mapping[str, str]) -> WebResponse:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    age = _FOREVER if _HASHED.search(name) else _ASK
    shared = {**_SHARED, **headers, "ETag": tag, "Cache-Control": age, "Cross-Origin-Resource-Policy": "same-origin"}
    if request.header(b"if-none-match") == tag:
        return WebResponse(status=304, headers=shared)
    kind = _TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
    return WebResponse(headers={**shared, "Content-Type": kind}, body=content)


def _refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> WebResponse:
    shared = {**_SHARED, **(headers or {}), "Content-Type": "text/plain; charset=utf-8"}
    return WebResponse(status=status, headers=shared, body=text.encode())
