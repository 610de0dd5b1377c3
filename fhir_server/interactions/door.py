"""The one door: every question and every change enters here, from whatever protocol (FHIR R4 http.html).

Authorise, check the rules, hand to the handler, and turn whatever goes wrong into an answer. The principal's access
narrows every store call that a handler makes; nothing is filtered afterwards.
"""

import asyncio
import contextlib
import logging
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping

from fhir_server.core.change import ClaimConflict, StoreUnavailable, TooCostly, VersionConflict
from fhir_server.core.json import JsonError
from fhir_server.core.outcome import FhirError, Issue, bad_request, unavailable
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.interactions import activation, batch, rules
from fhir_server.interactions.capabilities import capabilities
from fhir_server.interactions.context import Context
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history
from fhir_server.interactions.invoke import invoke
from fhir_server.interactions.patching import patch
from fhir_server.interactions.read import read, vread
from fhir_server.interactions.search import search
from fhir_server.interactions.update import update

_log = logging.getLogger(__name__)

Handler = Callable[[Context, FhirRequest], Awaitable[FhirResponse]]

_HANDLERS: Mapping[Interaction, Handler] = {
    Interaction.READ: read,
    Interaction.VREAD: vread,
    Interaction.UPDATE: update,
    Interaction.PATCH: patch,
    Interaction.DELETE: delete,
    Interaction.CREATE: create,
    Interaction.HISTORY_INSTANCE: history,
    Interaction.HISTORY_TYPE: history,
    Interaction.HISTORY_SYSTEM: history,
    Interaction.SEARCH_TYPE: search,
    Interaction.SEARCH_SYSTEM: search,
    Interaction.SEARCH_COMPARTMENT: search,
    Interaction.CAPABILITIES: capabilities,
    Interaction.OPERATION: invoke,
}


class Door:
    """Answers requests with the context of the moment; a new generation of definitions replaces it atomically.

    What may write runs to its end, in a task of its own, even when its time is over or nobody waits any more: a commit
    is never broken off in the middle, and the store has limits of its own.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._refreshing = asyncio.Lock()
        self._writing: Counter[str] = Counter()  # by the mark of the context they index with
        self._unfinished: set[asyncio.Task[FhirResponse]] = set()

    @property
    def context(self) -> Context:
        """The context that the next request will be answered with."""
        return self._context

    @property
    def mark(self) -> str | None:
        """The mark of the context that everything now under way and everything to come is indexed with.

        None while something begun with an earlier context may still write.
        """
        mark = self._context.mark
        return mark if all(other == mark for other in self._writing) else None

    @contextlib.contextmanager
    def writing(self, context: Context) -> Generator[None, None, None]:
        """Take note that ``context`` is used to write."""
        mark = context.mark
        self._writing[mark] += 1
        try:
            yield
        finally:
            self._writing[mark] -= 1
            if not self._writing[mark]:
                del self._writing[mark]

    def use(self, context: Context) -> None:
        """Answer from now on with ``context``; requests under way finish with theirs."""
        self._context = context

    async def refresh(self) -> Context:
        """Adopt the SearchParameter resources that are in the store now; call this often enough in every worker."""
        async with self._refreshing:
            self._context = await activation.refresh(self._context)
        return self._context

    async def finish(self, seconds: float) -> bool:
        """Wait until no write is under way; False if that takes longer."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=seconds)
        return not self._writing

    async def handle(self, request: FhirRequest) -> FhirResponse:
        """Answer one request; never raises."""
        context = self._context
        if not rules.may_write(context, request):
            return await answer(context, request)
        task = asyncio.ensure_future(self._write(context, request))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        if request.deadline is None:
            await asyncio.wait((task,))
        else:
            await asyncio.wait((task,), timeout=max(0.0, request.deadline - time.monotonic()))
        if task.done():
            return task.result()
        _log.warning("request %s is taking longer than its time; it goes on", request.request_id)
        issue = Issue("timeout", "no answer in time; what was asked for goes on, it may or may not be written")
        return refused(FhirError(503, (issue,), {"Retry-After": "5"}))

    async def _write(self, context: Context, request: FhirRequest) -> FhirResponse:
        with self.writing(context):
            response = await answer(context, request)
        if response.status < 300 and activation.concerns(request):
            try:
                await self.refresh()
            except StoreUnavailable:
                _log.warning("search parameters could not be refreshed; request %s", request.request_id)
        return response


async def answer(context: Context, request: FhirRequest) -> FhirResponse:
    """Answer one request with a fixed context; every failure becomes an OperationOutcome."""
    try:
        return await _run(context, request)
    except FhirError as error:
        return refused(error)
    except Exception as error:  # noqa: BLE001 - the door: nothing may pass it but an answer
        return refused(_translated(error, request))


async def _run(context: Context, request: FhirRequest) -> FhirResponse:
    rules.check(context, request)
    if request.interaction is Interaction.BUNDLE:
        return await batch.process(context, request, answer)
    handler = _HANDLERS[request.interaction]
    if request.deadline is None or rules.may_write(context, request):
        return await handler(context, request)
    async with asyncio.timeout_at(request.deadline):
        return await handler(context, request)


def _translated(error: Exception, request: FhirRequest) -> FhirError:
    """Return what a client is told about an exception; only an unexpected one is logged."""
    match error:
        case VersionConflict():
            return FhirError.of(409, "conflict", "another writer changed the resource; nothing was written, try again")
        case ClaimConflict():
            return FhirError.of(412, "duplicate", "a resource that matches the condition exists; nothing was written")
        case TooCostly():
            return FhirError.of(403, "too-costly", f"refused: {error}")
        case StoreUnavailable():
            return unavailable("the store cannot answer now; nothing was acknowledged", 2)
        case TimeoutError():
            return unavailable("the request took longer than the server allows", 5)
        case JsonError():
            return bad_request(str(error), code="structure")
        case RecursionError():
            return bad_request("the request is nested too deeply", code="too-costly")
        case _:
            _log.error("request %s failed: %s", request.request_id, _trace(error))
            return FhirError.of(500, "exception", f"an unexpected error happened; it is logged as {request.request_id}")


def _trace(error: BaseException) -> str:
    """Return type and place of an exception, without its message, which may quote a resource."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    places = " < ".join(f"{frame.filename.rpartition('fhir_server/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"


def refused(error: FhirError) -> FhirResponse:
    """Return the answer that an error stands for."""
    return FhirResponse(status=error.status, body=(error.body(),), headers=error.headers)
