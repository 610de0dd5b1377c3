"""What must be known of an image to draw it: the Image Pixel, Modality LUT and VOI LUT Modules (PS3.3 C.7.6.3, C.11).

Of enhanced images also their functional groups (C.7.6.16.2.9, .10). Everything is checked here, before pixels are read.
"""

import msgspec

MOST_VALUES = 1 << 27  # rows x columns x samples of one frame
_ALLOCATED = (1, 8, 16, 32, 64)


class Table(msgspec.Struct, frozen=True):
    """A lookup table: ``data`` are ``count`` values of 16 bits little endian; ``first`` is the first value mapped."""

    first: int
    count: int
    bits: int
    data: bytes


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """From stored values to those to show: the modality transformation, and the VOI transformations to choose from."""

    slope: float = 1.0
    intercept: float = 0.0
    modality: Table | None = None
    windows: tuple[tuple[float, float], ...] = ()  # center, width
    function: str = "LINEAR"
    tables: tuple[Table, ...] = ()


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The description of an image. ``value`` is where the pixel data's value begins; ``length`` -1: encapsulated."""

    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    planar: bool = False
    allocated: int = 16
    stored: int = 16
    high: int = 15
    signed: bool = False
    real: bool = False  # Float or Double Float Pixel Data
    frames: int = 1
    big_endian: bool = False
    swapped: bool = False  # words of two bytes hold samples of 8 bits, big endian (PS3.5 A.3, OW)
    padding: tuple[int, int] | None = None  # the range of Pixel Padding Values
    palette: tuple[Table, Table, Table] | None = None
    aspect: float = 1.0  # height of a pixel by its width
    inverse: bool = False  # Presentation LUT Shape INVERSE
    value: int = 0
    length: int = 0
    look: Look = Look()
    looks: tuple[Look, ...] = ()  # of each frame, where they differ

    @property
    def values(self) -> int:
        """The number of samples in a frame."""
        return self.rows * self.columns * self.samples

    @property
    def frame_bits(self) -> int:
        """The bits a native frame takes (PS3.5 8.1.1); chrominance of YBR_FULL_422 has half the samples."""
        values = self.rows * self.columns * (2 if self.subsampled else self.samples)
        return values * self.allocated

    @property
    def subsampled(self) -> bool:
        """Native chrominance that is subsampled horizontally."""
        return self.length >= 0 and self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") and self.samples == 3

    @property
    def fits_grey(self) -> bool:
        """If it is a grey scale image."""
        return self.samples == 1 and self.palette is None

    @property
    def size(self) -> int:
        """Return about how many bytes of memory this description takes."""
        tables = [table for look in (self.look, *self.looks) for table in (*look.tables, look.modality) if table]
        return 1000 + 400 * len(self.looks) + sum(len(table.data) for table in (*tables, *(self.palette or ())))

    def look_of(self, frame: int) -> Look:
        """Return the transformations of a frame, which counts from 1."""
        return self.looks[frame - 1] if frame <= len(self.looks) else self.look

    def problem(self) -> str:
        """Say why it cannot be drawn, or nothing."""
        if min(self.rows, self.columns) < 1:
            return "Rows or Columns is missing."
        if self.values > MOST_VALUES:
            return f"The frame has {self.values} values; {MOST_VALUES} are the most."
        if self.samples not in (1, 3, 4):
            return f"Samples per Pixel is {self.samples}."
        if self.allocated not in _ALLOCATED:
            return f"Bits Allocated is {self.allocated}."
        if not 1 <= self.stored <= self.allocated or not self.stored - 1 <= self.high < self.allocated:
            return f"Bits Stored is {self.stored} and High Bit {self.high} of {self.allocated}."
        if self.photometric == "PALETTE COLOR" and self.palette is None:
            return "The palette is missing or wrong."
        if self.frames < 1:
            return "Number of Frames is wrong."
        return ""
