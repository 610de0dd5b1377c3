"""``renkei export``: everything a running server holds, through its search, as NDJSON with the bytes it stored."""

import gzip
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fhir_server.commands.shared import SERVER_HELP, Failure, check_types, errors, explain, server_url, unreachable


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")


class _Link(msgspec.Struct):
    relation: str
    url: str


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []
    link: list[_Link] = []
    total: int | None = None


class _Resource(msgspec.Struct):
    type: str


class _Rest(msgspec.Struct):
    resource: list[_Resource] = []


class _Capabilities(msgspec.Struct):
    rest: list[_Rest] = []


def export(
    folder: Annotated[Path, typer.Argument(help="Where to write one Type.ndjson for each type that has resources.")],
    types: Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this type; may be repeated.")] = None,
    query: Annotated[str, typer.Option(help="Further search parameters, the same for every type.")] = "",
    compress: Annotated[bool, typer.Option("--gzip", help="Write Type.ndjson.gz.")] = False,
    count: Annotated[int, typer.Option(min=1, help="Resources a page.")] = 500,
    server: Annotated[str | None, typer.Option(help=SERVER_HELP)] = None,
) -> None:
    """Write the current resources of the running server as NDJSON, one file a type, by paging through its search.

    **Examples**

        renkei export backup/

        renkei export out/ -t Patient -t Observation --gzip

        renkei export changed/ --query '_lastUpdated=ge2026-01-01'
    """
    base = server_url(server)
    check_types(types or [])
    total = 0
    try:
        with httpx.Client(timeout=300, trust_env=False, headers={"Accept": "application/fhir+json"}) as client:
            wanted = types or _types(client, base)
            folder.mkdir(parents=True, exist_ok=True)
            with Progress(
                TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                console=errors(), transient=True,
            ) as progress:  # fmt: skip
                for name in wanted:
                    total += _export_type(client, base, name, query, count, folder, compress, progress)
    except httpx.HTTPError as error:
        raise unreachable(base, error) from None
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}") from None
    errors().print(f"{total} resources in {folder}")


def _export_type(
    client: httpx.Client, base: str, name: str, query: str, count: int, folder: Path, compress: bool, progress: Progress
) -> int:
    page = _page(client, f"{base}/{name}?_count={count}&_total=accurate" + (f"&{query}" if query else ""))
    if not page.entry:
        return 0
    task = progress.add_task(name, total=page.total)
    path = folder / (f"{name}.ndjson.gz" if compress else f"{name}.ndjson")
    partial = path.with_name(path.name + ".partial")
    written = 0
    with gzip.open(partial, "wb", compresslevel=6) if compress else partial.open("wb") as file:
        while True:
            for entry in page.entry:
                if entry.resource:
                    file.write(bytes(entry.resource).replace(b"\n", b" ") + b"\n")
                    written += 1
            progress.update(task, completed=written)
            following: str | None = next((link.url for link in page.link if link.relation == "next"), None)
            if following is None:
                break
            page = _page(client, following)
    partial.replace(path)
    progress.remove_task(task)
    errors().print(f"{name:28} {written}")
    return written


def _types(client: httpx.Client, base: str) -> list[str]:
    capabilities = msgspec.json.decode(_get(client, f"{base}/metadata"), type=_Capabilities)
    return [resource.type for rest in capabilities.rest for resource in rest.resource]


def _page(client: httpx.Client, url: str) -> _Bundle:
    return msgspec.json.decode(_get(client, url), type=_Bundle)


def _get(client: httpx.Client, url: str) -> bytes:
    response = client.get(url)
    if response.is_error:
        raise Failure(explain(response), 1)
    return response.content
