"""The tables a benchmark ends with: ours ÷ floor against the bars, and every cell."""

import datetime as dt
import os
import platform
from pathlib import Path

from bench import data
from bench.run import Outcome
from bench.scaling import Growth

GROWTH_BAR, GROWTH_AIM = 1.3, 1.1

#: work -> (bar, aim) for ours ÷ floor at eight connections
BARS = {"read": (0.60, 0.85), "create": (0.40, 0.60), "search": (0.50, 0.75), "ingest": (0.25, 0.50)}
TITLES = {
    "read": "read by id",
    "create": "create one Observation",
    "search": "Observation?patient&code&_sort=-date&_count=20",
    "ingest": "transaction ingest (resources/s)",
}
INGEST_BAR, INGEST_AIM = 1500, 3000
MEMORY_BAR, MEMORY_AIM = 250, 150
DISK_BAR, DISK_AIM = 3000, 2000


def ratio(outcome: Outcome, work: str, connections: int) -> float | None:
    """Return ours ÷ floor, or None where it was not measured."""
    ours = outcome.cells.get((work, connections, "ours"))
    floor = outcome.cells.get((work, connections, "floor"))
    return ours.median("rate") / floor.median("rate") if ours and floor else None


def verdict(value: float, bar: float, aim: float, *, less_is_better: bool = False) -> str:
    """Say whether bar and aim are met."""
    if less_is_better:
        value, bar, aim = -value, -bar, -aim
    return "aim met" if value >= aim else "met" if value >= bar else "MISSED"


def headline(outcome: Outcome) -> str:
    """Return the table of bars as Markdown."""
    lines = [
        "| work | ours | floor | ours ÷ floor | bar | aim | verdict | CPU ms ours: server + database | floor |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    at = 8 if 8 in outcome.plan.connections else outcome.plan.connections[-1]
    for work, (bar, aim) in BARS.items():
        quotient = ratio(outcome, work, at)
        if quotient is None:
            continue
        ours, floor = outcome.cells[work, at, "ours"], outcome.cells[work, at, "floor"]
        name = "resource_rate" if work == "ingest" else "rate"
        per = ours.median("rate") / ours.median("resource_rate") if work == "ingest" else 1.0
        cpu = [cell.median(kind) * per for cell in (ours, floor) for kind in ("server_cpu_ms", "database_cpu_ms")]
        lines.append(
            f"| {TITLES[work]} | {ours.median(name):.0f}/s | {floor.median(name):.0f}/s | {quotient:.2f} | ≥ {bar} "
            f"| {aim} | {verdict(quotient, bar, aim)} | {cpu[0]:.2f} + {cpu[1]:.2f} | {cpu[2]:.2f} + {cpu[3]:.2f} |"
        )
        if work == "ingest":
            rate = ours.median(name)
            lines.append(
                f"| ingest, absolute | {rate:.0f}/s | | | ≥ {INGEST_BAR}/s | {INGEST_AIM}/s "
                f"| {verdict(rate, INGEST_BAR, INGEST_AIM)} | | |"
            )
    idle = outcome.memory.get("idle")
    if idle:
        most = max(item["rss"] for item in idle)
        judged = verdict(most, MEMORY_BAR, MEMORY_AIM, less_is_better=True)
        lines.append(f"| idle worker, RSS | {most:.0f} MB | | | ≤ {MEMORY_BAR} MB | {MEMORY_AIM} MB | {judged} | | |")
    size = outcome.disk.get("bytes_per_resource")
    if size:
        judged = verdict(size, DISK_BAR, DISK_AIM, less_is_better=True)
        lines.append(
            f"| disk a resource, with indexes | {size:.0f} B | | | ≤ {DISK_BAR} B | {DISK_AIM} B | {judged} | | |"
        )
    return "\n".join(lines)


def all_cells(outcome: Outcome) -> str:
    """Return every measured cell as Markdown."""
    lines = [
        "| work | connections | server | rate/s | p50 ms | p99 ms | CPU ms/op server | database |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (work, connections, server), cell in outcome.cells.items():
        rate = f"{cell.median('rate'):.1f}" if cell.median("rate") < 100 else f"{cell.median('rate'):.0f}"
        lines.append(
            f"| {work} | {connections} | {server} | {rate} | {cell.median('p50_ms'):.2f} | {cell.median('p99_ms'):.2f} "
            f"| {cell.median('server_cpu_ms'):.2f} | {cell.median('database_cpu_ms'):.2f} |"
        )
    return "\n".join(lines)


def growth_table(growth: Growth) -> str:
    """Return the search's p50 by size as Markdown."""
    lines = ["| search, Observations in the store | p50 ms c=1 | p50 ms c=8 | rate/s c=8 |", "|---|---|---|---|"]
    for size, p50 in growth.p50_ms.items():
        lines.append(f"| {size} | {p50[1]:.2f} | {p50[8]:.2f} | {growth.rate[size][8]:.0f} |")
    for connections in (1, 8):
        quotient = growth.ratio(connections)
        judged = verdict(quotient, GROWTH_BAR, GROWTH_AIM, less_is_better=True)
        lines.append(
            f"| growth at c={connections}: {quotient:.2f} × | bar ≤ {GROWTH_BAR} | aim {GROWTH_AIM} | {judged} |"
        )
    return "\n".join(lines)


def conditions(outcome: Outcome) -> str:
    """Say what was measured where."""
    plan, fill = outcome.plan, outcome.fill.get("ours", {})
    stored = f"{fill.get('resources', 0):.0f} resources with {fill.get('observations', 0):.0f} Observations"
    today = dt.datetime.now(dt.UTC).date()
    return (
        f"{today}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; {data.source()} data, {stored}; "
        f"{plan.workers} workers each, MongoDB cache {plan.cache_mb} MB each; medians of {plan.rounds} rounds of "
        f"{plan.seconds} s, servers in turn. Start of the server on an empty folder: {outcome.start_seconds:.1f} s."
    )


def memory_and_disk(outcome: Outcome) -> str:
    """Return the memory of each process and the size of each collection as Markdown."""
    lines = ["| | |", "|---|---|"]
    for moment, found in outcome.memory.items():
        sizes = ", ".join(f"{item['rss']:.0f} ({item['pss']:.0f})" for item in found)
        lines.append(f"| server processes, {moment}: RSS (PSS) MB | {sizes} |")
    resources = outcome.fill.get("ours", {}).get("resources", 1)
    for name, size in outcome.disk.items():
        if name != "bytes_per_resource":
            lines.append(f"| {name}, bytes a resource | {size / resources:.0f} |")
    for server, figures in outcome.fill.items():
        rate, cpu = figures["resources_per_second"], (figures["server_cpu_ms"], figures["database_cpu_ms"])
        lines.append(f"| fill of {server} | {rate:.0f} resources/s, CPU {cpu[0]:.3f} + {cpu[1]:.3f} ms a resource |")
    return "\n".join(lines)


def text(outcome: Outcome, growth: Growth | None) -> str:
    """Return the whole report as Markdown."""
    parts = [conditions(outcome), headline(outcome)]
    if growth is not None:
        parts.append(growth_table(growth))
    parts += [all_cells(outcome), memory_and_disk(outcome)]
    return "\n\n".join(parts)


def write(path: Path, figures: str, name: str = "figures") -> None:
    """Replace the part of that name in a document, between its marks; append it where there are none."""
    begin, end = f"<!-- {name}: written by python -m bench --write -->", f"<!-- end of {name} -->"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Performance\n\n"
    before, mark, rest = old.partition(begin)
    after = rest.partition(end)[2] if mark else "\n"
    path.write_text(f"{before}{begin}\n\n{figures}\n\n{end}{after}", encoding="utf-8")
