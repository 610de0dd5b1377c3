"""What one durable append costs on this disk: by how many wait together, and by how much a pack allocates ahead.

``python -m bench.imaging_packs [FOLDER]`` (default: here).
"""

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import uvloop

from adapters.dicom.archive.packs import Pack, RealDisk
from adapters.dicom.archive.writer import PackLimits, PackWriter
from adapters.dicom.model import Sender, Way

_SENDER = Sender(way=Way.DIMSE, name="BENCH")
_ROUNDS = 6
_STEPS = (0, 1 << 20, 4 << 20, 16 << 20, 64 << 20)


def appends(folder: Path, size: int, together: int, step: int, times: int) -> list[float]:
    """Return how long appends took, in ms."""
    pack = Pack(folder, f"202601/{uuid.uuid4()}", RealDisk(), step)
    piece = b"\1" * size
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        pack.append([piece] * together)
        took.append((time.perf_counter() - begin) * 1000)
    pack.remove()
    return took


async def writers(folder: Path, size: int, senders: int, number: int) -> tuple[float, float]:
    """Return objects a second and CPU ms an object of so many senders that each wait for their answer."""
    writer = PackWriter(folder, RealDisk(), lambda: int(time.time() * 1000), lambda: str(uuid.uuid4()), PackLimits())
    file = b"\1" * size

    async def sender() -> None:
        for _ in range(number // senders):
            await writer.put(file, _SENDER)

    cpu, begin = time.process_time(), time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(senders)))
    rate, cost = number / (time.perf_counter() - begin), (time.process_time() - cpu) / number * 1000
    writer.close()
    return rate, cost


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=".")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        print("append and fdatasync, ms: median / mean / 95 %")
        for size, together in ((39_000, 1), (39_000, 8), (530_000, 1)):
            took_by: dict[int, list[float]] = {step: [] for step in _STEPS}
            for _ in range(_ROUNDS):  # in turns, so that what else goes on strikes all of them
                for step, found in took_by.items():
                    found += appends(folder, size, together, step, 60)
            for step, unsorted in took_by.items():
                took = sorted(unsorted)
                print(
                    f"  {together} x {size / 1000:.0f} kB, {step >> 20} MiB ahead: {statistics.median(took):.2f} / "
                    f"{statistics.mean(took):.2f} / {took[int(len(took) * 0.95)]:.2f}"
                )
        for senders in (1, 4, 16):
            rate, cost = uvloop.run(writers(folder, 39_000, senders, 2000))
            print(f"  writer thread, {senders} senders of 39 kB: {rate:.0f}/s, {cost:.2f} ms CPU an object")


if __name__ == "__main__":
    main()
