"""A sender of HL7 v2 messages over MLLP: several connections, one message outstanding on each, every answer looked at.

``python -m bench.feeds_load --port 2575 --kind adt --messages 3000`` prints the figures as JSON. Invented patients;
each patient's messages go over one connection, in order, each with a control id of its own.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median

import uvloop

from bench.feeds import messages
from bench.feeds.messages import Case, Made
from bench.feeds.patients import person

_START, _END = b"\x0b", b"\x1c\r"
_MAKERS: Mapping[str, Callable[[Case], Made]] = {"adt": messages.adt_a08, "oru": messages.oru_r01}
#: one case a patient and working hour of a year; later ones are of the year before
_CASES = 324


def feed(kind: str, seed: int, patients: int, count: int, share: int = 0, shares: int = 1) -> Iterator[bytes]:
    """Yield those of ``count`` messages, round by round through the patients, that are of this share's patients."""
    made = _MAKERS[kind]
    for number in range(count):
        turn, at = divmod(number, patients)
        if at % shares == share:
            case = messages.case(seed, person(seed, at), turn % _CASES)
            control = f"{kind[0]}{seed % 1000:03}{at:06}{turn:06}"
            yield made(case._replace(control=control)).raw


class Told:
    """What the server answered."""

    def __init__(self) -> None:
        self.accepted = 0
        self.other: list[str] = []
        self.seconds: list[float] = []


async def send(port: int, frames: Iterator[bytes], told: Told) -> None:
    """Send one after the other, each once the one before is acknowledged."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    for raw in frames:
        began = time.perf_counter()
        writer.write(_START + raw + _END)
        answer = await reader.readuntil(_END)
        told.seconds.append(time.perf_counter() - began)
        if b"\rMSA|AA|" in answer:
            told.accepted += 1
        else:
            told.other.append(answer.decode("ascii", "replace")[:300])
    writer.close()


async def run(given: argparse.Namespace) -> dict[str, object]:
    """Prepare every message, send them all, return the figures."""
    shares = [
        feed(given.kind, given.seed, given.patients, given.messages, at, given.connections)
        for at in range(given.connections)
    ]
    if not given.lazy:  # making messages is not measured, unless there are too many to keep
        shares = [iter(list(share)) for share in shares]
    told = Told()
    print(json.dumps({"ready": True}), flush=True)
    began, cpu = time.time(), time.process_time()
    await asyncio.gather(*(send(given.port, share, told) for share in shares))
    seconds = time.time() - began
    return {
        "began": began,
        "seconds": seconds,
        "accepted": told.accepted,
        "other": told.other[:3],
        "rate": told.accepted / seconds,
        "p50_ms": 1000 * median(told.seconds),
        "p99_ms": 1000 * sorted(told.seconds)[int(0.99 * (len(told.seconds) - 1))],
        "cpu_ms": 1000 * (time.process_time() - cpu) / max(1, len(told.seconds)),
    }


def main() -> None:
    """Parse the command line, send, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=sorted(_MAKERS), default="adt")
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lazy", action="store_true")
    print(json.dumps(uvloop.run(run(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
