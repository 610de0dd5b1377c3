"""What keeping and indexing an image costs: the archive over the real door, with store and tables in memory.

``python -m bench.imaging_wave`` prints CPU an image (all threads), apart for keeping and for waves; with ``--profile``
also where it goes. ``--rate`` images come a second (0: as fast as they are taken).
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
import uuid
from pathlib import Path
from zoneinfo import ZoneInfo

import uvloop
from pydicom.data import get_testdata_file

from adapters.context import Context
from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.model import Fate, Sender, Way
from fhir_server.definitions import registry
from fhir_server.interactions import context as interactions
from fhir_server.interactions.door import Door
from fhir_server.operations import OPERATIONS
from fhir_server.search.parameters import compile_parameters
from fhir_server.settings import Settings
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from fhir_server.storage.memory import MemoryStore
from fhir_server.validation import compile_validator
from terminology.ucum import Ucum

_ZONE = ZoneInfo("Asia/Tokyo")
_SENDER = Sender(way=Way.DIMSE, name="BENCH")


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class _Ids:
    def new_id(self) -> str:
        return str(uuid.uuid4())


def images(number: int, studies: int) -> list[bytes]:
    """Return so many CT images with UIDs of their own, in so many studies of two series."""
    template = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    old = [
        b"1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
        b"1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
        b"1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
    ]
    found = []
    for place in range(number):
        study = place % studies
        series = 2 * study + place // studies % 2
        content = template
        for root, (before, after) in enumerate(zip(old, (place, study, series), strict=True)):
            begin = f"1.9.{root}.1"
            content = content.replace(before, f"{begin}{after:0{len(before) - len(begin)}d}".encode())
        found.append(content)
    return found


def door() -> tuple[Door, MemoryStore]:
    """Return a door over a store in memory, with the definitions of the core package."""
    definitions = registry.load_apart(Settings().cache_folder, ())
    clock = _Clock()
    store = MemoryStore(clock)
    made = interactions.Context(
        definitions=definitions,
        base_definitions=definitions,
        validator=compile_validator(definitions),
        search=compile_parameters(definitions, Ucum(), _ZONE),
        compile_search=lambda found: compile_parameters(found, Ucum(), _ZONE),
        store=store,
        clock=clock,
        ids=_Ids(),
        operations={operation.code: operation for operation in OPERATIONS},
        limits=interactions.Limits(),
        zone=_ZONE,
    )
    return Door(made), store


async def run(number: int, studies: int, rate: float, profile: bool) -> None:
    """Keep and index so many images; print what that cost."""
    files = images(number, studies)
    served, store = door()
    context = Context(
        handle=served.handle, tables=store.tables, journal=MemoryJournal(_Clock()), blobs=MemoryBlobs(),
        clock=_Clock(), ids=_Ids(), zone=_ZONE, base="http://bench.test/fhir",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=".") as folder:
        archive = Archive(context, Path(folder), ArchiveOptions())
        gc.collect()
        gc.freeze()
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        cpu, wall = time.process_time(), time.perf_counter()
        for place, file in enumerate(files):
            verdict = await archive.keep(file, _SENDER, wait=False)
            assert verdict.fate is Fate.STORED, verdict
            if rate and (ahead := place / rate - (time.perf_counter() - wall)) > 0:
                await asyncio.sleep(ahead)
        kept, kept_wall, waiting = time.process_time() - cpu, time.perf_counter() - wall, archive.waiting
        await archive.settled()
        total, total_wall = time.process_time() - cpu, time.perf_counter() - wall
        profiler.disable()
        await archive.stop()
    print(
        f"{number} images of {len(files[0]) / 1000:.0f} kB in {studies} studies: {total / number * 1000:.2f} ms CPU an "
        f"image, {number / total_wall:.0f}/s; at the last answer {kept / number * 1000:.2f} ms, "
        f"{number / kept_wall:.0f}/s, {waiting} waiting"
    )
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    uvloop.run(run(given.images, given.studies, given.rate, given.profile))


if __name__ == "__main__":
    main()
