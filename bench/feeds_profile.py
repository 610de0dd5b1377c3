"""Where the process that hears and applies spends its time: the real parts in this process, over a private database.

``python -m bench.feeds_profile adt 1000`` prints CPU a message, and the share of each function (with what it calls) in
it: the stack is looked at every millisecond of CPU, which costs next to nothing and so distorts nothing.
"""

import argparse
import asyncio
import gc
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import uvloop

from adapters.hl7v2.port import Peer, PortOptions
from adapters.hl7v2.structure import StructureTables
from adapters.ingest.receive import Receiver
from adapters.ssmix2 import walk
from adapters.ssmix2.importing import Importer
from adapters.ssmix2.reading import source_of
from bench.feeds import tree as storages
from bench.feeds_load import feed
from fhir_server import wiring
from fhir_server.commands.ingest import _lots
from fhir_server.interactions.door import Door
from fhir_server.settings import Settings
from fhir_server.storage.mongo.embedded import EmbeddedMongod
from fhir_server.wiring import feeds


class Samples:
    """Counts which functions are on the stack while CPU is used."""

    def __init__(self) -> None:
        self.total = 0
        self.within: Counter[str] = Counter()
        self.own: Counter[str] = Counter()

    def clear(self) -> None:
        """Forget what was seen."""
        self.total = 0
        self.within.clear()
        self.own.clear()

    def start(self) -> None:
        """Look from now on."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def stop(self) -> None:
        """Look no longer."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _: int, frame: FrameType | None) -> None:
        self.total += 1
        names: list[str] = []
        while frame is not None:
            code = frame.f_code
            names.append(f"{'/'.join(code.co_filename.split('/')[-3:])}:{code.co_name}")
            frame = frame.f_back
        self.own[names[0]] += 1
        self.within.update(set(names))

    def report(self, lines: int) -> str:
        """Return shares in percent."""
        said = []
        for title, counts in (("with what they call", self.within), ("alone", self.own)):
            said.append(f"--- {title} ({self.total} samples)")
            said += [f"{100 * number / self.total:5.1f} %  {name}" for name, number in counts.most_common(lines)]
        return "\n".join(said)


async def run(url: str, folder: Path, given: argparse.Namespace, samples: Samples) -> None:
    """Receive all messages, then apply them; profile and time both."""
    settings = Settings(data=str(folder))
    rooms = wiring.compile_rooms(settings)
    store = wiring.open_store(settings, url)
    await store.prepare()
    journal = feeds.open_journal(settings, store)
    await journal.prepare()
    door = Door(rooms.context(store))
    await door.refresh()
    context = feeds.adapter_context(settings, door.handle, journal, store.tables)
    sources = feeds.load_sources(settings)
    applier = feeds.applier(settings, context, sources)
    told: list[object] = []
    receiver = Receiver(context, sources, StructureTables(), told.append)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    port, peer = PortOptions(address="127.0.0.1:1"), Peer("127.0.0.1:2")

    async def received(part: list[bytes]) -> None:
        for raw in part:
            await receiver.receive(raw, peer, port)

    def spent(began: tuple[float, float], count: int) -> str:
        cpu, seconds = time.process_time() - began[1], time.perf_counter() - began[0]
        return f"{1000 * cpu / count:.3f} ms CPU, {count / seconds:.0f}/s"

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    async def round_(seed: int, count: int) -> None:
        shares = [list(feed(given.kind, seed, given.patients, count, at, 8)) for at in range(8)]
        told.clear()
        if seed == 1 and given.receive:
            samples.start()
        began = now()
        await asyncio.gather(*map(received, shares))
        said = f"receive {spent(began, count)}; "
        samples.stop()
        if seed == 1 and not given.receive:
            samples.start()
        before, began = dict(applier.counts), now()
        outcomes = await applier.apply_now(told)  # type: ignore[arg-type]  # messages
        said += f"apply {spent(began, count)}"
        samples.stop()
        print(said, {name: applier.counts[name] - before.get(name, 0) for name in applier.counts})
        bad = [outcome for outcome in outcomes if outcome.status != "applied"]
        print(bad[:1] if bad else "", flush=True)

    async def imported(seed: int, count: int) -> None:
        root = storages.storage(folder / f"storage{seed}", seed, count)
        storage = walk.root_of(root)
        owner = source_of(storage, sources, name="", facility="")
        lots = list(_lots(storage, owner, 1))
        samples.start()
        before, began = dict(applier.counts), now()
        for lot in lots:
            await Importer(context, applier, lot.source).take_lot(lot)
        samples.stop()
        counts = {name: applier.counts[name] - before.get(name, 0) for name in applier.counts}
        print(f"import {spent(began, count)}", counts, flush=True)

    if given.kind == "import":
        await imported(50, 300)
        samples.clear()
        await imported(1, given.messages)
    else:
        await round_(50, 200)
        await round_(1, given.messages)
        await round_(2, given.messages)
    await store.close()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("adt", "oru", "import"), nargs="?", default="adt")
    parser.add_argument("messages", type=int, nargs="?", default=1000)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("--receive", action="store_true", help="profile the receiving instead of the applying")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mongod = EmbeddedMongod(Path(folder) / "db", cache_mb=1024)
        mongod.start()
        samples = Samples()
        try:
            uvloop.run(run(mongod.url, Path(folder) / "data", given, samples))
        finally:
            mongod.stop()
    print(samples.report(given.lines))


if __name__ == "__main__":
    main()
