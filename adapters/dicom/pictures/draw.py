"""Draws a frame: decode, transform, crop, fit, encode."""

from io import BytesIO

from PIL import Image as Pillow

from adapters.dicom.pictures.colour import to_rgb
from adapters.dicom.pictures.decode import Decoded, decode
from adapters.dicom.pictures.grey import to_grey
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.options import LARGEST_VIEWPORT, Crop, Options, Picture, Unrenderable

_MOST_DRAWN = 16384  # pixels a side, without a viewport


def draw(image: Image, data: bytes, frame: int, options: Options) -> Picture:
    """Return the picture of a frame whose bytes are ``data``."""
    bit = (frame - 1) * image.frame_bits % 8 if image.length >= 0 else 0
    picture = _picture(image, decode(image, data, bit), frame, options)
    picture = _cropped(picture, options.crop)
    picture = _fitted(picture, image.aspect, options.fit)
    return Picture(options.media_type, _encoded(picture, options))


def _picture(image: Image, decoded: Decoded, frame: int, options: Options) -> Pillow.Image:
    if image.fits_grey:
        return Pillow.fromarray(to_grey(image, decoded, frame, options.window))
    return Pillow.fromarray(to_rgb(image, decoded))


def _cropped(picture: Pillow.Image, crop: Crop | None) -> Pillow.Image:
    if crop is None or not (crop.x or crop.y or crop.width or crop.height):
        return picture
    right = min(crop.x + (crop.width or picture.width), picture.width)
    bottom = min(crop.y + (crop.height or picture.height), picture.height)
    if right <= crop.x or bottom <= crop.y:
        raise Unrenderable("The region of the viewport is outside of the image.")
    return picture.crop((crop.x, crop.y, right, bottom))


def _fitted(picture: Pillow.Image, aspect: float, fit: tuple[int, int] | None) -> Pillow.Image:
    """Make pixels square, and the picture as large as fits (PS3.18 8.3.5.1.3)."""
    width, height = picture.width, picture.height
    if abs(aspect - 1) > 0.005:
        width, height = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
    if fit is not None:
        scale = min(fit[0] / width, fit[1] / height)
        width, height = round(width * scale), round(height * scale)
    width, height = max(width, 1), max(height, 1)
    if max(width, height) > (LARGEST_VIEWPORT if fit else _MOST_DRAWN):
        raise Unrenderable("The picture would be too large; ask for a viewport.")
    if (width, height) == picture.size:
        return picture
    smaller = width < picture.width or height < picture.height
    return picture.resize(
        (width, height), Pillow.Resampling.BILINEAR if smaller else Pillow.Resampling.BICUBIC, reducing_gap=2.0
    )


def _encoded(picture: Pillow.Image, options: Options) -> bytes:
    stream = BytesIO()
    match options.media_type:
        case "image/jpeg":
            picture.save(stream, "JPEG", quality=options.quality)
        case "image/png":
            picture.save(stream, "PNG", compress_level=1)
        case "image/gif":
            picture.save(stream, "GIF")
        case other:
            raise Unrenderable(f"Pictures of type {other[:40]} are not made.")
    return stream.getvalue()
