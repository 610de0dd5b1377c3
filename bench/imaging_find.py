"""Looking up studies in the image index as it grows: 5 000 and 50 000 studies in the tables of a real MongoDB.

``python -m bench.imaging_find``. What is measured is what a query costs below HTTP and DIMSE: one question at a time,
20 matches at most, random values that exist.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from adapters.dicom.archive.fields import LAYOUTS
from adapters.dicom.archive.find import ImageIndex, ImageQuery, Match
from adapters.dicom.archive.rows import series_row, study_row
from adapters.dicom.model import Level, Series, Study
from fhir_server.storage.mongo.embedded import EmbeddedMongod
from fhir_server.storage.mongo.store import MongoStore

SIZES = (5_000, 50_000)
BAR_MS, AIM_MS = 20.0, 10.0
_BATCH = 500
_QUESTIONS = 200
_FAMILIES = (
    ("Yamada", "山田", "やまだ"), ("Suzuki", "鈴木", "すずき"), ("Satou", "佐藤", "さとう"),
    ("Tanaka", "田中", "たなか"), ("Itou", "伊藤", "いとう"), ("Watanabe", "渡辺", "わたなべ"),
    ("Nakamura", "中村", "なかむら"), ("Oota", "太田", "おおた"),
    ("Shimizu", "清水", "しみず"), ("Hashimoto", "橋本", "はしもと"),
)  # fmt: skip
_GIVEN = (
    ("Tarou", "太郎", "たろう"), ("Hanako", "花子", "はなこ"), ("Jun", "純", "じゅん"),
    ("Shin'ichi", "進一", "しんいち"),
    ("Yuuko", "優子", "ゆうこ"), ("Makoto", "誠", "まこと"), ("Keiko", "恵子", "けいこ"), ("Takashi", "隆", "たかし"),
)  # fmt: skip
_MODALITIES = ("CT", "MR", "CR", "US", "DX", "MG", "XA", "NM")


@dataclass
class Times:
    """p50 and the 95th percentile in ms by question, for one number of studies."""

    studies: int
    p50_ms: dict[str, float] = field(default_factory=dict)
    p95_ms: dict[str, float] = field(default_factory=dict)


def _text(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def made_study(number: int, luck: random.Random) -> tuple[Study, Series]:
    """Return one study of a patient who has two and a half on average."""
    patient = luck.randrange(max(1, number * 2 // 5 + 1))
    person = random.Random(patient)
    family, given = person.choice(_FAMILIES), person.choice(_GIVEN)
    name = {group: f"{family[at]}{patient // 4 if not at else ''}^{given[at]}"
            for at, group in enumerate(("Alphabetic", "Ideographic", "Phonetic"))}  # fmt: skip
    modality = luck.choice(_MODALITIES)
    uid = f"1.2.392.200036.9999.{number}"
    attributes = {
        "00080020": _text("DA", f"{luck.randrange(2015, 2026)}{luck.randrange(1, 13):02}{luck.randrange(1, 29):02}"),
        "00080030": _text("TM", f"{luck.randrange(8, 19):02}{luck.randrange(60):02}{luck.randrange(60):02}"),
        "00080050": _text("SH", f"A{number:08}"),
        "00080090": _text("PN", {"Alphabetic": "Ishi^Dare", "Ideographic": "医師^誰"}),
        "00081030": _text("LO", f"{modality} {luck.choice(('CHEST', 'ABDOMEN', 'HEAD'))}"),
        "00100010": _text("PN", name),
        "00100020": _text("LO", f"P{patient:07}"),
        "00100021": _text("LO", "HOSPITAL"),
        "00100030": _text("DA", f"{person.randrange(1930, 2020)}0101"),
        "00100040": _text("CS", person.choice("MF")),
        "0020000D": _text("UI", uid),
        "00200010": _text("SH", str(number)),
    }
    study = Study(
        uid=uid, patient_id=f"P{patient:07}", issuer="HOSPITAL", modalities=(modality,), series=1, instances=100,
        sop_classes=("1.2.840.10008.5.1.4.1.1.2",), size=50_000_000, attributes=attributes,
        patient=f"Patient/{patient}", imaging_study=f"ImagingStudy/{number}", arrived=number, revision=1,
    )  # fmt: skip
    series = Series(
        uid=f"{uid}.1", study=uid, modality=modality, number=1, instances=100, revision=1,
        attributes={"00080060": _text("CS", modality), "0008103E": _text("LO", "Axial 5mm")},
    )  # fmt: skip
    return study, series


@contextlib.asynccontextmanager
async def filled(url: str, name: str) -> AsyncIterator[tuple[MongoStore, Callable[[int], Any]]]:
    """Give an empty store and what fills it up to a number of studies."""
    store = MongoStore.connect(url, name)
    await store.prepare()
    await store.tables.prepare(LAYOUTS)
    luck = random.Random(7)
    there = 0

    async def fill(studies: int) -> None:
        nonlocal there
        while there < studies:
            batch = [made_study(number, luck) for number in range(there, min(there + _BATCH, studies))]
            await store.tables.write([row for study, series in batch for row in (study_row(study), series_row(series))])
            there += len(batch)

    try:
        yield store, fill
    finally:
        await store.close()


def questions(studies: int) -> dict[str, Callable[[random.Random], ImageQuery]]:
    """Return what is asked, by name."""

    def ask(*keys: tuple[str, str], level: Level = Level.STUDY, fuzzy: bool = False) -> ImageQuery:
        return ImageQuery(
            level=level, matches=tuple(Match(tag, (value,)) for tag, value in keys), fuzzy=fuzzy, limit=20
        )

    def patient(luck: random.Random) -> str:
        return f"P{luck.randrange(studies * 2 // 5):07}"

    return {
        "patient ID": lambda luck: ask(("00100020", patient(luck))),
        "patient ID, series": lambda luck: ask(("00100020", patient(luck)), level=Level.SERIES),
        "accession number": lambda luck: ask(("00080050", f"A{luck.randrange(studies):08}")),
        "newest": lambda _: ask(),
        "date and modality": lambda luck: ask(
            ("00080020", f"2020{luck.randrange(1, 13):02}01-2020{luck.randrange(1, 13):02}28"), ("00080061", "MR")
        ),
        "name YAMADA12*": lambda luck: ask(
            ("00100010", f"{luck.choice(_FAMILIES)[0].upper()}{luck.randrange(10, 99)}*")
        ),
        "name 山田*": lambda luck: ask(("00100010", f"{luck.choice(_FAMILIES)[1]}*")),
        "name *太郎": lambda luck: ask(("00100010", f"*{luck.choice(_GIVEN)[1]}")),
        "fuzzy タロウ yamada": lambda luck: ask(
            ("00100010", f"{luck.choice(_GIVEN)[2]} {luck.choice(_FAMILIES)[0]}"), fuzzy=True
        ),
    }


async def measure(url: str, sizes: Sequence[int] = SIZES, asked: int = _QUESTIONS) -> list[Times]:
    """Fill a database of each size, and ask them in turn, so that what else the machine does is the same for all."""
    found = [Times(size) for size in sizes]
    async with contextlib.AsyncExitStack() as opened:
        indexes = []
        for size in sizes:
            store, fill = await opened.enter_async_context(filled(url, f"imaging_find_{size}"))
            await fill(size)
            indexes.append(ImageIndex(store.tables))
        for name in questions(1):
            taken: list[list[float]] = [[] for _ in sizes]
            luck = random.Random(name)
            for _ in range(asked):
                for index, size, times in zip(indexes, sizes, taken, strict=True):
                    query = questions(size)[name](luck)
                    began = time.perf_counter()
                    _ = [one async for one in index.find(query)]
                    times.append((time.perf_counter() - began) * 1000)
            for result, times in zip(found, taken, strict=True):
                result.p50_ms[name] = median(times)
                result.p95_ms[name] = sorted(times)[int(len(times) * 0.95)]
    return found


def table(found: Sequence[Times]) -> str:
    """Return the figures as Markdown."""
    small, large = found[0], found[-1]
    lines = [
        f"| query, 20 matches at most | {small.studies} studies: p50 ms | {large.studies}: p50 ms | p95 ms | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, p50 in large.p50_ms.items():
        ratio = p50 / small.p50_ms[name]
        lines.append(f"| {name} | {small.p50_ms[name]:.1f} | {p50:.1f} | {large.p95_ms[name]:.1f} | {ratio:.1f} |")
    return "\n".join(lines)


def run(sizes: Sequence[int] = SIZES, asked: int = _QUESTIONS) -> list[Times]:
    """Measure on a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        mongod = EmbeddedMongod(Path(folder), cache_mb=512)
        mongod.start()
        try:
            return asyncio.run(measure(mongod.url, sizes, asked))
        finally:
            mongod.stop()


def text(*, smoke: bool = False) -> str:
    """Measure, and return the figures with what the bars say of the first question."""
    found = run((200, 1_000), 20) if smoke else run()
    p50 = found[-1].p50_ms["patient ID"]
    ratio = p50 / found[0].p50_ms["patient ID"]
    verdict = "aim met" if p50 <= AIM_MS else "met" if p50 <= BAR_MS else "MISSED"
    said = f"patient ID: p50 {p50:.1f} ms, bar {BAR_MS:.0f}, aim {AIM_MS:.0f}: {verdict}; ratio {ratio:.1f}"
    return f"{table(found)}\n\n{said}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.imaging_find", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    print(table(run(sizes)))


if __name__ == "__main__":
    main()
