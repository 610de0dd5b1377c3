"""A light HTTP/1.1 load generator: preformatted requests over keep-alive connections, one outstanding on each.

It runs as its own process (``python -m bench.load``), reads the requests from a file of length-prefixed frames,
looks at nothing of an answer but its status and length, talks to loopback only, and prints one JSON line.
"""

import argparse
import asyncio
import json
import random
import re
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_FRAME = struct.Struct("<II")


def request(method: str, path: str, body: bytes = b"", headers: Sequence[str] = (), weight: int = 1) -> "Request":
    """Return the bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: application/fhir+json", *headers]
    if body:
        lines += ["Content-Type: application/fhir+json", f"Content-Length: {len(body)}"]
    return Request("\r\n".join([*lines, "", ""]).encode() + body, weight)


class Request(NamedTuple):
    """The bytes of one request and how many resources it writes."""

    raw: bytes
    weight: int = 1


def write_frames(path: Path, requests: Sequence[Request]) -> None:
    """Write requests where :func:`read_frames` finds them."""
    with path.open("wb") as out:
        for item in requests:
            out.write(_FRAME.pack(len(item.raw), item.weight))
            out.write(item.raw)


def read_frames(path: Path) -> list[Request]:
    """Return the requests of a file in order."""
    raw, at, found = path.read_bytes(), 0, []
    while at < len(raw):
        length, weight = _FRAME.unpack_from(raw, at)
        at += _FRAME.size
        found.append(Request(raw[at : at + length], weight))
        at += length
    return found


class Tally:
    """What one run counted; ``latencies`` in seconds."""

    def __init__(self, deadline: float, limit: int) -> None:
        self.deadline = deadline
        self.limit = limit
        self.sent = 0
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.received = 0
        self.resources = 0
        self.ended = 0.0

    def more(self, now: float) -> bool:
        """Say whether another request may be sent, and count it."""
        if now >= self.deadline or self.sent >= self.limit:
            return False
        self.sent += 1
        return True


class Connection(asyncio.Protocol):
    """One keep-alive connection with one outstanding request."""

    def __init__(self, requests: Iterator[Request], tally: Tally, done: asyncio.Future[None]) -> None:
        self.requests = requests
        self.tally = tally
        self.done = done
        self.head = b""
        self.missing = 0
        self.chunked = False
        self.tail = b""
        self.status = b""
        self.started = 0.0
        self.weight = 1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class does not derive from it
        self.send(time.perf_counter())

    def send(self, now: float) -> None:
        """Send the next request, or close at the end."""
        assert self.transport is not None
        if self.tally.more(now):
            self.started = now
            asked = next(self.requests)
            self.weight = asked.weight
            self.transport.write(asked.raw)
        else:
            self.finish()

    def finish(self) -> None:
        """End this connection's work."""
        if not self.done.done():
            self.done.set_result(None)
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read status and length; when an answer is complete, count it and send the next request."""
        if self.chunked:
            self.tail = (self.tail + data[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
        elif self.missing:
            self.missing -= len(data)
        else:
            head = self.head + data if self.head else data
            end = head.find(b"\r\n\r\n")
            if end < 0:
                self.head = head
                return
            self.head = b""
            self.status = head[9:12]
            length = _LENGTH.search(head, 0, end)
            self.chunked = _CHUNKED.search(head, 0, end) is not None
            self.tail = head[end + 2 :][-len(_LAST_CHUNK) :]
            if length is None and not self.chunked and self.status not in (b"204", b"304"):
                self.tally.errors["answer without Content-Length"] += 1
                self.finish()
                return
            self.missing = 0 if self.chunked else (int(length[1]) if length else 0) - (len(head) - end - 4)
        tally = self.tally
        tally.received += len(data)
        if self.missing > 0 or (self.chunked and self.tail != _LAST_CHUNK):
            return
        self.chunked = False
        now = time.perf_counter()
        tally.latencies.append(now - self.started)
        tally.statuses[self.status.decode()] += 1
        tally.resources += self.weight
        tally.ended = now
        self.send(now)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        """Count a connection the server closed."""
        if not self.done.done():
            self.tally.errors["connection lost"] += 1
            self.done.set_result(None)


async def run(
    port: int, requests: Sequence[Request], connections: int, seconds: float, limit: int, seed: int
) -> dict[str, object]:
    """Drive the server on loopback and return the figures."""
    loop = asyncio.get_running_loop()
    order = list(requests)
    random.Random(seed).shuffle(order)

    def endless() -> Iterator[Request]:
        while True:
            yield from order

    source = endless()
    begun = time.perf_counter()
    tally = Tally(begun + seconds, limit)
    waits: list[asyncio.Future[None]] = []
    for _ in range(connections):  # one after the other, so that workers sharing a socket share the connections
        done: asyncio.Future[None] = loop.create_future()
        waits.append(done)
        await loop.create_connection(partial(Connection, source, tally, done), "127.0.0.1", port)
        await asyncio.sleep(0.002)
    await asyncio.wait(waits, timeout=seconds + 60)
    unfinished = sum(not done.done() for done in waits)
    if unfinished:
        tally.errors["no answer in time"] += unfinished
    took = max(tally.ended - begun, 1e-9)
    times = sorted(tally.latencies) or [0.0]
    return {
        "operations": len(tally.latencies),
        "seconds": took,
        "rate": len(tally.latencies) / took,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[min(len(times) - 1, int(len(times) * 0.99))] * 1e3,
        "max_ms": times[-1] * 1e3,
        "resources": tally.resources,
        "bytes": tally.received,
        "statuses": dict(tally.statuses),
        "errors": dict(tally.errors),
        "generator_cpu_ms": time.process_time() * 1e3,
    }


def main() -> None:
    """Parse the command line, run, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--limit", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    requests = read_frames(given.requests)
    figures = uvloop.run(run(given.port, requests, given.connections, given.seconds, given.limit, given.seed))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
