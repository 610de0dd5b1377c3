"""DICOMweb: storing, retrieving, searching, metadata and pictures; ours beside Orthanc's plug-in.

``python -m bench.imaging_web`` measures all; ``--smoke`` only ours and briefly. Orthanc binds every interface: where
root may, everything runs in a network namespace of its own that has only loopback, elsewhere Orthanc is left out.
Ours answers STOW-RS when the bytes survive power loss and are indexed with their ImagingStudy; Orthanc does not sync.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import pydicom

from bench import orthanc
from bench.imaging_store import write_images
from bench.load import Request, write_frames
from bench.processes import python
from bench.report import verdict
from bench.servers import REPOSITORY, OurTarget

_BOUNDARY = "bench"
_PARTS = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
Say = Callable[[str], None]


class FailedWebError(Exception):
    """Something was answered as it should not be, so the run says nothing about speed."""


@dataclass(frozen=True)
class Work:
    """One kind of request, over so many connections; bar and aim in multiples of Orthanc's rate."""

    name: str
    title: str
    connections: int
    bar: float
    aim: float


WORKS = (
    Work("stow", "STOW-RS, 39 kB CT, 1 a request", 1, 1, 2),
    Work("stow-4", "the same, 4 connections", 4, 1, 2),
    Work("stow10", "STOW-RS, 39 kB CT, 10 a request (instances/s)", 1, 1, 2),
    Work("stow10-4", "the same, 4 connections", 4, 1, 2),
    Work("wado", "WADO-RS instance, 39 kB CT", 1, 1, 2),
    Work("wado-4", "the same, 4 connections", 4, 1, 2),
    Work("frame", "WADO-RS frame, 39 kB CT", 1, 1, 2),
    Work("metadata", "metadata of a series of 1 000", 1, 5, 20),
    Work("metadata-new", "the same, of images that came this moment", 1, 1, 5),
    Work("qido", "QIDO-RS studies by PatientID", 1, 1, 2),
    Work("rendered", "rendered 512 x 512, JPEG, each once", 1, 1, 2),
    Work("rendered-4", "the same, 4 connections", 4, 1, 2),
)
RENDERED_BAR, RENDERED_AIM = 150, 400  # a second


@dataclass(frozen=True)
class Sizes:
    """How much is stored and for how many seconds is asked."""

    stored: int = 400
    series: int = 1000
    pictures: int = 400
    seconds: float = 4.0
    rounds: int = 3
    works: tuple[Work, ...] = WORKS


SMOKE = Sizes(
    stored=20, series=20, pictures=8, seconds=0.3, rounds=1, works=tuple(w for w in WORKS if "4" not in w.name)
)


@dataclass
class Cell:
    """Rates a second, medians of latency in ms, and CPU in ms an operation, of one work's rounds."""

    rate: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


Figures = Mapping[tuple[str, str], Cell]


class Server(Protocol):
    """One that speaks DICOMweb."""

    name: str
    root: str

    @property
    def port(self) -> int:
        """Its HTTP port."""
        ...

    def start(self) -> None:
        """Start with an empty store."""
        ...

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class Ours:
    """The server as a user starts it."""

    name, root = "ours", "/dicomweb"

    def __init__(self, folder: Path) -> None:
        self.target = OurTarget(folder, 2, 512)

    @property
    def port(self) -> int:
        """Its HTTP port."""
        return self.target.port

    def start(self) -> None:
        """Start with an empty store."""
        self.target.start()

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        used = self.target.cpu()
        return used.server + used.database

    def stop(self) -> None:
        """End it."""
        self.target.stop()


class OrthancServer(orthanc.Orthanc):
    """Orthanc as Debian has it."""

    name, root = "orthanc", "/dicom-web"


@dataclass(frozen=True)
class Image:
    """Where an image is found."""

    path: Path
    study: str
    series: str
    instance: str
    patient: str

    @property
    def place(self) -> str:
        """Its address below the service."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"


def images(folder: Path, count: int, tiles: int = 1, *, one_series: bool = False) -> list[Image]:
    """Write images with new UIDs and say where they will be found."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    series: tuple[Any, Any] | None = None
    for path in write_images(folder, count, tiles):
        read = pydicom.dcmread(path, stop_before_pixels=not one_series)
        if one_series:
            series = series or (read.StudyInstanceUID, read.SeriesInstanceUID)
            read.StudyInstanceUID, read.SeriesInstanceUID = series
            read.InstanceNumber = len(found) + 1
            read.save_as(path)
        found.append(Image(path, read.StudyInstanceUID, read.SeriesInstanceUID, read.SOPInstanceUID, read.PatientID))
    return found


def request(method: str, path: str, accept: str, body: bytes = b"", kind: str = "", weight: int = 1) -> Request:
    """Return the bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Accept: {accept}"]
    if body:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return Request("\r\n".join([*lines, "", ""]).encode() + body, weight)


def stow(root: str, chosen: Sequence[Image]) -> Request:
    """Return a request that stores images."""
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + image.path.read_bytes() + b"\r\n" for image in chosen) + f"--{_BOUNDARY}--\r\n".encode()
    return request("POST", f"{root}/studies", "application/dicom+json", body, _PARTS, len(chosen))


def drive(
    server: Server, folder: Path, requests: Sequence[Request], connections: int, seconds: float, *, once: bool
) -> Mapping[str, Any]:
    """Send requests from a process of its own; ``once``: each of them one time, however long that takes."""
    path = folder / "requests"
    write_frames(path, requests)
    limit = len(requests) if once else 1_000_000
    command = python("-m", "bench.load", "--port", str(server.port), "--requests", str(path), "--limit", str(limit))
    command += ["--connections", str(connections), "--seconds", str(600 if once else seconds)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    if done.returncode:
        raise FailedWebError(done.stderr[-1000:])
    found: Mapping[str, Any] = json.loads(done.stdout)
    if found["errors"] or set(found["statuses"]) - {"200"}:
        raise FailedWebError(f"{server.name}: {found['statuses']} {found['errors']}")
    return found


def measure(makers: Sequence[Callable[[Path], Server]], folder: Path, sizes: Sizes, say: Say) -> Figures:
    """Do every work with every server."""
    figures: dict[tuple[str, str], Cell] = {}
    for place, make in enumerate(makers):
        server = make(folder / f"server-{place}")
        server.start()
        try:
            there = images(folder / "there", 200)
            drive(server, folder, [stow(server.root, there[at : at + 10]) for at in range(0, 200, 10)], 1, 0, once=True)
            for work in sizes.works:
                cell = figures[work.name, server.name] = Cell()
                for _ in range(sizes.rounds):
                    _round(server, folder, work, sizes, there, cell)
                say(f"  {work.title}: {server.name} {median(cell.rate):.1f}/s, p50 {median(cell.p50):.1f} ms")
        finally:
            server.stop()
    return figures


def _round(server: Server, folder: Path, work: Work, sizes: Sizes, there: Sequence[Image], cell: Cell) -> None:
    requests, once = _requests(server, folder, work, sizes, there)
    before = server.cpu()
    found = drive(server, folder, requests, work.connections, sizes.seconds, once=once)
    count = found["resources"] if work.name.startswith("stow") else found["operations"]
    cell.rate.append(count / found["seconds"])
    cell.p50.append(found["p50_ms"])
    cell.cpu.append((server.cpu() - before) / count)


def _requests(
    server: Server, folder: Path, work: Work, sizes: Sizes, there: Sequence[Image]
) -> tuple[list[Request], bool]:
    """Return the requests of one round, and whether each is sent once. What they need is stored before."""
    root = server.root
    new = folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    match work.name.partition("-")[0]:
        case "stow":
            return [stow(root, [image]) for image in images(new, sizes.stored)], True
        case "stow10":
            fresh = images(new, sizes.stored)
            return [stow(root, fresh[at : at + 10]) for at in range(0, len(fresh), 10)], True
        case "wado":
            return [request("GET", root + image.place, _DICOM) for image in there], False
        case "frame":
            accept = 'multipart/related; type="application/octet-stream"'
            return [request("GET", f"{root}{image.place}/frames/1", accept) for image in there], False
        case "qido":
            paths = [f"{root}/studies?PatientID={there[0].patient}&StudyInstanceUID={image.study}" for image in there]
            return [request("GET", path, "application/dicom+json") for path in dict.fromkeys(paths)], False
        case "metadata":
            many = images(new, sizes.series, one_series=True)
            _put(server, folder, many)
            path = f"{root}/studies/{many[0].study}/series/{many[0].series}/metadata"
            asking = [request("GET", path, "application/dicom+json\r\nAccept-Encoding: gzip")]
            if work.name == "metadata":  # a while after the images came the document is prepared
                drive(server, folder, asking, 1, 0, once=True)
            return asking, work.name != "metadata"
        case "rendered":
            large = images(new, sizes.pictures, 4)
            _put(server, folder, large)
            return [request("GET", f"{root}{image.place}/rendered", "image/jpeg") for image in large], True
        case other:
            raise ValueError(other)


def _put(server: Server, folder: Path, chosen: Sequence[Image]) -> None:
    requests = [stow(server.root, chosen[at : at + 20]) for at in range(0, len(chosen), 20)]
    drive(server, folder, requests, 1, 0, once=True)


def table(figures: Figures, works: Sequence[Work]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| work | ours | Orthanc | ours ÷ Orthanc | bar | aim | verdict | p50 ms | CPU ms ours | CPU ms Orthanc |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for work in works:
        ours, theirs = figures.get((work.name, "ours")), figures.get((work.name, "orthanc"))
        if ours is None:
            continue
        rate = median(ours.rate)
        start = f"| {work.title} | {rate:.1f}/s |"
        if theirs is None:
            lines.append(f"{start} not run | | ≥ {work.bar} | {work.aim} | | {median(ours.p50):.1f} "
                         f"| {median(ours.cpu):.2f} | |")  # fmt: skip
            continue
        ratio = rate / median(theirs.rate)
        lines.append(
            f"{start} {median(theirs.rate):.1f}/s | {ratio:.2f} | ≥ {work.bar} | {work.aim} "
            f"| {verdict(ratio, work.bar, work.aim)} | {median(ours.p50):.1f} ({median(theirs.p50):.1f}) "
            f"| {median(ours.cpu):.2f} | {median(theirs.cpu):.2f} |"
        )
    pictures = figures.get(("rendered-4", "ours"))
    if pictures is not None:
        rate = median(pictures.rate)
        lines.append(
            f"| pictures a second, 4 connections | {rate:.0f}/s | | | ≥ {RENDERED_BAR}/s | {RENDERED_AIM}/s "
            f"| {verdict(rate, RENDERED_BAR, RENDERED_AIM)} | | | |"
        )
    return "\n".join(lines)


def text(folder: Path, sizes: Sizes, say: Say, *, alone: bool = False) -> str:
    """Measure, in this process's network, and return the table; ``alone``: without Orthanc."""
    makers: list[Callable[[Path], Server]] = [Ours]
    if not alone and orthanc.is_apart():
        makers.append(OrthancServer)
    return table(measure(makers, folder, sizes, say), sizes.works)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.imaging_web", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="only ours and briefly: does everything still run?")
    parser.add_argument("--only", default="", help="comma-separated: " + ",".join(work.name for work in WORKS))
    parser.add_argument("--rounds", type=int, default=Sizes.rounds)
    parser.add_argument("--alone", action="store_true", help="without Orthanc")
    given = parser.parse_args()
    reason = orthanc.missing()
    if not (given.smoke or given.alone or orthanc.is_apart()):
        if not reason:
            sys.exit(orthanc.run_apart("bench.imaging_web", sys.argv[1:]))
        print(f"without Orthanc: {reason}", flush=True)
    chosen = tuple(work for work in WORKS if not given.only or work.name in given.only.split(","))
    sizes = SMOKE if given.smoke else Sizes(works=chosen, rounds=given.rounds)
    folder = Path(tempfile.mkdtemp(prefix="renkei-bench-web-"))
    try:
        print(text(folder, sizes, lambda line: print(line, flush=True), alone=given.smoke or given.alone))
    except FailedWebError as error:
        sys.exit(f"failed: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
