"""Drawing pictures below HTTP: milliseconds a frame of each kind of pixel data, here and in confined processes.

``python -m bench.imaging_render``; ``--smoke`` is brief. Over HTTP and beside Orthanc ``bench.imaging_web`` measures.
"""

import argparse
import asyncio
import io
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openjpeg
import pydicom
from jpeg_ls import encode_array
from PIL import Image as Pillow
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, RLELossless

from adapters.dicom.pictures.options import Options, Source, Window
from adapters.dicom.pictures.pictures import Pictures

_SIDE = 512


def _native() -> Dataset:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    array = np.tile(dataset.pixel_array, (_SIDE // 128, _SIDE // 128))
    dataset.Rows = dataset.Columns = _SIDE
    dataset.PixelData = np.clip(array, 0, 4095).astype("<u2").tobytes()
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
    dataset.WindowCenter, dataset.WindowWidth = 1000, 800
    return dataset


def _written(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def _with_frame(syntax: str, frame: bytes, **attributes: object) -> bytes:
    dataset = _native()
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return _written(dataset)


def kinds() -> Mapping[str, bytes]:
    """Return a file of each kind of pixel data, all of one image of 512 x 512."""
    native = _native()
    array = native.pixel_array
    run_length = _native()
    run_length.compress(RLELossless)
    jpeg = io.BytesIO()
    Pillow.fromarray((array >> 4).astype(np.uint8)).save(jpeg, "JPEG", quality=90)
    narrow = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    return {
        "native, 12 bits": _written(native),
        "RLE": _written(run_length),
        "JPEG, 8 bits": _with_frame("1.2.840.10008.1.2.4.50", jpeg.getvalue(), **narrow),
        "JPEG-LS": _with_frame("1.2.840.10008.1.2.4.80", bytes(encode_array(array))),
        "JPEG 2000, lossless": _with_frame(
            "1.2.840.10008.1.2.4.90", openjpeg.utils.encode_array(array, bits_stored=12, photometric_interpretation=2)
        ),
        "JPEG, 12 bits (1024 x 256)": Path(str(get_testdata_file("JPGExtended.dcm"))).read_bytes(),
    }


async def _measure(folder: Path, count: int) -> list[str]:
    lines = ["| pixel data | ms a picture | with another window | a second |", "|---|---|---|---|"]
    for number, (name, content) in enumerate(kinds().items()):
        path = folder / str(number)
        path.write_bytes(content)
        pictures = Pictures(None)
        try:
            await pictures.rendered(Source("0", path, 0, len(content)))
            begun = time.perf_counter()
            for at in range(count):
                await pictures.rendered(Source(f"1.{at}", path, 0, len(content)))
            each = (time.perf_counter() - begun) / count
            begun = time.perf_counter()
            for at in range(count):
                options = Options(window=Window(500 + at, 400 + at))
                await pictures.rendered(Source("0", path, 0, len(content)), 1, options)
            windowed = (time.perf_counter() - begun) / count
        finally:
            await pictures.close()
        lines.append(f"| {name} | {each * 1e3:.2f} | {windowed * 1e3:.2f} | {1 / each:.0f} |")
    return lines


def text(count: int = 200) -> str:
    """Measure on one core and return the table."""
    folder = Path(tempfile.mkdtemp(prefix="renkei-bench-render-"))
    try:
        return "\n".join(asyncio.run(_measure(folder, count)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.imaging_render", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="briefly: does everything still run?")
    print(text(5 if parser.parse_args().smoke else 200))


if __name__ == "__main__":
    main()
