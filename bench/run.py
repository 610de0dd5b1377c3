"""Run the comparison: fill both servers, interleave the same work on both, take medians of the rounds."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.data import Seed, seeds
from bench.load import Request, write_frames
from bench.processes import python
from bench.servers import REPOSITORY, FloorTarget, OurTarget, Target
from bench.workload import EXTRA, Filled, fill, requests_for

Report = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure and how long."""

    works: tuple[str, ...]
    extra: tuple[str, ...] = EXTRA
    connections: tuple[int, ...] = (1, 8, 32)
    observations: int = 100_000
    seconds: float = 4.0
    rounds: int = 3
    workers: int = 2
    cache_mb: int = 2048
    seeds: int | None = None
    ingest_limit: int = 80


@dataclass
class Measured:
    """One cell: a work on a server at a number of connections; a list entry a round."""

    rate: list[float] = field(default_factory=list)
    resource_rate: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    server_cpu_ms: list[float] = field(default_factory=list)
    database_cpu_ms: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median of one figure over the rounds."""
        return float(median(getattr(self, name)))


class FailedRunError(Exception):
    """An answer was not a success, so the run says nothing about speed."""


@dataclass
class Outcome:
    """Everything measured."""

    plan: Plan
    cells: dict[tuple[str, int, str], Measured] = field(default_factory=dict)
    fill: dict[str, dict[str, float]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    disk: dict[str, Any] = field(default_factory=dict)
    start_seconds: float = 0.0

    def as_json(self) -> str:
        """Return it as JSON, cells named ``work/connections/server``."""
        cells = {"/".join(map(str, key)): asdict(value) for key, value in self.cells.items()}
        return json.dumps({**asdict(self), "cells": cells, "plan": asdict(self.plan)}, indent=1)


def drive(target: Target, requests: Path, connections: int, seconds: float, limit: int, seed: int) -> dict[str, Any]:
    """Run the load generator once and return its figures with the CPU it cost; raise on any failure."""
    arguments = ["-m", "bench.load", "--port", str(target.port), "--requests", str(requests)]
    arguments += ["--connections", str(connections), "--seconds", str(seconds), "--limit", str(limit)]
    before = target.cpu()
    done = subprocess.run(
        python(*arguments, "--seed", str(seed)), capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    after = target.cpu()
    if done.returncode:
        raise FailedRunError(done.stderr[-2000:])
    figures: dict[str, Any] = json.loads(done.stdout)
    good = {status for status in figures["statuses"] if status.startswith("2")}
    if figures["errors"] or good != set(figures["statuses"]) or not figures["operations"]:
        raise FailedRunError(f"{target.name} {requests.name}: {figures['statuses']} {figures['errors']}")
    figures["server_cpu_ms"] = (after.server - before.server) / figures["operations"]
    figures["database_cpu_ms"] = (after.database - before.database) / figures["operations"]
    return figures


def record(cell: Measured, figures: dict[str, Any]) -> None:
    """Add one round to a cell."""
    cell.rate.append(figures["rate"])
    cell.resource_rate.append(figures["resources"] / figures["seconds"])
    for name in ("p50_ms", "p99_ms", "server_cpu_ms", "database_cpu_ms"):
        getattr(cell, name).append(figures[name])


def compare(plan: Plan, folder: Path, report: Report) -> Outcome:
    """Start both servers, fill them, measure, end them."""
    outcome = Outcome(plan)
    found = seeds(plan.seeds)
    floor = FloorTarget(folder / "floor", plan.workers, plan.cache_mb)
    ours = OurTarget(folder / "ours", plan.workers, plan.cache_mb)
    try:
        floor.start()
        begun = time.monotonic()
        ours.start()
        outcome.start_seconds = time.monotonic() - begun
        outcome.memory["idle"] = ours.workers_mb()
        filled = {target.name: _fill(target, plan, found, outcome, report) for target in (floor, ours)}
        _measure_disk(ours, filled["ours"], outcome)
        for work in plan.works:
            _measure(work, (floor, ours), filled, found, outcome, report, plan.connections, plan.rounds)
        for work in plan.extra:
            _measure(work, (ours,), filled, found, outcome, report, plan.connections[:2], 1)
        outcome.memory["after load"] = ours.workers_mb()
    finally:
        ours.stop()
        floor.stop()
    return outcome


def _fill(target: Target, plan: Plan, found: Sequence[Seed], outcome: Outcome, report: Report) -> Filled:
    begun, before = time.monotonic(), target.cpu()
    filled = fill(target.port, found, plan.observations, lambda line: report(f"{target.name}: {line}"))
    took, after = time.monotonic() - begun, target.cpu()
    count = filled.resources
    figures = {
        "resources": count,
        "observations": len(filled.observations),
        "resources_per_second": count / took,
        "server_cpu_ms": (after.server - before.server) / count,
        "database_cpu_ms": (after.database - before.database) / count,
    }
    outcome.fill[target.name] = figures
    report(f"{target.name}: {count} resources, {len(filled.observations)} Observations, {count / took:.0f}/s")
    return filled


def _measure_disk(ours: Target, filled: Filled, outcome: Outcome) -> None:
    sizes = dict(ours.bytes_on_disk())
    outcome.disk = {"bytes_per_resource": sum(sizes.values()) / filled.resources, **sizes}


def _measure(
    work: str,
    targets: Sequence[Target],
    filled: dict[str, Filled],
    found: Sequence[Seed],
    outcome: Outcome,
    report: Report,
    connections: Sequence[int],
    rounds: int,
) -> None:
    plan = outcome.plan
    files: dict[str, Path] = {}
    for target in targets:
        files[target.name] = target.folder / f"{work}.requests"
        prepared: list[Request] = requests_for(work, filled[target.name], found)
        write_frames(files[target.name], prepared)
        drive(target, files[target.name], 4, min(1.0, plan.seconds), 10 if work == "ingest" else 2000, 99)  # warm
    limit = plan.ingest_limit if work == "ingest" else 1_000_000
    for count in connections:
        for turn in range(rounds):
            for target in targets:
                figures = drive(target, files[target.name], count, plan.seconds, limit, turn)
                record(outcome.cells.setdefault((work, count, target.name), Measured()), figures)
        for target in targets:
            cell = outcome.cells[work, count, target.name]
            rate = cell.median("resource_rate" if work == "ingest" else "rate")
            cpu = cell.median("server_cpu_ms"), cell.median("database_cpu_ms")
            report(
                f"{work:12} c={count:<3} {target.name:6} {rate:8.0f}/s  p50 {cell.median('p50_ms'):8.2f} ms  "
                f"p99 {cell.median('p99_ms'):8.2f} ms  CPU {cpu[0]:.2f} + {cpu[1]:.2f} ms"
            )
