"""How fast headers and DICOM JSON are made of sample files, beside pydicom in the same process.

``python -m bench.dicom_dataset``. One core, CPU time; the best of several rounds of each, taken in turn.
"""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.data import get_testdata_file

from adapters.dicom.dataset.header import read_header
from adapters.dicom.dataset.json import to_json

BAR_HEADER = 250  # us for CT_small.dcm
BAR_JSON = 3.0  # times as fast as pydicom
FILES = ("CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "reportsi.dcm", "rtplan.dcm")
_ROUNDS, _RUNS = 7, 40


class Row(NamedTuple):
    """CPU microseconds for one file."""

    name: str
    header: float
    pydicom_header: float
    json: float
    pydicom_json: float


def measure(name: str) -> Row:
    """Measure one of pydicom's sample files."""
    path = get_testdata_file(name, download=False)
    raw = Path(str(path)).read_bytes()

    def oracle() -> object:
        dataset = pydicom.dcmread(io.BytesIO(raw))
        return dataset.to_json_dict(bulk_data_threshold=1366, bulk_data_element_handler=lambda _: "bulk")

    work: list[Callable[[], object]] = [
        lambda: read_header(raw),
        lambda: pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True),
        lambda: to_json(raw, lambda *_: "bulk"),
        oracle,
    ]
    best = [float("inf")] * len(work)
    for _ in range(_ROUNDS):
        for index, run in enumerate(work):
            best[index] = min(best[index], _cpu(run))
    return Row(name, *best)


def _cpu(run: Callable[[], object]) -> float:
    begin = time.process_time()
    for _ in range(_RUNS):
        run()
    return (time.process_time() - begin) / _RUNS * 1e6


def main() -> None:
    """Print a row for each file."""
    print(f"{'file':24} {'header us':>10} {'pydicom us':>11} {'JSON us':>9} {'pydicom us':>11} {'factor':>7}")
    for name in FILES:
        row = measure(name)
        factor = row.pydicom_json / row.json
        print(
            f"{row.name:24} {row.header:10.0f} {row.pydicom_header:11.0f} {row.json:9.0f} {row.pydicom_json:11.0f}"
            f" {factor:7.1f}"
        )
    print(f"bars: CT_small header {BAR_HEADER} us, JSON factor {BAR_JSON}")


if __name__ == "__main__":
    main()
