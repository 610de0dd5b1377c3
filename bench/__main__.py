"""``python -m bench``: the server beside the floor, on this machine, on loopback.

Load generator, servers and databases share the machine: read ratios and CPU-milliseconds, not absolute rates.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench import data, feeds_run, imaging, report
from bench.run import FailedRunError, Plan, compare
from bench.scaling import SIZES, measure
from bench.servers import REPOSITORY
from bench.workload import EXTRA, WORKS

_SMOKE = Plan(
    works=WORKS, connections=(1, 8), observations=400, seconds=0.7, rounds=1, seeds=6, ingest_limit=6, cache_mb=256
)
_ALL = (*WORKS, *EXTRA, *feeds_run.WORKS, "parse", *imaging.WORKS)
_SANITY = 0.05  # a smoke on a busy machine only proves that everything runs and nothing is absurd


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, flush=True)


def _chosen(
    parser: argparse.ArgumentParser, given: argparse.Namespace
) -> tuple[Plan, tuple[str, ...], tuple[str, ...]]:
    """Return what to measure of the server, of feeds, and of images."""
    plan = _SMOKE if given.smoke else Plan(works=WORKS)
    feeds: tuple[str, ...] = (*feeds_run.WORKS, "parse")
    images = tuple(imaging.WORKS)
    if given.only:
        chosen = tuple(given.only.split(","))
        unknown = set(chosen) - {*_ALL}
        if unknown:
            parser.error(f"unknown work: {', '.join(sorted(unknown))}")
        plan = replace(plan, works=tuple(w for w in WORKS if w in chosen), extra=tuple(w for w in EXTRA if w in chosen))
        feeds = tuple(work for work in feeds if work in chosen)
        images = tuple(work for work in images if work in chosen)
    if given.connections:
        plan = replace(plan, connections=tuple(int(count) for count in given.connections.split(",")))
    for name in ("observations", "seconds", "rounds", "workers"):
        if getattr(given, name):
            plan = replace(plan, **{name: getattr(given, name)})
    return plan, feeds, images


def _tell(place: Path | None, tables: Mapping[str, str]) -> None:
    """Print what was measured, and put it into the parts of a document."""
    for name, written in tables.items():
        if written:
            print("\n" + written)
            if place is not None:
                report.write(place, written, name)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything still run?")
    parser.add_argument("--full", action="store_true", help="also the search on 20 000 to 1 000 000 Observations")
    parser.add_argument("--sizes", default="", help="comma-separated sizes for --full")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--only", default="", help="comma-separated: " + ",".join(_ALL))
    parser.add_argument("--connections", default="", help="comma-separated, default 1,8,32")
    parser.add_argument("--observations", type=int, default=0, help="fill until there are so many")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="work in this folder and keep it")
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args()

    plan, feeds, images = _chosen(parser, given)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="renkei-bench-"))
    sizes = tuple(int(size) for size in given.sizes.split(",")) if given.sizes else SIZES
    print(f"data: {data.source()}; {plan.workers} workers each; medians of {plan.rounds}", flush=True)
    outcome, growth = None, None
    figures = pictures = ""
    try:
        if plan.works or plan.extra:
            outcome = compare(plan, folder, say)
        if given.full:
            growth = measure(folder / "growth", plan.workers, plan.cache_mb, sizes, say)
        if feeds:
            figures = feeds_run.text(
                folder / "feeds", feeds_run.SMOKE if given.smoke else feeds_run.Sizes(), feeds, say
            )
        if images:
            pictures = imaging.text(images, say, smoke=given.smoke)
    except (FailedRunError, feeds_run.FailedFeedError, imaging.FailedImagingError) as error:
        sys.exit(f"failed: {error}")
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    place = REPOSITORY / "docs" / "performance.md"
    _tell(place if given.write else None, {"feeds": figures, "images": pictures})
    if outcome is None:
        return
    text = report.text(outcome, growth)
    print("\n" + text)
    if given.write:
        report.write(place, text)
    if given.json:
        given.json.write_text(outcome.as_json())
    if given.smoke:
        poor = [work for work in plan.works if (report.ratio(outcome, work, 8) or 0) < _SANITY]
        if poor:
            sys.exit(f"under {_SANITY} of the floor: {', '.join(poor)}")


if __name__ == "__main__":
    main()
