"""WADO-RS Retrieve: a study, a series or an instance as DICOM files, in parts or as a ZIP file (PS3.18 10.4.1.1.1)."""

import asyncio
import io
import zipfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from adapters.dicom.dataset.reader import EXPLICIT_LITTLE
from adapters.dicom.model import Instance, Level
from adapters.dicom.web import media, multipart
from adapters.dicom.web.errors import WebError, warning
from adapters.dicom.web.objects import Named, Objects, syntax_for
from adapters.dicom.web.routes import Target
from fhir_server.core.web import WebRequest, WebResponse

_DICOM, _ZIP = "application/dicom", "application/zip"
_PARTS = media.Offer(_DICOM, multipart=True)
_SINGLE = media.Offer(_DICOM)
_JOINED = 4 << 20
_AHEAD = 8
_AHEAD_BYTES = 8 << 20

Content = bytes | AsyncIterator[bytes]


async def objects(service: Objects, target: Target, request: WebRequest, accept: Sequence[str] = ()) -> WebResponse:
    """Answer a study, a series or an instance."""
    offers = [_PARTS, _SINGLE] if target.level is Level.IMAGE else [_PARTS]
    choice = media.choose(media.accepted(request.header(b"accept"), accept), [*offers, media.Offer(_ZIP)])
    named = await service.named(target)
    if choice.type == _ZIP:
        headers = {"Content-Type": _ZIP, "Content-Disposition": 'attachment; filename="images.zip"'}
        return WebResponse(headers=headers, body=_zipped(service, named))
    if not choice.multipart:
        return await single(service, named.instances[0], named, choice.syntaxes)
    instances, left_out = _producible(named.instances, choice.syntaxes)
    boundary = multipart.new_boundary()
    headers = {"Content-Type": f'multipart/related; type="{_DICOM}"; boundary={boundary}'}
    if left_out:
        text = f"{left_out} instances cannot be produced in an accepted transfer syntax"
        headers["Warning"] = warning(request.base, text)
    parts = _parts(service, named, instances, choice.syntaxes, request.base)
    status = 206 if left_out else 200
    if len(instances) == 1 and instances[0].place.length <= _JOINED:
        body = b"".join([piece async for piece in multipart.written(boundary, parts)])
        return WebResponse(status=status, headers=headers, body=body)
    return WebResponse(status=status, headers=headers, body=multipart.written(boundary, parts))


async def single(service: Objects, instance: Instance, named: Named, syntaxes: Sequence[str]) -> WebResponse:
    """Answer one instance as application/dicom."""
    syntax = syntax_for(instance, syntaxes)
    content = await service.file(instance, named.overlay, syntaxes)
    kind = _DICOM if syntax is None else f"{_DICOM}; transfer-syntax={syntax}"
    length = None if named.overlay or isinstance(content, bytes) else instance.place.length
    return WebResponse(headers={"Content-Type": kind}, body=content, length=length)


def _producible(instances: Sequence[Instance], syntaxes: Sequence[str]) -> tuple[list[Instance], int]:
    """Return the instances that can be produced, and how many cannot; raise 406 if none can."""
    found = []
    problem: WebError | None = None
    for instance in instances:
        try:
            syntax_for(instance, syntaxes)
            found.append(instance)
        except WebError as error:
            problem = error
    if problem is not None and not found:
        raise problem
    return found, len(instances) - len(found)


async def _parts(
    service: Objects, named: Named, instances: Sequence[Instance], syntaxes: Sequence[str], base: str
) -> AsyncIterator[tuple[Mapping[str, str], Content]]:
    place = f"{base}/studies/{named.study.uid}/series"
    async for instance, content in _contents(service, named, instances, syntaxes):
        syntax = syntax_for(instance, syntaxes) or EXPLICIT_LITTLE
        headers = {
            "Content-Type": f"{_DICOM}; transfer-syntax={syntax}",
            "Content-Location": f"{place}/{instance.series}/instances/{instance.uid}",
        }
        yield headers, content


async def _contents(
    service: Objects, named: Named, instances: Sequence[Instance], syntaxes: Sequence[str]
) -> AsyncIterator[tuple[Instance, Content]]:
    """Yield the files in order; a few are read ahead while others are sent."""
    ahead: deque[tuple[Instance, asyncio.Task[Content]]] = deque()
    waiting = iter(instances)
    size = 0
    try:
        while True:
            while len(ahead) < _AHEAD and (size < _AHEAD_BYTES or not ahead):
                instance = next(waiting, None)
                if instance is None:
                    break
                ahead.append((instance, asyncio.create_task(service.file(instance, named.overlay, syntaxes))))
                size += instance.place.length
            if not ahead:
                return
            instance, reading = ahead.popleft()
            size -= instance.place.length
            yield instance, await reading
    finally:
        for _, reading in ahead:
            reading.cancel()


async def _zipped(service: Objects, named: Named) -> AsyncIterator[bytes]:
    """Yield a ZIP file (PS3.18 8.6.1.3) without compression, whose names say nothing of the patient."""
    sink = _Sink()
    series: dict[str, int] = {}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        place = 0
        async for instance, content in _contents(service, named, named.instances, (media.STORED,)):
            place += 1
            folder = series.setdefault(instance.series, len(series) + 1)
            name = f"DICOM/{folder:05}/{place:08}.dcm"
            if isinstance(content, bytes):
                archive.writestr(name, content)
            else:
                with archive.open(name, "w", force_zip64=True) as entry:
                    async for chunk in content:
                        entry.write(chunk)
                        yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What a ZIP file is written to; it cannot be gone back in."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # any buffer
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
