"""How fast journalled messages become resources over MongoDB: apply alone, with drafts that cost nothing to make.

``python -m bench.feeds_apply`` prints the figures; with ``--profile`` also where this process spends its time.
"""

import argparse
import cProfile
import gc
import hashlib
import itertools
import pstats
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import uvloop

from adapters.context import Context
from adapters.hl7v2.mapping.draft import Draft, Lookup, Mapped, Mode, Node
from adapters.ingest.apply import Applier
from adapters.sources import Source, Sources
from fhir_server.core.messages import Channel, Finding, Message, Origin, Outcome, Status
from fhir_server.definitions import registry
from fhir_server.interactions import context as interactions
from fhir_server.interactions.door import Door
from fhir_server.operations import OPERATIONS
from fhir_server.search.parameters import compile_parameters
from fhir_server.settings import Settings
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.mongo.embedded import EmbeddedMongod
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.validation import compile_validator
from terminology.ucum import Ucum

SYSTEM = "urn:oid:1.2.392.100495.20.3.51.11310000001"
_ZONE = ZoneInfo("Asia/Tokyo")
_PATIENTS = 2000
_START = 1_700_000_000_000


@dataclass(frozen=True)
class Figures:
    """What one run came to. ``cpu_ms`` is this process's CPU a message, ``database_ms`` the database's."""

    kind: str
    messages: int
    seconds: float
    rate: float
    resources: float
    cpu_ms: float
    database_ms: float
    waves: int


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class _Ids:
    def __init__(self) -> None:
        self._numbers = itertools.count()

    def new_id(self) -> str:
        return f"bench-{next(self._numbers)}"


class _Mapper:
    """Makes the drafts that the message's number stands for."""

    def map(self, er7: Any, source: Source, received: int) -> Mapped:  # noqa: ARG002  # the port's signature
        kind, number = er7.split(b" ")
        return _MAKERS[kind.decode()](int(number))


def _read(message: Message, _: Source) -> tuple[Any, tuple[Finding, ...]]:
    return message.raw, ()


def _patient(number: int, turn: int, mode: Mode) -> Draft:
    key = f"{number % _PATIENTS:08}"
    tree = Node(
        identifier=[{"id": "PID-3.1", "system": SYSTEM, "value": key}],
        name=[
            {"id": "PID-5.1", "use": "official", "text": "山田 太郎", "family": "山田", "given": ["太郎"]},
            {"id": "PID-5.2", "use": "official", "text": "ヤマダ タロウ", "family": "ヤマダ", "given": ["タロウ"]},
        ],
        gender="male",
        birthDate="1950-02-03",
        address=[
            {"id": "PID-11.1", "text": f"東京都千代田区一丁目{turn}番地", "postalCode": "100-0001", "country": "JPN"}
        ],
        telecom=[{"id": "PID-13.1", "system": "phone", "value": f"03-0000-{turn:04}", "use": "home"}],
    )
    stated = {"PID-3", "PID-5", "PID-11", "PID-13"}
    identifiers = ((SYSTEM, key),)
    return Draft(
        type="Patient", key=key, tree=tree, mode=mode, lookup=Lookup.IDENTIFIER, identifiers=identifiers, stated=stated
    )


def adt(number: int) -> Mapped:
    """Return a change of address with the encounter it came with."""
    turn = number // _PATIENTS
    patient = _patient(number, turn, Mode.UPSERT)
    link: dict[str, Any] = {}
    doctor: dict[str, Any] = {}
    encounter = Draft(
        type="Encounter",
        key=f"{patient.key}/{turn}",
        tree=Node(
            {
                "status": "in-progress",
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                "subject": link,
                "participant": [{"id": "PV1-7.1", "individual": doctor}],
                "period": Node(start="2024-03-01T10:00:00+09:00"),
            }
        ),
        links=[(link, 0), (doctor, 2)],
    )
    staff = f"{number % 50}"
    practitioner = Draft(
        type="Practitioner",
        key=staff,
        mode=Mode.COMPLETE,
        tree=Node(identifier=[{"system": "urn:bench:staff", "value": staff}], name=[{"text": "医師 花子"}]),
    )
    return Mapped(drafts=[patient, encounter, practitioner], unmapped={"PID-26": 1, "PV1-44": 1}, findings=[])


def oru(number: int) -> Mapped:
    """Return a report with thirty results."""
    patient = _patient(number, 0, Mode.ENSURE)
    drafts = [patient]
    links: list[tuple[dict[str, Any], int]] = [({}, 0)]
    report = Draft(
        type="DiagnosticReport",
        key=f"{number}",
        tree=Node(
            status="final",
            code={"coding": [{"system": "http://loinc.org", "code": "11502-2"}]},
            subject=links[0][0],
            effectiveDateTime="2024-03-01T10:00:00+09:00",
            result=[],
        ),
        links=links,
    )
    drafts.append(report)
    for place in range(30):
        subject: dict[str, Any] = {}
        drafts.append(
            Draft(
                type="Observation",
                key=f"{number}/{place}",
                tree=Node(
                    status="final",
                    category=[
                        {
                            "coding": [
                                {
                                    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                                    "code": "laboratory",
                                }
                            ]
                        }
                    ],
                    code={
                        "coding": [{"system": "urn:oid:1.2.392.200119.4.504", "code": f"3A0100000023{place:05}"}],
                        "text": "検査項目",
                    },
                    subject=subject,
                    effectiveDateTime="2024-03-01T10:00:00+09:00",
                    valueQuantity={
                        "value": place + 1,
                        "unit": "mg/dL",
                        "system": "http://unitsofmeasure.org",
                        "code": "mg/dL",
                    },
                    referenceRange=[{"low": {"value": 1, "unit": "mg/dL"}, "high": {"value": 9, "unit": "mg/dL"}}],
                ),
                links=[(subject, 0)],
            )
        )
        reference: dict[str, Any] = {}
        report.tree["result"].append(reference)
        links.append((reference, len(drafts) - 1))
    return Mapped(
        drafts=drafts,
        unmapped={"OBX-14": 30},
        findings=[],
        subject=f"bench/{number}",
        replaces=frozenset(("Observation",)),
    )


_MAKERS: dict[str, Callable[[int], Mapped]] = {"adt": adt, "oru": oru}


def message(kind: str, number: int) -> Message:
    """Return a journalled message that stands for some drafts; its bytes are about as long as a real one's."""
    raw = f"{kind} {number}".encode()
    moment = _START + number
    return Message(
        id=hashlib.sha256(raw).hexdigest()[:32],
        source="his",
        origin=Origin(Channel.MLLP, "10.0.0.1:5000"),
        received=moment,
        sequence=moment * 1000,
        raw=raw,
        hash=hashlib.sha256(raw).hexdigest(),
        type="ADT^A08" if kind == "adt" else "ORU^R01",
        control_id=str(number),
        charset="utf-8",
        lane=f"his/{number % _PATIENTS:08}",
        event=moment,
        answer=b"MSH|^~\\&|ACK\rMSA|AA|1\r",
    )


async def open_applier(url: str, database: str) -> tuple[Applier, MongoStore]:
    """Return an applier over a store at this address, with the real door."""
    definitions = registry.load(Settings().cache_folder)
    store = MongoStore.connect(url, database)
    await store.prepare()
    door = Door(
        interactions.Context(
            definitions=definitions,
            base_definitions=definitions,
            validator=compile_validator(definitions),
            search=compile_parameters(definitions, Ucum(), _ZONE),
            store=store,
            clock=_Clock(),
            ids=_Ids(),
            operations={operation.code: operation for operation in OPERATIONS},
            zone=_ZONE,
        )
    )
    journal = store.journal(MemoryBlobs())
    await journal.prepare()
    context = Context(
        handle=door.handle,
        journal=journal,
        blobs=MemoryBlobs(),
        clock=_Clock(),
        ids=_Ids(),
        zone=_ZONE,
        base="http://localhost/fhir",
    )
    return Applier(context, _Mapper(), Sources(), read=_read), store


def _cpu(pid: int | None) -> float:
    if pid is None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def measure(
    applier: Applier,
    journal: Any,
    kind: str,
    first: int,
    number: int,
    pid: int | None,
    profile: cProfile.Profile | None,
) -> Figures:
    """Journal messages, then apply them; only the applying is timed."""
    messages = [message(kind, place) for place in range(first, first + number)]
    await journal.add_all(messages)
    counts = dict(applier.counts)
    before, database, began = _cpu(None), _cpu(pid) if pid else 0.0, time.perf_counter()
    if profile:
        profile.enable()
    outcomes: Sequence[Outcome] = await applier.apply_now(messages)
    if profile:
        profile.disable()
    seconds = time.perf_counter() - began
    assert all(outcome.status is Status.APPLIED for outcome in outcomes), outcomes[0].findings
    entries = applier.counts["entries"] - counts.get("entries", 0)
    return Figures(
        kind=kind,
        messages=number,
        seconds=round(seconds, 2),
        rate=round(number / seconds, 1),
        resources=round(entries / seconds, 1),
        cpu_ms=round((_cpu(None) - before) / number * 1000, 3),
        database_ms=round((_cpu(pid) - database) / number * 1000, 3) if pid else 0.0,
        waves=applier.counts["waves"] - counts.get("waves", 0),
    )


async def figures(
    url: str, pid: int | None, scale: float = 1.0, profile: cProfile.Profile | None = None
) -> list[Figures]:
    """Return the figures of both kinds: patients first made (not timed), then changed, and reports."""
    applier, store = await open_applier(url, f"bench{time.time_ns()}")
    gc.collect()  # as every process of the server does
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    journal = applier._journal
    try:
        await measure(applier, journal, "adt", 0, _PATIENTS, pid, None)
        adts, orus = int(4000 * scale), int(400 * scale)
        return [
            await measure(applier, journal, "adt", _PATIENTS, adts, pid, profile),
            await measure(applier, journal, "oru", 10_000_000, orus, pid, profile),
        ]
    finally:
        await store.close()


def main() -> None:
    """Measure over a private database."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mongod = EmbeddedMongod(Path(folder), cache_mb=1024)
        mongod.start()
        try:
            profile = cProfile.Profile() if options.profile else None
            for found in uvloop.run(figures(mongod.url, mongod.pid, options.scale, profile)):
                print(asdict(found))
            if profile:
                pstats.Stats(profile).sort_stats("cumtime").print_stats(110)
        finally:
            mongod.stop()


if __name__ == "__main__":
    main()
