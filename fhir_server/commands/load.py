"""``renkei load``: files into a running server, in parallel, with progress; resumable, rejects kept with reasons."""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fhir_server.commands import sources
from fhir_server.commands.shared import SERVER_HELP, Failure, console, errors, explain, server_url, unreachable
from fhir_server.commands.sources import Job, Source, Unreadable

_PATIENCE = 120.0
_LONGEST_WAIT = 5.0
_TRANSIENT = (429, 502, 503, 504)
_JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "Prefer": "return=minimal"}


def load(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders: Bundles, resources, NDJSON; each also .gz.")],
    server: Annotated[str | None, typer.Option(help=SERVER_HELP)] = None,
    parallel: Annotated[int, typer.Option("--parallel", "-p", min=1, max=64, help="Requests at a time.")] = 4,
    rejects: Annotated[Path, typer.Option(help="Where to list what was refused, and why (NDJSON).")] = Path(
        "renkei-load.rejects.ndjson"
    ),
    state: Annotated[
        Path | None, typer.Option(help="Where to remember what is done (default: a hidden file here).")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Forget an interrupted load and begin anew.")] = False,
) -> None:
    """Load files into the running server.

    Transactions and batches are sent as they are; the resources of other Bundles, single resources and NDJSON lines
    are sent in batches: PUT with an id, POST without. Files whose references are searches (such as
    `Practitioner?identifier=…`) come last. An interrupted load goes on where it stopped when the same command is
    given again; requests that were under way then are sent again.

    **Examples**

        renkei load patients/ practitioners.ndjson.gz

        renkei load --server http://127.0.0.1:8081/fhir --parallel 8 synthea/
    """
    base = server_url(server)
    found = sources.find(paths)
    name = hashlib.blake2b(f"{base}\n{[str(path.absolute()) for path in paths]}".encode(), digest_size=6).hexdigest()
    memory = _Memory(state or Path(f".renkei-load-{name}.ndjson"))
    if again:
        memory.forget()
    loader = _Loader(base, found, parallel, memory, rejects)
    try:
        asyncio.run(loader.run())
    except httpx.HTTPError as error:
        raise unreachable(base, error) from None
    except ExceptionGroup as group:
        gone, other = group.split(httpx.HTTPError)
        if gone is None or other is not None:
            raise
        raise Failure(
            f"the server stopped answering; {loader.loaded} loaded. The same command goes on from there"
        ) from None
    seconds = loader.seconds
    rate = loader.loaded / seconds if seconds else 0
    console().print(f"{loader.loaded} resources loaded in {seconds:.1f} s ({rate:.0f}/s), {loader.rejected} rejected")
    if loader.rejected:
        raise Failure(f"{loader.rejected} rejected; the reasons are in {rejects}", 1)
    memory.forget()


class _Done(msgspec.Struct, array_like=True, frozen=True):
    path: str
    size: int
    modified: int
    part: int


class _Memory:
    """What an interrupted load had finished, one line a request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done: dict[tuple[str, int, int], set[int]] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    done = msgspec.json.decode(line, type=_Done)
                except msgspec.DecodeError:
                    continue  # the last line of a load that was killed
                self._done.setdefault((done.path, done.size, done.modified), set()).add(done.part)

    def parts(self, source: Source) -> set[int]:
        """Return the parts of a file that are done."""
        return self._done.get((str(source.path.absolute()), source.size, source.modified), set())

    def add(self, job: Job) -> None:
        """Remember a finished request."""
        done = _Done(str(job.source.path.absolute()), job.source.size, job.source.modified, job.part)
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(done) + b"\n")

    def forget(self) -> None:
        """Forget everything."""
        self.path.unlink(missing_ok=True)
        self._done.clear()


class _EntryResponse(msgspec.Struct):
    status: str = ""
    outcome: msgspec.Raw = msgspec.Raw(b"")


class _Entry(msgspec.Struct):
    response: _EntryResponse = msgspec.field(default_factory=_EntryResponse)


class _Answer(msgspec.Struct):
    entry: list[_Entry] = []


class _Loader:
    def __init__(self, base: str, found: list[Source], parallel: int, memory: _Memory, rejects: Path) -> None:
        self.loaded = 0
        self.rejected = 0
        self.seconds = 0.0
        self._base = base
        self._found = found
        self._parallel = parallel
        self._memory = memory
        self._rejects = rejects
        self._later: list[Source] = []
        self._refused: list[tuple[Job, str]] = []
        self._progress = Progress(
            TextColumn("loading"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=errors(),
        )  # fmt: skip
        self._task = TaskID(0)

    async def run(self) -> None:
        """Load everything: what refers by identity first, then what refers by search, then the refused once more."""
        self._rejects.unlink(missing_ok=True)
        started = time.monotonic()
        limits = httpx.Limits(max_connections=self._parallel)
        with self._progress:
            total = sum(source.size for source in self._found)
            self._task = self._progress.add_task("load", total=total, rate="")
            async with httpx.AsyncClient(limits=limits, timeout=300, trust_env=False, headers=_JSON) as client:
                (await client.get(f"{self._base}/metadata?_elements=fhirVersion")).raise_for_status()
                ticking = asyncio.create_task(self._tick(started))
                try:
                    await self._pass(client, self._found, defer=True)
                    await self._pass(client, self._later, defer=False)
                    await self._once_more(client)
                finally:
                    ticking.cancel()
                    self.seconds = time.monotonic() - started

    async def _tick(self, started: float) -> None:
        while True:
            rate = self.loaded / max(time.monotonic() - started, 0.001)
            self._progress.update(self._task, rate=f"{self.loaded} resources, {rate:.0f}/s")
            await asyncio.sleep(0.5)

    async def _pass(self, client: httpx.AsyncClient, found: list[Source], *, defer: bool) -> None:
        jobs: asyncio.Queue[Job | None] = asyncio.Queue(self._parallel)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._parallel):
                group.create_task(self._work(client, jobs))
            for source in found:
                await self._enqueue(source, jobs, defer=defer)
            for _ in range(self._parallel):
                await jobs.put(None)

    async def _enqueue(self, source: Source, jobs: asyncio.Queue[Job | None], *, defer: bool) -> None:
        done = self._memory.parts(source)
        try:
            if source.is_lines:
                for found in sources.line_chunks(source, done):
                    if isinstance(found, Job):
                        await jobs.put(found)
                    else:
                        self._reject(source, found[0], found[1])
            elif 0 in done:
                self._progress.advance(self._task, source.size)
            else:
                content = await asyncio.to_thread(sources.read, source)
                if defer and sources.refers_conditionally(content):
                    self._later.append(source)
                else:
                    await jobs.put(sources.whole_file(source, content))
        except Unreadable as problem:
            self._reject(source, "", str(problem))
            self._progress.advance(self._task, source.size)

    async def _work(self, client: httpx.AsyncClient, jobs: asyncio.Queue[Job | None]) -> None:
        while (job := await jobs.get()) is not None:
            await self._do(client, job, last=False)
            self._progress.advance(self._task, job.weight)

    async def _once_more(self, client: httpx.AsyncClient) -> None:
        """Try whole refused transactions again: what they referred to may have come since."""
        refused, self._refused = self._refused, []
        for job, _ in refused:
            await self._do(client, job, last=True)

    async def _do(self, client: httpx.AsyncClient, job: Job, *, last: bool) -> None:
        response = await self._post(client, job.body)
        if response.is_error:
            if last or not job.whole:
                self._reject(job.source, "", explain(response), len(job.places))
            else:
                self._refused.append((job, ""))
            return
        entries = msgspec.json.decode(response.content, type=_Answer).entry
        bad = 0
        for place, entry in zip(job.places, entries, strict=False):
            if not entry.response.status.startswith("2"):
                bad += 1
                self._reject(job.source, place, f"{entry.response.status} {_diagnostics(entry.response.outcome)}")
        self.loaded += len(job.places) - bad
        self._memory.add(job)

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> httpx.Response:
        """Send, waiting out a server that is busy or restarting."""
        wait, deadline = 0.25, time.monotonic() + _PATIENCE
        while True:
            try:
                response = await client.post(self._base, content=body)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                if response.status_code not in _TRANSIENT or time.monotonic() > deadline:
                    return response
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _reject(self, source: Source, place: str, reason: str, count: int = 1) -> None:
        self.rejected += count
        line = {"file": str(source.path), "place": place, "resources": count, "reason": reason}
        with self._rejects.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def _diagnostics(outcome: bytes) -> str:
    if not outcome:
        return ""
    issues = msgspec.json.decode(outcome).get("issue", ())
    return "; ".join(str(issue.get("diagnostics", issue.get("code", ""))) for issue in issues)
