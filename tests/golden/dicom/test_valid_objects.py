"""What the server makes of an object has no fault (PS3.3) that the object did not have: dciodvfy is the judge."""

import asyncio
import io
import subprocess
from collections import Counter
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from adapters.dicom.dataset.header import read_header
from adapters.dicom.dataset.meta import file_meta, split
from adapters.dicom.dataset.rewrite import assemble, rewrite
from adapters.dicom.files.deidentify import Deidentifier, Options
from adapters.dicom.pictures.options import Source
from adapters.dicom.pictures.pictures import Pictures
from tests.tools import require

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # in rtdose_rle.dcm
DATA = Path(pydicom.data.__file__).parent
PICTURES = (
    "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm",
    "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_small_odd.dcm", "liver_1frame.dcm", "rtdose_rle.dcm",
)  # fmt: skip
OTHERS = ("rtplan.dcm",)
CORRECTION = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Hanako", "Ideographic": "山田^花子"}]},
    "00100020": {"vr": "LO", "Value": ["P2"]},
}


def faults(folder: Path, content: bytes) -> Counter[str]:
    """Return the errors that dciodvfy finds."""
    path = folder / "judged.dcm"
    path.write_bytes(content)
    done = subprocess.run([require("dciodvfy"), str(path)], capture_output=True, timeout=30, check=False)
    return Counter(line for line in done.stderr.decode("latin-1").splitlines() if line.startswith("Error"))


def sample(name: str) -> bytes:
    """Return a published file."""
    return (DATA / "test_files" / name).read_bytes()


def test_the_judge_sees_a_fault(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(DATA / "test_files" / "CT_small.dcm")
    del dataset.PhotometricInterpretation
    broken = io.BytesIO()
    dataset.save_as(broken)
    assert faults(tmp_path, broken.getvalue()) - faults(tmp_path, sample("CT_small.dcm"))


@pytest.mark.parametrize("name", PICTURES + OTHERS)
def test_the_meta_group_of_what_came_by_c_store_is_valid(tmp_path: Path, name: str) -> None:
    content = sample(name)
    header = read_header(content)
    kept = (
        file_meta(header.sop_class, header.sop_instance, header.transfer_syntax, "CT1") + content[split(content)[1] :]
    )
    assert not faults(tmp_path, kept) - faults(tmp_path, content)


@pytest.mark.parametrize("name", PICTURES + OTHERS)
def test_a_corrected_object_stays_valid(tmp_path: Path, name: str) -> None:
    content = sample(name)
    assert not faults(tmp_path, assemble(content, rewrite(content, CORRECTION))) - faults(tmp_path, content)


@pytest.mark.parametrize("name", PICTURES + OTHERS)
def test_an_object_without_its_patient_stays_valid(tmp_path: Path, name: str) -> None:
    content = sample(name)
    cleaned = Deidentifier(Options(key=b"secret", accept_pixels=True)).file(content)
    assert not faults(tmp_path, cleaned) - faults(tmp_path, content)


async def test_transcoded_images_stay_valid(tmp_path: Path) -> None:
    pictures = Pictures(None)
    try:
        for name in PICTURES:
            path = DATA / "test_files" / name
            content = await asyncio.to_thread(path.read_bytes)
            source = Source(uid=name, path=path, offset=0, length=len(content))
            made = await pictures.transcoded(source)
            new = await asyncio.to_thread(
                lambda made=made, content=content: faults(tmp_path, made) - faults(tmp_path, content)
            )
            assert not new, name
    finally:
        await pictures.close()
