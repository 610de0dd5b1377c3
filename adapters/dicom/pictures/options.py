"""What is asked for and what comes back: rendering parameters and pictures (PS3.18 8.3.5.1)."""

import enum
import math
from pathlib import Path

import msgspec

MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif")
LARGEST_VIEWPORT = 8192  # pixels a side
_THUMBNAIL = 128


class Unrenderable(Exception):
    """The image cannot be shown. ``missing``: there is no such frame. ``text`` has no patient's data."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.missing = missing


class Function(enum.StrEnum):
    """VOI LUT Function (0028,1056) (PS3.3 C.11.2.1.3), in the words of PS3.18 8.3.5.1.4."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


class Window(msgspec.Struct, frozen=True):
    """A window over the values after the modality transformation."""

    center: float
    width: float
    function: Function = Function.LINEAR


class Crop(msgspec.Struct, frozen=True):
    """The part of the image that is shown, in pixels of the image."""

    x: int
    y: int
    width: int
    height: int


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to draw. ``viewport`` is the largest width and height; the image's shape is kept. ``quality`` is of JPEG."""

    media_type: str = "image/jpeg"
    quality: int = 90
    window: Window | None = None
    viewport: tuple[int, int] | None = None
    crop: Crop | None = None
    thumbnail: bool = False

    @property
    def fit(self) -> tuple[int, int] | None:
        """The rectangle to fit the picture into, or None to keep its size."""
        return self.viewport or ((_THUMBNAIL, _THUMBNAIL) if self.thumbnail else None)


class Source(msgspec.Struct, frozen=True):
    """A DICOM file: ``length`` bytes of ``path`` from ``offset``. Its ``uid`` is the SOP Instance UID."""

    uid: str
    path: Path
    offset: int
    length: int


class Picture(msgspec.Struct, frozen=True):
    """An encoded picture."""

    content_type: str
    content: bytes


def parse_window(text: str) -> Window:
    """Read ``center,width[,function]`` (PS3.18 8.3.5.1.4). Raise ValueError with a text for the client."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3):
        raise ValueError("window: expected center,width,function")
    try:
        center, width = float(parts[0]), float(parts[1])
        function = Function(parts[2].lower().replace("_", "-")) if len(parts) == 3 else Function.LINEAR
    except ValueError:
        raise ValueError("window: expected two numbers, and linear, linear-exact or sigmoid") from None
    if not (math.isfinite(center) and math.isfinite(width)) or max(abs(center), abs(width)) > 1e12:
        raise ValueError("window: the numbers are out of range")
    if width <= 0 or (function is Function.LINEAR and width < 1):
        raise ValueError("window: the width is too small")
    return Window(center, width, function)


def parse_viewport(text: str) -> tuple[tuple[int, int], Crop | None]:
    """Read ``vw,vh[,sx,sy,sw,sh]`` (PS3.18 8.3.5.1.3). Raise ValueError with a text for the client.

    A negative ``sw`` or ``sh`` mirrors the image, which is not done.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6):
        raise ValueError("viewport: expected vw,vh or vw,vh,sx,sy,sw,sh")
    try:
        numbers = [float(part) if part else 0.0 for part in parts]
    except ValueError:
        raise ValueError("viewport: expected numbers") from None
    if not all(math.isfinite(number) and abs(number) <= 1 << 24 for number in numbers):
        raise ValueError("viewport: the numbers are out of range")
    width, height, *rest = (round(number) for number in numbers)
    if not (1 <= width <= LARGEST_VIEWPORT and 1 <= height <= LARGEST_VIEWPORT):
        raise ValueError(f"viewport: width and height are 1 to {LARGEST_VIEWPORT}")
    if not rest:
        return (width, height), None
    x, y, across, down = rest
    if min(x, y, across, down) < 0:
        raise ValueError("viewport: the region has negative numbers; mirroring is not supported")
    return (width, height), Crop(x, y, across, down)
