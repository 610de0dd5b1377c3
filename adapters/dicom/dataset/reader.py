"""Walk through the data elements of a data set (PS3.5 7)."""


class Malformed(Exception):
    """The bytes are no DICOM data set. ``tag`` is where it was seen (0: nowhere in particular); no patient's data."""

    def __init__(self, tag: int, text: str) -> None:
        super().__init__(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {text}" if tag else text)
        self.tag = tag
        self.text = text
