"""C-STORE of CT images by DCMTK's dcmsend: ours, until indexed in FHIR too, beside dcmtk storescp and Orthanc.

``python -m bench.imaging_store`` measures all; ``--smoke`` only ours and briefly. Listeners of DCMTK and Orthanc bind
every interface: where root may, everything runs in a network namespace of its own that has only loopback, and elsewhere
they are left out. No receiver but ours syncs to disk; ours answers when the bytes survive power loss.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pydicom
from pydicom.data import get_testdata_file

from bench import orthanc
from bench.imaging_receivers import FailedStoreError, Make, OrthancReceiver, Ours, Receiver, Storescp
from bench.report import verdict

_STUDIES, _SERIES = 5, 2
_PATIENCE = 300.0
_SLOWER = 8  # with Nagle's algorithm on at both ends an image takes 90 ms: others are sent fewer
_ROOT = "1.2.826.0.1.3680043.10.1"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """One kind of load. ``tiles``: so often CT_small (128 x 128) in both directions."""

    name: str
    tiles: int
    associations: int
    nagle: bool = False

    @property
    def title(self) -> str:
        """Return what the table calls it."""
        size = "39 kB" if self.tiles == 1 else "0.53 MB"
        count = "1 association" if self.associations == 1 else f"{self.associations} associations"
        return f"{size} CT, {count}, sender's Nagle {'on' if self.nagle else 'off'}"


WORKS = (
    Work("ct", 1, 1),
    Work("ct4", 1, 4),
    Work("ct-nagle", 1, 1, nagle=True),
    Work("ct4-nagle", 1, 4, nagle=True),
    Work("ct512", 4, 1),
    Work("ct512-4", 4, 4),
)
#: (bar, aim) in multiples of Orthanc's rate, index and ImagingStudy included; and of storescp's, acknowledged
ORTHANC_BARS = {False: (1.5, 3.0), True: (10.0, 20.0)}
STORESCP_BAR = 0.5


@dataclass(frozen=True)
class Sizes:
    """How much is sent, and how often."""

    instances: int = 2000
    rounds: int = 3
    works: tuple[Work, ...] = WORKS


SMOKE = Sizes(instances=20, rounds=1, works=(WORKS[0], WORKS[3]))


@dataclass
class Cell:
    """Rates of one work against one receiver; CPU in ms an instance."""

    stored: list[float] = field(default_factory=list)
    indexed: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


Figures = Mapping[tuple[str, str], Cell]


def template(tiles: int) -> bytes:
    """Return a CT image whose UIDs are marked by words of the same length."""
    image = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    rows = image.pixel_array
    if tiles > 1:
        image.PixelData = _tiled(rows.tobytes(), tiles)
        image.Rows = image.Columns = 128 * tiles
    image.StudyInstanceUID, image.SeriesInstanceUID = _mark("7", 0), _mark("8", 0)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = _mark("9", 0)
    with tempfile.TemporaryFile() as file:
        pydicom.dcmwrite(file, image, enforce_file_format=True)
        file.seek(0)
        return file.read()


def _tiled(pixels: bytes, tiles: int) -> bytes:
    lines = [pixels[at : at + 256] * tiles for at in range(0, len(pixels), 256)]
    return b"".join(lines) * tiles


def _mark(kind: str, number: int, run: int = 10**9) -> str:
    return f"{_ROOT}.{kind}.{run}.{100_000 + number}"


def write_images(folder: Path, count: int, tiles: int) -> list[Path]:
    """Write images with new UIDs, of a few studies and series."""
    content, run = template(tiles), 10**9 + uuid.uuid4().int % (9 * 10**9 - 10**9)
    paths = []
    for number in range(count):
        group = number % (_STUDIES * _SERIES)
        made = content
        for kind, index in (("7", group // _SERIES), ("8", group), ("9", number)):
            made = made.replace(_mark(kind, 0).encode(), _mark(kind, index, run).encode())
        paths.append(folder / f"{number:05}.dcm")
        paths[-1].write_bytes(made)
    return paths


def send(port: int, title: str, paths: Sequence[Path], work: Work) -> float:
    """Send images over some associations at once; return the seconds from the first start to the last end."""
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    if not work.nagle:
        environment["TCP_NODELAY"] = "1"
    hands = [paths[place :: work.associations] for place in range(work.associations)]
    began = time.monotonic()
    senders = [
        subprocess.Popen(
            ["dcmsend", "-nh", "-q", "-aec", title, "127.0.0.1", str(port), *map(str, hand)],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for hand in hands
    ]  # fmt: skip
    for sender in senders:
        _, errors = sender.communicate(timeout=_PATIENCE)
        if sender.returncode:
            raise FailedStoreError(f"dcmsend: {errors.decode(errors='replace')[-500:]}")
    return time.monotonic() - began


def measure(makers: Sequence[Make], folder: Path, sizes: Sizes, say: Say) -> Figures:
    """Send every work to every receiver, round by round in turn, so that what else the machine does meets all alike.

    There is one of each for senders with Nagle's algorithm off, and one for those with it on.
    """
    figures: dict[tuple[str, str], Cell] = {}
    for nagle in (False, True):
        works = [work for work in sizes.works if work.nagle is nagle]
        if not works:
            continue
        receivers = [make(folder / f"receiver-{place}-{nagle}", nagle=nagle) for place, make in enumerate(makers)]
        with contextlib.ExitStack() as running:
            for receiver in receivers:
                running.callback(receiver.stop)
                receiver.start()
            for work in works:
                for _ in range(sizes.rounds):
                    for receiver in receivers:
                        cell = figures.setdefault((work.name, receiver.name), Cell())
                        count = sizes.instances // (_SLOWER if nagle and receiver.name != Ours.name else 1)
                        _round(receiver, folder / "images", work, count, cell)
                for receiver in receivers:
                    cell = figures[work.name, receiver.name]
                    rates = f"{median(cell.stored):.0f}/s, indexed {median(cell.indexed):.0f}/s"
                    say(f"  {work.title}: {receiver.name} {rates}")
    return figures


def _round(receiver: Receiver, images: Path, work: Work, count: int, cell: Cell) -> None:
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    paths = write_images(images, count, work.tiles)
    before, cpu = receiver.indexed(), receiver.cpu()
    began = time.monotonic()
    seconds = send(receiver.dicom, receiver.title, paths, work)
    while receiver.indexed() < before + count:
        if time.monotonic() - began > _PATIENCE:
            raise FailedStoreError(f"{receiver.name} has {receiver.indexed() - before} of {count} images")
        time.sleep(0.02)
    cell.stored.append(count / seconds)
    cell.indexed.append(count / (time.monotonic() - began))
    cell.cpu.append((receiver.cpu() - cpu) / count)


def table(figures: Figures, sizes: Sizes) -> str:
    """Return the rates and ratios as Markdown."""
    names = [name for name in ("ours", "storescp", "orthanc") if any(key[1] == name for key in figures)]
    columns = (
        "ours acknowledged", "ours indexed, ImagingStudy included", "storescp", "Orthanc",
        "indexed ÷ Orthanc (bar, aim)", "acknowledged ÷ storescp (bar)",
    )  # fmt: skip
    lines = [
        f"| C-STORE, instances/s | {' | '.join(columns)} | CPU ms an instance ({', '.join(names)}) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for work in sizes.works:
        cells = {name: figures[work.name, name] for name in names if (work.name, name) in figures}
        ours, scp, other = cells["ours"], cells.get("storescp"), cells.get("orthanc")
        beside = _ratio(ours.indexed, other, *ORTHANC_BARS[work.nagle])
        plain = "" if work.nagle else _ratio(ours.stored, scp, STORESCP_BAR, 1.0)
        cpu = ", ".join(f"{median(cell.cpu):.1f}" for cell in cells.values())
        lines.append(
            f"| {work.title} | {median(ours.stored):.0f} | {median(ours.indexed):.0f} | {_rate(scp)} | {_rate(other)} "
            f"| {beside} | {plain} | {cpu} |"
        )
    return "\n".join(lines)


def _rate(cell: Cell | None) -> str:
    return f"{median(cell.indexed):.0f}" if cell else "-"


def _ratio(ours: Sequence[float], other: Cell | None, bar: float, aim: float) -> str:
    if other is None:
        return "-"
    quotient = median(ours) / median(other.stored)
    return f"{quotient:.2f} (≥ {bar}, {aim}): {verdict(quotient, bar, aim)}"


def text(folder: Path, sizes: Sizes, say: Say) -> str:
    """Measure and return the table; in a network of its own beside the others where that can be."""
    if shutil.which("dcmsend") is None:
        return "C-STORE: not measured, DCMTK is not installed (Debian: dcmtk)"
    receivers: list[Make] = [Ours]
    if orthanc.is_apart():
        receivers += [Storescp, OrthancReceiver]
    figures = measure(receivers, folder, sizes, say)
    return table(figures, sizes)


def main() -> None:
    """Parse the command line and run, apart where that can be."""
    parser = argparse.ArgumentParser(prog="python -m bench.imaging_store", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="ours alone, briefly")
    parser.add_argument("--only", default="", help="comma-separated: " + ",".join(work.name for work in WORKS))
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--instances", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the table here")
    given = parser.parse_args()
    if not given.smoke and not orthanc.is_apart():
        why = orthanc.missing()
        if not why:
            sys.exit(orthanc.run_apart("bench.imaging_store", sys.argv[1:]))
        print(f"ours alone: {why}", flush=True)
    sizes = SMOKE if given.smoke else Sizes()
    chosen = tuple(work for work in WORKS if work.name in given.only.split(",")) or sizes.works
    sizes = Sizes(given.instances or sizes.instances, given.rounds or sizes.rounds, chosen)
    folder = Path(tempfile.mkdtemp(prefix="renkei-bench-"))
    try:
        found = text(folder, sizes, lambda line: print(line, flush=True))
    except FailedStoreError as error:
        sys.exit(f"failed: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n" + found)
    if given.out:
        given.out.write_text(found)


if __name__ == "__main__":
    main()
