"""Hospitals' feeds into the server as a user starts it: acknowledged, applied, imported; beside a floor without HL7.

``python -m bench.feeds_run`` measures all, ``--only adt,oru,import`` parts, ``--soak`` memory over 100 000 messages.
A run lasts until every message is applied. The floor takes the same bytes, and the very resources that came of them,
and only stores them: the messages durably, then the resources in one transaction for every 64 messages.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

from bench import hl7v2_parse
from bench.feeds import tree as storages
from bench.processes import free_port, memory_mb, program, python
from bench.servers import REPOSITORY, OurTarget
from fhir_server.storage.mongo.embedded import EmbeddedMongod

CONNECTIONS = 8
_WAVE = 64
_PATIENCE = 600.0
#: kind -> (title, bar, aim) in messages or files a second
WORKS: Mapping[str, tuple[str, int, int]] = {
    "adt": ("ADT^A08 over MLLP, 8 connections", 300, 600),
    "oru": ("ORU^R01 with 30 OBX over MLLP, 8 connections", 60, 120),
    "import": ("SS-MIX2 import, mixed types", 400, 800),
}


@dataclass(frozen=True)
class Sizes:
    """How much is sent and imported."""

    adt: int = 4000
    oru: int = 800
    files: int = 20_000
    patients: int = 1000
    rounds: int = 3


SMOKE = Sizes(adt=160, oru=40, files=200, patients=40, rounds=1)


@dataclass
class Figures:
    """What one work came to; rates a second, CPU in ms a message. ``resources`` are versions written."""

    kind: str
    messages: int
    seconds: float
    rate: float
    acknowledged: float
    resources: float
    server_cpu_ms: float
    database_cpu_ms: float
    client_cpu_ms: float
    p50_ms: float
    p99_ms: float
    floor: float = 0.0
    memory: Sequence[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Ours ÷ floor."""
        return self.rate / self.floor if self.floor else 0.0


class FailedFeedError(Exception):
    """Something was not applied, so the run says nothing about speed."""


class FeedTarget(OurTarget):
    """The server with an MLLP port."""

    def __init__(self, folder: Path, cache_mb: int = 1024, extra: Mapping[str, str] | None = None) -> None:
        self.mllp = free_port()
        super().__init__(folder, 2, cache_mb, {"RENKEI_MLLP": f"127.0.0.1:{self.mllp}", **(extra or {})})

    def feeds(self) -> list[int]:
        """Return the processes that hear and apply."""
        return [pid for pid in self.processes() if " fhir_server feeds " in program(pid)]

    def memory(self) -> float:
        """Return the resident MiB of the greatest process that hears or applies."""
        return max((memory_mb(pid)["rss"] for pid in self.feeds()), default=0.0)


def _waiting(client: "MongoClient[dict[str, Any]]", database: str) -> bool:
    return client[database]["message"].find_one({"st": "received"}, {"_id": 1}) is not None


def _versions(client: "MongoClient[dict[str, Any]]", database: str) -> int:
    found = client[database]
    return sum(found[name].estimated_document_count() for name in ("resource", "history"))


def sent(target: FeedTarget, kind: str, count: int, patients: int, seed: int, *, lazy: bool = False) -> Figures:
    """Send messages and wait until all are applied."""
    with MongoClient[dict[str, Any]](target.mongod_url()) as client:
        messages = client[target.database]["message"]
        applied = messages.count_documents({"st": "applied"})
        versions = _versions(client, target.database)
        command = python("-m", "bench.feeds_load", "--port", str(target.mllp), "--kind", kind)
        command += ["--messages", str(count), "--patients", str(patients), "--seed", str(seed)]
        command += ["--connections", str(CONNECTIONS), *(["--lazy"] if lazy else [])]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert sender.stdout is not None
        sender.stdout.readline()
        before = target.cpu()
        answers = json.loads(sender.stdout.readline() or "{}")
        if sender.wait() or answers["other"] or answers["accepted"] != count:
            raise FailedFeedError(f"not acknowledged: {answers.get('other')}")
        deadline = time.monotonic() + _PATIENCE
        while _waiting(client, target.database):
            if time.monotonic() > deadline:
                raise FailedFeedError("not applied in time")
            time.sleep(0.02)
        seconds = time.time() - answers["began"]
        after = target.cpu()
        done = messages.count_documents({"st": "applied"}) - applied
        if done != count:
            raise FailedFeedError(f"{count - done} of {count} messages were not applied")
        return Figures(
            kind=kind, messages=count, seconds=seconds, rate=count / seconds, acknowledged=answers["rate"],
            resources=(_versions(client, target.database) - versions) / seconds,
            server_cpu_ms=(after.server - before.server) / count,
            database_cpu_ms=(after.database - before.database) / count, client_cpu_ms=answers["cpu_ms"],
            p50_ms=answers["p50_ms"], p99_ms=answers["p99_ms"], memory=[target.memory()],
        )  # fmt: skip


def imported(folder: Path, files: int, seed: int) -> tuple[Figures, "Stored"]:
    """Import a storage into an empty data folder, by the command a hospital gives."""
    root = storages.storage(folder / "storage", seed, files)
    data = folder / "data"
    data.mkdir()
    environment = {
        **os.environ,
        "RENKEI_DATA": str(data),
        "RENKEI_MONGODB_CACHE_MB": "1024",
        "RENKEI_MLLP": "",
        "RENKEI_DICOM": "",
        "RENKEI_IMAGES_UPKEEP": "false",
    }
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        python("-m", "fhir_server", "ingest", "ssmix2", str(root)),
        env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds, after = time.monotonic() - began, os.times()
    if done.returncode:
        raise FailedFeedError((done.stdout + done.stderr)[-1500:])
    mongod = EmbeddedMongod(data, 1024)
    mongod.start()
    try:
        stored = Stored.read(mongod.url, "renkei")
    finally:
        mongod.stop()
    if len(stored.messages) != files:
        raise FailedFeedError(f"{files - len(stored.messages)} of {files} files were not applied")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    figures = Figures(
        kind="import", messages=files, seconds=seconds, rate=files / seconds, acknowledged=0.0,
        resources=len(stored.resources) / seconds, server_cpu_ms=1000 * cpu / files, database_cpu_ms=0.0,
        client_cpu_ms=0.0, p50_ms=0.0, p99_ms=0.0,
    )  # fmt: skip
    shutil.rmtree(data, ignore_errors=True)
    return figures, stored


@dataclass
class Stored:
    """Bytes that the floor stores: messages, and the versions of resources that came of them."""

    messages: list[bytes]
    resources: list[bytes]

    @classmethod
    def read(cls, url: str, database: str, received: int = 0) -> "Stored":
        """Read what a database holds of messages received since then."""
        with MongoClient[dict[str, Any]](url) as client:
            found = client[database]
            wanted = {"re": {"$gte": received}, "st": "applied"}
            messages = [bytes(row["raw"]) for row in found["message"].find(wanted, {"raw": 1})]
            resources = []
            for name in ("resource", "history"):
                rows = found[name].find({"lu": {"$gte": received}} if received else {}, {"raw": 1})
                resources += [bytes(row["raw"]) for row in rows if row.get("raw")]
        return cls(messages, resources)


def floor(folder: Path, stored: Stored) -> float:
    """Return messages a second where the same bytes are stored and nothing else is done."""
    mongod = EmbeddedMongod(folder / "floor", 1024)
    mongod.start()
    try:
        with MongoClient[dict[str, Any]](mongod.url) as client:
            durable = WriteConcern("majority", j=True)
            database = client.get_database("floor", write_concern=durable)
            for name in ("message", "resource"):
                database.create_collection(name)
            each = len(stored.resources) / len(stored.messages)
            began = time.monotonic()
            for start in range(0, len(stored.messages), _WAVE):
                raws = stored.messages[start : start + _WAVE]
                for at in range(0, len(raws), CONNECTIONS):
                    rows = raws[at : at + CONNECTIONS]
                    database["message"].insert_many([{"raw": raw} for raw in rows], ordered=False)
                part = stored.resources[int(start * each) : int((start + len(raws)) * each)]
                if part:
                    with client.start_session() as session, session.start_transaction(write_concern=durable):
                        database["resource"].insert_many([{"c": raw} for raw in part], ordered=False, session=session)
            return len(stored.messages) / (time.monotonic() - began)
    finally:
        mongod.stop()
        shutil.rmtree(folder / "floor", ignore_errors=True)


def measure(folder: Path, sizes: Sizes, works: Sequence[str], say: Callable[[str], None]) -> list[Figures]:
    """Measure these works one after the other, each with its floor."""
    found: list[Figures] = []
    if {"adt", "oru"} & {*works}:
        target = FeedTarget(folder / "feeds")
        target.start()
        try:
            sent(target, "adt", min(200, sizes.adt), 50, 99)  # warm
            for kind in ("adt", "oru"):
                if kind not in works:
                    continue
                rounds: list[Figures] = []
                for turn in range(sizes.rounds):
                    began = time.time_ns() // 1_000_000
                    figures = sent(target, kind, getattr(sizes, kind), sizes.patients, 1 + turn)
                    figures.floor = floor(folder, Stored.read(target.mongod_url(), target.database, began))
                    rounds.append(figures)
                    say(line(figures))
                found.append(middle(rounds))
        finally:
            target.stop()
        shutil.rmtree(folder / "feeds", ignore_errors=True)
    if "import" in works:  # long enough for one round
        figures, stored = imported(folder / "import", sizes.files, 7)
        figures.floor = floor(folder, stored)
        found.append(figures)
        say(line(figures))
        shutil.rmtree(folder / "import", ignore_errors=True)
    return found


def middle(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    names = [name for name, value in asdict(rounds[0]).items() if isinstance(value, float)]
    return replace(rounds[-1], **{name: median(getattr(one, name) for one in rounds) for name in names})


def soak(folder: Path, total: int, say: Callable[[str], None]) -> list[tuple[int, float]]:
    """Send many messages; return the memory of the listening process after each fifth of them."""
    target = FeedTarget(folder / "soak")
    target.start()
    found: list[tuple[int, float]] = [(0, target.memory())]
    try:
        for part in range(5):
            figures = sent(target, "adt", total // 5, sizes_of(total), 100 + part, lazy=True)
            found.append(((part + 1) * total // 5, target.memory()))
            say(f"{found[-1][0]} messages: {found[-1][1]:.0f} MiB; {figures.rate:.0f}/s applied")
    finally:
        target.stop()
        shutil.rmtree(folder / "soak", ignore_errors=True)
    return found


def sizes_of(total: int) -> int:
    """Return how many patients a soak of so many messages has in each of its parts."""
    return max(20, total // 25)


def line(found: Figures) -> str:
    """Return one line of progress."""
    return (
        f"{found.kind:7} {found.rate:7.0f}/s applied  {found.acknowledged:7.0f}/s acknowledged  "
        f"{found.resources:6.0f} versions/s  CPU {found.server_cpu_ms:.2f} + {found.database_cpu_ms:.2f} "
        f"(+ {found.client_cpu_ms:.2f} sender) ms  p50 {found.p50_ms:.1f} p99 {found.p99_ms:.1f} ms  "
        f"floor {found.floor:.0f}/s, ratio {found.ratio:.2f}"
    )


def table(figures: Sequence[Figures]) -> str:
    """Return the figures beside the bars, as Markdown."""
    lines = [
        "| work | applied | acknowledged | versions | floor | ours ÷ floor | bar | aim | verdict | CPU ms a message |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        title, bar, aim = WORKS[one.kind]
        verdict = "aim met" if one.rate >= aim else "met" if one.rate >= bar else "MISSED"
        acknowledged = f"{one.acknowledged:.0f}/s" if one.acknowledged else ""
        lines.append(
            f"| {title} | {one.rate:.0f}/s | {acknowledged} | {one.resources:.0f}/s | {one.floor:.0f}/s "
            f"| {one.ratio:.2f} | ≥ {bar}/s | {aim}/s | {verdict} "
            f"| {one.server_cpu_ms:.2f} + {one.database_cpu_ms:.2f} |"
        )
    return "\n".join(lines)


def text(folder: Path, sizes: Sizes, works: Sequence[str], say: Callable[[str], None]) -> str:
    """Measure and return the report as Markdown."""
    parts: list[str] = []
    if figures := measure(folder, sizes, works, say):
        today = dt.datetime.now(dt.UTC).date()
        conditions = f"{today}, {os.cpu_count()} cores; medians of {sizes.rounds} rounds. CPU: server + database."
        parts += [conditions, table(figures)]
    if "parse" in works:
        seconds, rounds = (0.02, 1) if sizes is SMOKE else (0.2, 5)
        parts.append(hl7v2_parse.report(hl7v2_parse.measure(seconds, rounds)))
    return "\n\n".join(parts)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", default="adt,oru,import,parse")
    parser.add_argument("--adt", type=int, default=Sizes.adt)
    parser.add_argument("--oru", type=int, default=Sizes.oru)
    parser.add_argument("--files", type=int, default=Sizes.files)
    parser.add_argument("--patients", type=int, default=Sizes.patients)
    parser.add_argument("--rounds", type=int, default=Sizes.rounds)
    parser.add_argument("--soak", type=int, nargs="?", const=100_000, default=0)
    given = parser.parse_args()
    sizes = SMOKE if given.smoke else Sizes(given.adt, given.oru, given.files, given.patients, given.rounds)
    folder = Path(tempfile.mkdtemp(prefix="renkei-feeds-"))
    try:
        if given.soak:
            for count, memory in soak(folder, given.soak, print):
                print(f"| {count} | {memory:.0f} MiB |")
            return
        print(text(folder, sizes, given.only.split(","), lambda line: print(line, flush=True)))
    except (FailedFeedError, PyMongoError) as error:
        sys.exit(f"failed: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
