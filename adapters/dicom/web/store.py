"""STOW-RS: objects as they come are streamed into the archive, each with a verdict of its own (PS3.18 10.5)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from adapters.dicom.archive.archive import Archive, Incoming, Patience, refused
from adapters.dicom.model import Attributes, Fate, Refusal, Sender, Verdict, Way
from adapters.dicom.web import media, stored_json
from adapters.dicom.web.errors import WebError, invalid, warning
from adapters.dicom.web.multipart import PartBegins, PartData, PartEnds, Reader
from adapters.dicom.web.pending import Pending
from adapters.dicom.web.routes import Target
from fhir_server.core.web import WebRequest, WebResponse

_JSON = "application/dicom+json"
_DICOM = "application/dicom"
_AT_ONCE = 32
_AT_ONCE_BYTES = 64 << 20
#: Failure Reason (0008,1197), PS3.18 I.2.2 and PS3.7 C
_REASONS = {
    Refusal.OUT_OF_RESOURCES: 0xA700,
    Refusal.MISMATCH: 0xA900,
    Refusal.MALFORMED: 0xC000,
    Refusal.NOT_ALLOWED: 0x0124,
}
_DUPLICATE_UID = 0x0111
_encode = msgspec.json.Encoder().encode


class Storing:
    """The objects of one request: kept while further ones come in, a bounded number at once."""

    def __init__(self, archive: Archive, sender: Sender, study: str) -> None:
        self._archive = archive
        self._sender = sender
        self._study = study
        self._patience = Patience()
        self._incoming: Incoming | None = None
        self._size = 0
        self._running: dict[asyncio.Task[Verdict], int] = {}
        self.verdicts: list[asyncio.Future[Verdict]] = []

    def begin(self) -> None:
        """Begin with an object."""
        self._incoming = self._archive.receive(self._sender, b"", study=self._study)
        self._size = 0

    async def write(self, chunk: bytes | memoryview) -> None:
        """Take bytes of the object."""
        assert self._incoming is not None
        self._size += len(chunk)
        self._incoming.write(chunk)
        await self._incoming.drain()

    async def end(self) -> None:
        """The object is complete: have it kept and indexed."""
        assert self._incoming is not None
        task = asyncio.create_task(self._incoming.finish(wait=self._patience))
        self._incoming = None
        self.verdicts.append(task)
        self._running[task] = self._size
        task.add_done_callback(lambda done: self._running.pop(done, None))
        while len(self._running) >= _AT_ONCE or sum(self._running.values()) > _AT_ONCE_BYTES:
            await asyncio.wait(tuple(self._running), return_when=asyncio.FIRST_COMPLETED)

    def refuse(self, text: str) -> None:
        """Note a part that is no object."""
        done: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        done.set_result(refused(Refusal.MALFORMED, text))
        self.verdicts.append(done)

    async def finished(self) -> list[Verdict]:
        """Return what became of every object, in order."""
        return list(await asyncio.gather(*self.verdicts))

    def abandon(self) -> None:
        """Forget the object that was coming in; those that were complete are kept."""
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None


async def store(archive: Archive, pending: Pending, target: Target, request: WebRequest) -> WebResponse:
    """Answer POST /studies and /studies/{study}: 200 if all is kept, 202 if some, 409 if nothing."""
    media.choose(media.accepted(request.header(b"accept")), (media.Offer(_JSON), media.Offer("application/json")))
    kind, parameters = media.content_type(request.header(b"content-type"))
    form = parameters.get("type", _DICOM).lower() if kind == "multipart/related" else kind
    if form not in (_DICOM, _JSON) or (form == _JSON and kind == _JSON):
        raise _unsupported(kind)
    storing = Storing(archive, Sender(way=Way.STOW, address=request.client), target.study)
    boundary = parameters.get("boundary", "")
    try:
        if kind == _DICOM:
            await _one(storing, request.body)
        elif form == _DICOM:
            await _parts(storing, request.body, boundary)
        else:
            await _described(storing, request.body, boundary)
    except BaseException:
        storing.abandon()
        await storing.finished()  # nothing goes on behind the answer
        raise
    verdicts = await storing.finished()
    for study in {verdict.study for verdict in verdicts if _is_kept(verdict)}:
        pending.acknowledged(study)
    return answer(verdicts, request.base, target.study)


def _unsupported(kind: str) -> WebError:
    expected = f"multipart/related; type={_DICOM} or type={_JSON}, or {_DICOM}"
    return WebError(415, f"Content-Type: expected {expected}; got {kind[:80] or 'none'}")


async def _one(storing: Storing, body: AsyncIterator[bytes]) -> None:
    storing.begin()
    async for chunk in body:
        await storing.write(chunk)
    await storing.end()


async def _parts(storing: Storing, body: AsyncIterator[bytes], boundary: str) -> None:
    reader = Reader(boundary)
    refusing = ""
    async for chunk in body:
        for event in reader.feed(chunk):
            match event:
                case PartBegins(headers):
                    refusing = _unwanted(headers)
                    if not refusing:
                        storing.begin()
                case PartData(data) if not refusing:
                    await storing.write(data)
                case PartEnds() if refusing:
                    storing.refuse(refusing)
                case PartEnds():
                    await storing.end()
    reader.close()
    if not reader.parts:
        raise invalid("body: multipart/related without a part")


def _unwanted(headers: Mapping[str, str]) -> str:
    kind, _ = media.content_type(headers.get("content-type", _DICOM))
    return "" if kind in (_DICOM, "application/octet-stream") else f"The part is {kind[:80]}, not {_DICOM}."


async def _described(storing: Storing, body: AsyncIterator[bytes], boundary: str) -> None:
    """Take instances whose metadata is JSON and whose bulk data are parts of their own (PS3.18 8.6.1.2.2)."""
    received = await stored_json.read(body, boundary)
    for attributes in received.instances:
        try:
            file = await asyncio.to_thread(stored_json.file_of, attributes, received.bulk)
        except stored_json.IncompleteError as error:
            storing.refuse(str(error))
            continue
        storing.begin()
        await storing.write(file)
        await storing.end()


def answer(verdicts: list[Verdict], base: str, study: str) -> WebResponse:
    """Return the Store Instances Response Module (PS3.18 table I.1-2) and its status (table 10.5.3-1)."""
    kept, failed, unknown = [], [], []
    studies = dict.fromkeys(verdict.study for verdict in verdicts if _is_kept(verdict))
    for verdict in verdicts:
        if _is_kept(verdict):
            place = f"{base}/studies/{verdict.study}/series/{verdict.series}/instances/{verdict.instance}"
            kept.append({**_reference(verdict), "00081190": {"vr": "UR", "Value": [place]}})
        elif verdict.sop_class and verdict.instance:
            failed.append({**_reference(verdict), "00081197": _reason(verdict)})
        else:
            unknown.append({"00081197": _reason(verdict)})
    body: Attributes = {}
    if len(studies) == 1 or study:
        body["00081190"] = {"vr": "UR", "Value": [f"{base}/studies/{study or next(iter(studies))}"]}
    for tag, items in (("00081198", failed), ("00081199", kept), ("0008119A", unknown)):
        if items:
            body[tag] = {"vr": "SQ", "Value": items}
    status = 409 if not kept else 202 if failed or unknown else 200
    if not kept and all(verdict.refusal is Refusal.OUT_OF_RESOURCES for verdict in verdicts):
        status = 503
    headers = {"Content-Type": _JSON}
    if status == 503:
        headers["Retry-After"] = "10"
    texts = dict.fromkeys(verdict.text for verdict in verdicts if verdict.text and not _is_kept(verdict))
    if texts:
        headers["Warning"] = warning(base, *list(texts)[:5])
    return WebResponse(status=status, headers=headers, body=_encode(body))


def _is_kept(verdict: Verdict) -> bool:
    return verdict.fate in (Fate.STORED, Fate.DUPLICATE)


def _reference(verdict: Verdict) -> dict[str, Any]:  # JSON
    return {
        "00081150": {"vr": "UI", "Value": [verdict.sop_class]},
        "00081155": {"vr": "UI", "Value": [verdict.instance]},
    }


def _reason(verdict: Verdict) -> dict[str, Any]:  # JSON
    reason = _DUPLICATE_UID if verdict.refusal is None else _REASONS[verdict.refusal]
    return {"vr": "US", "Value": [reason]}
