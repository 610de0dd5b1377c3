"""Grey scale and colours: modality and VOI transformations, palettes, photometric interpretations, geometry."""

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian

from adapters.dicom.pictures.grey import windowed
from adapters.dicom.pictures.options import (
    Crop,
    Function,
    Options,
    Unrenderable,
    Window,
    parse_viewport,
    parse_window,
)
from tests.unit.dicom.picture_files import described, drawn, made, shown

_RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16


def _png(**options: object) -> Options:
    return Options(media_type="image/png", **options)  # type: ignore[arg-type]  # as the caller says


def test_the_first_window_is_taken() -> None:
    content = made(_RAMP, BitsStored=12, HighBit=11, WindowCenter=[1000, 40], WindowWidth=[500, 400])
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = np.rint(apply_voi_lut(dataset.pixel_array, dataset) * (255 / 4095))
    assert np.abs(shown(content) - expected).max() <= 1


def test_an_asked_window_comes_before_the_images_own() -> None:
    content = made(_RAMP, WindowCenter=1000, WindowWidth=500)
    found = shown(content, 1, _png(window=Window(2048, 2)))
    assert set(np.unique(found)) <= {0, 128, 255}
    assert found[0, 0] == 0
    assert found[15, 15] == 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_voi_lut_function_is_as_pydicoms(function: str) -> None:
    content = made(_RAMP, BitsStored=12, HighBit=11, WindowCenter=1500, WindowWidth=900, VOILUTFunction=function)
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = np.rint(apply_voi_lut(dataset.pixel_array, dataset) * (255 / 4095))
    assert np.abs(shown(content) - expected).max() <= 1


@given(st.floats(-1e5, 1e5), st.floats(1, 1e5), st.sampled_from(list(Function)))
def test_a_window_never_falls_and_stays_within_bounds(center: float, width: float, function: Function) -> None:
    values = np.linspace(-2e5, 2e5, 101)
    found = windowed(values, Window(center, width, function))
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= 255


def test_monochrome1_is_shown_inverted() -> None:
    plain = shown(made(_RAMP))
    assert (shown(made(_RAMP, PhotometricInterpretation="MONOCHROME1")) == 255 - plain).all()


def test_rescale_and_signed_values() -> None:
    values = (np.arange(256, dtype=np.int16) - 128).reshape(16, 16)
    content = made(values, RescaleSlope="2", RescaleIntercept="-10", WindowCenter="-10", WindowWidth="100")
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    expected = np.rint((expected - expected.min()) / (expected.max() - expected.min()) * 255)
    assert np.abs(shown(content) - expected).max() <= 1


def test_a_modality_lut_and_a_voi_lut_are_applied() -> None:
    modality, voi = Dataset(), Dataset()
    modality.LUTDescriptor, modality.ModalityLUTType = [256, 0, 16], "US"
    modality.LUTData = np.arange(0, 65536, 256, dtype="<u2").tobytes()
    modality["LUTDescriptor"].VR = voi_vr = "US"
    voi.LUTDescriptor = [1024, 0, 12]
    voi["LUTDescriptor"].VR = voi_vr
    voi.LUTData = (np.arange(1024, dtype="<u2") * 4).tobytes()
    for item in (modality, voi):
        item["LUTData"].VR = "OW"
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = made(values, ModalityLUTSequence=Sequence([modality]), VOILUTSequence=Sequence([voi]))
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    assert np.abs(shown(content) - np.rint(expected / 4095 * 255)).max() <= 1


def test_padding_is_black_and_does_not_count_for_the_range() -> None:
    values = _RAMP.astype(np.int16)
    values[0, :4] = -2000
    content = made(values, PixelPaddingValue=-2000)
    found = shown(content)
    assert (found[0, :4] == 0).all()
    assert found[15, 15] == 255
    assert found[0, 5] < 10


def test_bits_beyond_those_stored_mean_nothing() -> None:
    dirty = _RAMP | 0xF000
    plain = shown(made(_RAMP, BitsStored=12, HighBit=11))
    assert (shown(made(dirty, BitsStored=12, HighBit=11)) == plain).all()


def test_a_high_bit_that_is_not_the_lowest_place_is_honoured() -> None:
    plain = shown(made(_RAMP, BitsStored=12, HighBit=11))
    assert (shown(made(_RAMP << 4, BitsStored=12, HighBit=15)) == plain).all()


@pytest.mark.parametrize("kind", [np.uint32, np.int32, np.float32, np.float64])
def test_wide_and_floating_samples_use_their_full_range(kind: type) -> None:
    found = shown(made((_RAMP.astype(np.int64) * 1000).astype(kind)))
    assert found[0, 0] == 0
    assert found[15, 15] == 255
    assert (np.diff(found.ravel().astype(int)) >= 0).all()


def test_floats_that_are_no_numbers_do_no_harm() -> None:
    values = _RAMP.astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    assert shown(made(values)).shape == (16, 16)


def test_big_endian_is_shown_as_little_endian() -> None:
    assert (shown(made(_RAMP, syntax=ExplicitVRBigEndian)) == shown(made(_RAMP))).all()


def test_an_image_of_one_value_is_shown() -> None:
    assert shown(made(np.full((4, 4), 7, np.uint16))).shape == (4, 4)


def test_planar_colours() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    planes = np.ascontiguousarray(colours.transpose(2, 0, 1))
    content = made(colours, PlanarConfiguration=1, PixelData=planes.tobytes())
    assert (shown(content) == colours).all()


def test_colours_of_16_bits_are_scaled() -> None:
    colours = np.random.default_rng(2).integers(0, 65536, (6, 8, 3), np.uint16)
    assert (shown(made(colours)) == colours >> 8).all()


def _palette(bits: int, **attributes: object) -> bytes:
    table = (np.arange(256, dtype="<u2") * (257 if bits == 16 else 1))[::-1].astype("<u2")
    entries: dict[str, object] = {}
    for colour in ("Red", "Green", "Blue"):
        entries[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        data = table if bits == 16 else table.astype(np.uint8)
        entries[f"{colour}PaletteColorLookupTableData"] = data.tobytes()
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return made(values, PhotometricInterpretation="PALETTE COLOR", **{**entries, **attributes})


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_as_pydicoms(bits: int) -> None:
    content = _palette(bits)
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = apply_color_lut(dataset.pixel_array, dataset)
    assert (shown(content) == (expected >> (expected.dtype.itemsize * 8 - 8))).all()


def test_a_segmented_palette_is_as_pydicoms() -> None:
    # discrete 0 0, linear over 100 to 40000, discrete 5, again from byte 0 the first segment
    segments = np.array([0, 2, 0, 0, 1, 200, 40000, 0, 1, 5, 1, 53, 60000], "<u2").tobytes()
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    content = _palette(16)
    dataset = pydicom.dcmread(io.BytesIO(content))
    for name in names:
        delattr(dataset, name)
        setattr(dataset, f"Segmented{name}", segments)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset)
    expected = apply_color_lut(dataset.pixel_array, dataset)
    assert np.abs(shown(stream.getvalue()).astype(int) - (expected >> 8)).max() <= 1


def test_a_segmented_palette_that_is_wrong_is_refused() -> None:
    content = _palette(16)
    dataset = pydicom.dcmread(io.BytesIO(content))
    for colour in ("Red", "Green", "Blue"):
        delattr(dataset, f"{colour}PaletteColorLookupTableData")
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", np.array([2, 9, 0, 0], "<u2").tobytes())
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset)
    with pytest.raises(Unrenderable, match="palette"):
        shown(stream.getvalue())


def test_each_frame_of_an_enhanced_image_has_its_own_window() -> None:
    def group(center: int) -> Dataset:
        voi, item = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 100
        item.FrameVOILUTSequence = Sequence([voi])
        return item

    frames = np.full((2, 4, 4), 100, np.uint16)
    groups = Sequence([group(100), group(1000)])
    content = made(frames, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=groups)
    assert abs(int(shown(content, 1)[0, 0]) - 128) <= 1
    assert shown(content, 2)[0, 0] == 0


def test_frames_of_one_bit_that_begin_within_a_byte() -> None:
    bits = np.random.default_rng(3).integers(0, 2, (3, 3, 3), np.uint8)
    data = np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0"
    content = made(
        bits, NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=data[: (27 + 15) // 16 * 2]
    )
    for frame in (1, 2, 3):
        assert ((shown(content, frame) > 0) == (bits[frame - 1] > 0)).all()


def test_a_viewport_keeps_the_shape() -> None:
    content = made(np.zeros((100, 200), np.uint8) + np.arange(200, dtype=np.uint8))
    assert shown(content, 1, _png(viewport=(50, 50))).shape == (25, 50)
    assert shown(content, 1, _png(viewport=(400, 400))).shape == (200, 400)
    assert shown(content, 1, _png(viewport=(400, 400), crop=Crop(0, 0, 50, 100))).shape == (400, 200)


def test_pixels_that_are_not_square_are_made_square() -> None:
    content = made(_RAMP, PixelSpacing=["2", "1"])
    assert described(content).aspect == 2
    assert shown(content).shape == (32, 16)


def test_a_region_outside_of_the_image_is_refused() -> None:
    with pytest.raises(Unrenderable, match="outside"):
        shown(made(_RAMP), 1, _png(viewport=(10, 10), crop=Crop(100, 0, 5, 5)))


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/gif"])
def test_the_media_type_that_is_asked_for(media_type: str) -> None:
    picture = drawn(made(_RAMP), 1, Options(media_type=media_type))
    assert picture.content_type == media_type
    assert f"image/{Pillow.open(io.BytesIO(picture.content)).format.lower()}" == media_type


def test_parameters_are_read() -> None:
    assert parse_window("40,400") == Window(40, 400)
    assert parse_window("-600.5, 1500, sigmoid") == Window(-600.5, 1500, Function.SIGMOID)
    assert parse_viewport("512,256") == ((512, 256), None)
    assert parse_viewport("512,256,10,20,30,40") == ((512, 256), Crop(10, 20, 30, 40))


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "a,b", "1,0", "1,nan", "inf,1", "1,-5", "1,2,cubic", "1,0.5"])
def test_a_wrong_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="window"):
        parse_window(text)


@pytest.mark.parametrize("text", ["", "1", "0,1", "1,2,3", "99999,1", "1,1,-1,0,1,1", "x,1", "nan,1", "1,1,1e99,0,1,1"])
def test_a_wrong_viewport_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="viewport"):
        parse_viewport(text)
