"""Every image of pydicom's samples is drawn, and as pydicom reads it."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from adapters.dicom.pictures.options import Unrenderable
from tests.unit.dicom.picture_files import SAMPLES, described, read, shown

#: those that cannot be drawn, and why
_NOT_DRAWN = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "cannot be decoded",  # 250 bytes of a codestream's beginning
    "MR_truncated.dcm": "ends at 8192",  # the pixel data are 62 bytes short
    "badVR.dcm": "Number of Frames is wrong",  # "1A"
    "meta_missing_tsyntax.dcm": "Rows or Columns is missing",
    "nested_priv_SQ.dcm": "Rows or Columns is missing",
}
#: pydicom needs a GPL library for these, and Pillow does not like the last
_WITHOUT_ORACLE = {"JPEG-lossy.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm", "GDCMJ2K_TextGBR.dcm"}


def _images() -> list[str]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(SAMPLES.rglob("*")):
            if path.is_file() and path.suffix in (".dcm", "") and b"DICM" in path.read_bytes()[:132]:
                dataset = pydicom.dcmread(path)
                if any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                    found.append(str(path.relative_to(SAMPLES)))
    return found


def _square(path: Path) -> bytes:
    """The file without what says that its pixels are not square: the oracle does not look at it."""
    content = read(path)
    for tag, other in ((b"\x28\x00\x34\x00IS", b"\x28\x00\x35\x00IS"), (b"\x28\x00\x30\x00DS", b"\x28\x00\x31\x00DS")):
        content = content.replace(tag, other)
    return content


def _expected(path: Path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    array = pixel_array(dataset, index=0)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        array = apply_color_lut(array, dataset)
    if array.ndim == 3:
        return array >> (array.dtype.itemsize * 8 - 8)
    array = apply_modality_lut(array, dataset)
    image = described(path.read_bytes())
    if "WindowWidth" in dataset:
        low = -(1 << (image.stored - 1)) if image.signed else 0
        ends = sorted(end * image.look.slope + image.look.intercept for end in (low, low + (1 << image.stored) - 1))
        array = apply_voi_lut(array, dataset)
    else:
        ends = [float(array.min()), float(array.max())]
    grey = np.rint((array.astype(float) - ends[0]) / max(ends[1] - ends[0], 1e-9) * 255)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _images())
def test_a_sample_is_drawn_as_pydicom_reads_it(name: str) -> None:
    path = SAMPLES / name
    reason = _NOT_DRAWN.get(path.name)
    if reason is not None:
        with pytest.raises(Unrenderable, match=reason):
            shown(read(path))
        return
    found = shown(_square(path))
    assert "dicomdirtests" in name or found.max() > found.min(), "a picture of one shade"
    if path.name not in _WITHOUT_ORACLE:
        expected = _expected(path)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_there_are_many_samples() -> None:
    assert len(_images()) > 90


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm", "rtdose_rle.dcm", "rtdose.dcm"])
def test_the_last_frame_is_that_of_pydicom(name: str) -> None:
    path = SAMPLES / "test_files" / name
    dataset = pydicom.dcmread(path)
    expected = pixel_array(dataset, index=dataset.NumberOfFrames - 1)
    found = shown(read(path), int(dataset.NumberOfFrames))
    if expected.ndim == 2:
        low, high = int(expected.min()), int(expected.max())
        expected = np.rint((expected.astype(float) - low) / max(high - low, 1) * 255)
    assert np.abs(found.astype(int) - expected).max() <= 1
