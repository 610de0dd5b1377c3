"""``/messages``: an operator's work with messages over HTTP; what it does is :mod:`fhir_server.core.desk`'s."""

from datetime import tzinfo
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from fhir_server.core.desk import Desk, NoSuchMessage, NotPossible, Reading, as_json, instant
from fhir_server.core.messages import Channel, Message, MessageQuery, Status
from fhir_server.core.request import BASE_PATH

_LONGEST_WAIT = 60.0
_MOST = 1000

_Id = Annotated[str, Path(description="The message's id.", max_length=128)]
_Statuses = Annotated[list[Status], Query(alias="status", description="What has become of it.")]
_Channels = Annotated[list[Channel], Query(alias="channel", description="By which way it came.")]
_Texts = Annotated[list[str], Query()]
_WHEN: dict[str, Any] = {  # keyword arguments of two types
    "description": "A date and time, or only a date (ISO 8601); without zone that of the server.",
    "json_schema_extra": {"format": "date-time"},
}
_When = Annotated[str, Query(**_WHEN)]
_WhenBody = Annotated[str, Body(**_WHEN)]

_ERRORS: dict[int | str, dict[str, Any]] = {  # FastAPI's own type for what OpenAPI says of answers
    400: {"description": "A value that cannot be; the text says which."},
    404: {"description": "There is no such message."},
    409: {"description": "That cannot be done with this message; the text says why."},
    503: {"description": "The database does not answer; try again."},
}


def router(desk: Desk, zone: tzinfo) -> APIRouter:
    """Return the addresses below ``/messages``. Times without a zone are of ``zone``."""
    pages = _Pages(desk, zone)
    rest = APIRouter(prefix="/messages", tags=["messages"], responses=_ERRORS)
    rest.get("", summary="Find messages")(pages.find)
    rest.get("/totals", summary="Totals of every source")(pages.totals)
    rest.post(
        "/replay",
        summary="Apply messages again",
        status_code=202,
        responses={200: {"description": "All of them have been applied or have failed."}},
    )(pages.replay)
    rest.get("/{id_}", summary="One message, and what is wrong with it")(pages.show)
    rest.get("/{id_}/raw", summary="The bytes as received", response_class=Response)(pages.raw)
    rest.get("/{id_}/answer", summary="The acknowledgement as sent", response_class=Response)(pages.answer)
    rest.get("/{id_}/report", summary="What is wrong with its form, at length", response_class=PlainTextResponse)(
        pages.report
    )
    rest.post(
        "/{id_}/correct",
        summary="Put a corrected message in its place",
        status_code=201,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/hl7-v2": {"schema": {"type": "string", "format": "binary"}},
                    "text/plain": {"schema": {"type": "string"}},
                },
            }
        },
    )(pages.correct)
    rest.post("/{id_}/set-aside", summary="Note that nothing is to be done")(pages.set_aside)
    return rest


def status_of(error: Exception) -> int:
    """Return the HTTP status for what a desk raises."""
    return 404 if isinstance(error, NoSuchMessage) else 409 if isinstance(error, NotPossible) else 503


class _Pages:
    def __init__(self, desk: Desk, zone: tzinfo) -> None:
        self._desk = desk
        self._zone = zone

    async def find(
        self,
        request: Request,
        status: _Statuses = [],  # noqa: B006  # FastAPI copies it
        channel: _Channels = [],  # noqa: B006
        source: _Texts = [],  # noqa: B006
        type: _Texts = [],  # noqa: A002, B006
        lane: str = "",
        subject: str = "",
        resource: Annotated[str, Query(description="Type/id of a resource it wrote or confirmed.")] = "",
        control_id: Annotated[str, Query(alias="controlId")] = "",
        location: Annotated[str, Query(description="Of a finding or an unmapped field, such as PID-5.1.")] = "",
        since: _When = "",
        until: _When = "",
        after: Annotated[int | None, Query(description="A sequence; for the next page.")] = None,
        newest_first: Annotated[bool, Query(alias="newestFirst")] = True,
        count: Annotated[int, Query(ge=1, le=_MOST)] = 100,
        total: Annotated[bool, Query(description="Count all matches, too.")] = False,
        attention: Annotated[
            bool, Query(description="Only what a human has to look at; status and total are not for this.")
        ] = False,
    ) -> Response:
        """Return rows of the journal without the bytes, newest first; ``next`` is the address of the next page."""
        query = MessageQuery(
            statuses=tuple(status),
            channels=tuple(channel),
            sources=tuple(source),
            types=tuple(type),
            lane=lane,
            subject=subject,
            resource=resource,
            control_id=control_id,
            location=location,
            since=self._instant("since", since),
            until=self._instant("until", until),
            after=after,
            newest_first=newest_first,
            limit=count,
        )
        found = await (self._desk.attention(query) if attention else self._desk.find(query))
        answer: dict[str, Any] = {"messages": [_linked(message, request) for message in found]}  # JSON
        if total and not attention:
            answer["total"] = await self._desk.count(query)
        if len(found) == count:
            answer["next"] = str(request.url.include_query_params(after=found[-1].sequence))
        return JSONResponse(answer)

    async def totals(self, source: _Texts = []) -> Response:  # noqa: B006
        """Return, for each source, its messages by status and its fields that no FHIR element took."""
        found = await self._desk.totals(tuple(source))
        return JSONResponse({"sources": [msgspec.to_builtins(totals) for totals in found]})

    async def show(self, id_: _Id, request: Request) -> Response:
        """Return the row, what it means in plain words, and the message as text, segment by segment."""
        message = await self._desk.get(id_)
        reading = self._desk.read(message)
        return JSONResponse(_linked(message, request) | _reading(reading))

    async def raw(self, id_: _Id) -> Response:
        """Return the bytes exactly as they were received."""
        message = await self._desk.get(id_)
        headers = {"Content-Disposition": f'attachment; filename="{_filename(id_)}.hl7"'}
        return Response(message.raw, media_type="application/hl7-v2", headers=headers)

    async def answer(self, id_: _Id) -> Response:
        """Return the acknowledgement that the sender got; empty if there was none."""
        return Response((await self._desk.get(id_)).answer, media_type="application/hl7-v2")

    async def report(self, id_: _Id) -> Response:
        """Return everything known about the message in plain words, with the opinion of a second parser."""
        return PlainTextResponse(await self._desk.report(id_))

    async def replay(
        self,
        ids: Annotated[list[str], Body(description="Ids of messages.")] = [],  # noqa: B006
        status: Annotated[list[Status], Body()] = [],  # noqa: B006
        source: Annotated[list[str], Body()] = [],  # noqa: B006
        type: Annotated[list[str], Body()] = [],  # noqa: A002, B006
        location: Annotated[str, Body(description="Of a finding, such as PID-3.")] = "",
        since: _WhenBody = "",
        until: _WhenBody = "",
        limit: Annotated[int, Body(ge=1, le=1_000_000)] = 10_000,
        wait: Annotated[float, Body(ge=0, le=_LONGEST_WAIT, description="Seconds to wait for the end.")] = 0,
    ) -> Response:
        """Apply again the messages with these ids, or all that match; without a status those that failed.

        What is unchanged makes no new version of any resource.
        """
        query = None
        if status or source or type or location or since or until:
            query = MessageQuery(
                statuses=tuple(status) or (Status.FAILED,),
                sources=tuple(source),
                types=tuple(type),
                location=location,
                since=self._instant("since", since),
                until=self._instant("until", until),
                limit=limit,
            )
        if not ids and query is None:
            raise HTTPException(400, "name messages by ids, or say which by status, source, type, location or time")
        done = await self._desk.replay(ids, query, wait=wait)
        return JSONResponse({"reopened": done.reopened, "statuses": dict(done.statuses)}, 202 if done.waiting else 200)

    async def correct(self, id_: _Id, request: Request) -> Response:
        """Journal a corrected message and apply it; the original is kept, set aside.

        The body is the message: bytes as ``application/hl7-v2``, or ``text/plain`` in UTF-8, which is written in the
        original's character set.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await request.body()
        if kind == "text/plain":
            try:
                corrected = await self._desk.correct(id_, body.decode())
            except UnicodeDecodeError:
                raise HTTPException(400, "text/plain is read as UTF-8, and the body is not") from None
        elif kind in ("application/hl7-v2", "application/octet-stream", "x-application/hl7-v2+er7"):
            corrected = await self._desk.correct(id_, body)
        else:
            raise HTTPException(415, "expected application/hl7-v2 (bytes) or text/plain (UTF-8)")
        headers = {"Location": str(request.url_for("show", id_=corrected.id))}
        return JSONResponse(_linked(corrected, request), 201, headers)

    async def set_aside(self, id_: _Id, note: Annotated[str, Body(embed=True, max_length=1000)] = "") -> Response:
        """Close a message that failed, with a note; it can be replayed later all the same."""
        return JSONResponse(as_json(await self._desk.set_aside(id_, note)))

    def _instant(self, name: str, text: str) -> int | None:
        try:
            return instant(text, self._zone, end=name == "until") if text else None
        except ValueError:
            raise HTTPException(400, f"{name}: expected a date such as 2026-01-31 or 2026-01-31T12:00") from None


def _linked(message: Message, request: Request) -> dict[str, Any]:
    """Return the row with addresses in place of ids, and of its parts."""
    row = as_json(message)
    base = str(request.base_url).rstrip("/")
    here = f"{base}/messages/{message.id}"
    row["resources"] = [{"reference": name, "url": f"{base}{BASE_PATH}/{name}"} for name in message.resources]
    row["links"] = {name: here if name == "self" else f"{here}/{name}" for name in ("self", "raw", "answer", "report")}
    return row


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "summary": reading.summary,
        "explained": [msgspec.to_builtins(found) for found in reading.explained],
        "text": reading.text,
        "segments": [msgspec.to_builtins(line) for line in reading.lines],
    }


def _filename(id_: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in id_)
