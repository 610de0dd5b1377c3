"""Pictures as they are served: kept in memory and on disk, read from within a larger file, transcoded."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from adapters.dicom.pictures.cache import Recent, Thumbnails
from adapters.dicom.pictures.options import Options, Picture, Source, Unrenderable
from adapters.dicom.pictures.pictures import Pictures
from tests.unit.dicom.picture_files import SAMPLES, made, source

_RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16


@pytest.fixture
async def pictures(tmp_path: Path) -> AsyncIterator[Pictures]:
    pictures = Pictures(tmp_path / "thumbnails")
    yield pictures
    await pictures.close()


@pytest.fixture
def ramp(tmp_path: Path) -> Source:
    path = tmp_path / "ramp"
    path.write_bytes(made(_RAMP))
    return source(path)


async def test_a_picture_is_drawn_once(pictures: Pictures, ramp: Source) -> None:
    first = await pictures.rendered(ramp)
    ramp.path.unlink()
    assert await pictures.rendered(ramp) is first


async def test_an_image_within_a_pack_is_read_within_its_bounds(pictures: Pictures, tmp_path: Path) -> None:
    content = made(_RAMP)
    pack = tmp_path / "pack"
    pack.write_bytes(b"before" * 1000 + content + b"after" * 1000)
    alone = tmp_path / "alone"
    alone.write_bytes(content)
    inside = await pictures.rendered(Source("1.1", pack, 6000, len(content)))
    assert inside == await pictures.rendered(source(alone, "1.2"))
    with pytest.raises(Unrenderable, match="pixel data have"):
        await pictures.rendered(Source("1.3", pack, 6000, len(content) - 10))


async def test_a_large_file_is_mapped(pictures: Pictures, tmp_path: Path) -> None:
    frames = np.zeros((40, 512, 512), np.uint8)
    frames[39] = np.arange(512, dtype=np.uint16).astype(np.uint8)
    path = tmp_path / "large"
    path.write_bytes(b"x" * 5000 + made(frames, NumberOfFrames=40))
    whole = Source("1.4", path, 5000, path.stat().st_size - 5000)
    picture = await pictures.rendered(whole, 40, Options(media_type="image/png"))
    assert np.asarray(Pillow.open(io.BytesIO(picture.content)))[7, 200] == 200


async def test_a_thumbnail_is_kept_on_disk(tmp_path: Path, ramp: Source) -> None:
    folder = tmp_path / "thumbnails"
    first = await Pictures(folder).rendered(ramp, 1, Options(thumbnail=True))
    ramp.path.unlink()
    again = await Pictures(folder).rendered(ramp, 1, Options(thumbnail=True))
    assert again == first
    assert max(Pillow.open(io.BytesIO(first.content)).size) == 128


def test_thumbnails_stay_within_their_limit(tmp_path: Path) -> None:
    kept = Thumbnails(tmp_path, 10_000)
    for at in range(50):
        kept.put((f"1.{at}", 1, Options(thumbnail=True)), Picture("image/jpeg", bytes(1000)))
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 12_000
    assert kept.get(("1.49", 1, Options(thumbnail=True))) is not None


def test_memory_stays_within_its_limit() -> None:
    kept: Recent[str] = Recent(100)
    for at in range(20):
        kept.put(at, "x", 20)
        kept.get(0)
    assert kept.get(0) == "x"
    assert [at for at in range(20) if kept.get(at)] == [0, 16, 17, 18, 19]
    kept.put("huge", "y", 99)
    assert kept.get("huge") is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_implicit", "MR_small_bigendian",
        "SC_rgb_rle_16bit_2frame", "rtdose_rle", "SC_rgb_jpeg_dcmtk", "liver_expb_1frame", "image_dfl",
        "SC_rgb_small_odd_big_endian", "SC_ybr_full_422_uncompressed", "examples_palette",
    ],
)  # fmt: skip
async def test_a_transcoded_object_has_the_same_samples(pictures: Pictures, name: str) -> None:
    path = SAMPLES / "test_files" / f"{name}.dcm"
    found = pydicom.dcmread(io.BytesIO(await pictures.transcoded(source(path, name))))
    original = pydicom.dcmread(path)
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.get("PatientName") == original.get("PatientName")
    assert np.array_equal(found.pixel_array, original.pixel_array)


async def test_big_endian_words_are_swapped_in_transcoding(pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "big"
    table = np.arange(16, dtype=">u2").tobytes()
    path.write_bytes(made(_RAMP, syntax=ExplicitVRBigEndian, RedPaletteColorLookupTableData=table))
    found = pydicom.dcmread(io.BytesIO(await pictures.transcoded(source(path))))
    assert found.RedPaletteColorLookupTableData == np.arange(16, dtype="<u2").tobytes()
    assert (found.pixel_array == _RAMP).all()


async def test_a_frame_comes_decoded_and_as_stored(pictures: Pictures) -> None:
    path = SAMPLES / "test_files" / "MR_small_RLE.dcm"
    decoded = await pictures.frame_decoded(source(path))
    plain = pydicom.dcmread(SAMPLES / "test_files" / "MR_small.dcm")
    assert decoded == plain.PixelData
    assert len(await pictures.frame_stored(source(path))) < len(decoded)


async def test_an_enhanced_image_of_many_frames_is_described_once(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group(center: int) -> Dataset:
        voi, item = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 100
        item.FrameVOILUTSequence = Sequence([voi])
        return item

    path = tmp_path / "enhanced"
    groups = Sequence([group(at) for at in range(500)])
    frames = np.full((500, 4, 4), 100, np.uint16)
    path.write_bytes(made(frames, NumberOfFrames=500, PerFrameFunctionalGroupsSequence=groups))
    first = await pictures.rendered(source(path), 1)
    monkeypatch.setattr("adapters.dicom.pictures.pictures.read_image", None)
    assert await pictures.rendered(source(path), 500) != first
