"""JPEG processes that no codec at hand has: lossless (14) and sequential DCT with 12 bits (4) (ISO/IEC 10918-1).

Huffman codes are looked up 16 bits at a time in Python, everything else is done with whole arrays: about 5 million
samples a second.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from adapters.dicom.pictures.jpeg_stream import BadJpeg, Component, Scan, Stream, read_stream

Samples = npt.NDArray[np.int32]
Windows = memoryview  # of 24 bits each; takes a tenth of what a list would

_ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
)  # fmt: skip
_CUT_OFF = "The entropy-coded data are cut off."


def decode(data: bytes) -> tuple[Samples, int]:
    """Return rows x columns x components, and the precision. Colours are as coded."""
    stream = read_stream(data, with_scans=True)
    if not stream.scans or not stream.components or min(stream.width, stream.height) < 1:
        raise BadJpeg("The JPEG stream has no picture.")
    if stream.process == 0xC3:
        planes = _lossless(stream)
    elif stream.process in (0xC0, 0xC1):
        planes = _sequential(stream)
    else:
        raise BadJpeg(f"JPEG process SOF{stream.process - 0xC0} is not supported.")
    return np.stack(planes, axis=-1), stream.precision


def _windows(piece: bytes) -> Windows:
    """Return for each byte the 24 bits that begin there; behind the end are ones, as encoders fill up."""
    padded = np.frombuffer(piece + b"\xff" * 8, np.uint8).astype(np.uint32)
    return (padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]).data


def _lookup(table: tuple[bytes, bytes]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return for all 16 bits that may come the code's length (0: none) and its value."""
    counts, values = table
    lengths, symbols = np.zeros(1 << 16, np.int32), np.zeros(1 << 16, np.int32)
    at, code = 0, 0
    for length in range(1, 17):
        for _ in range(counts[length - 1]):
            start = code << (16 - length)
            stop = (code + 1) << (16 - length)
            if stop > 1 << 16 or at >= len(values):
                raise BadJpeg("A Huffman table is wrong.")
            lengths[start:stop], symbols[start:stop] = length, values[at]
            at, code = at + 1, code + 1
        code <<= 1
    return lengths, symbols


def _differences(table: tuple[bytes, bytes]) -> tuple[list[int], list[int], list[int]]:
    """Return for 16 bits: how many a code with its difference takes (0: more than these), the difference, the rest.

    The rest is code's length << 8 | category, for those that take more.
    """
    lengths, symbols = _lookup(table)
    if symbols.max() > 16:
        raise BadJpeg("A Huffman table is wrong.")
    extra = np.where(symbols == 16, 0, symbols)
    total = lengths + extra
    bits = np.arange(1 << 16, dtype=np.int64)
    value = (bits >> np.maximum(16 - total, 0)) & ((1 << extra) - 1)
    value = np.where((extra > 0) & (value < (1 << np.maximum(extra - 1, 0))), value - (1 << extra) + 1, value)
    value = np.where(symbols == 16, 32768, value)
    whole = np.where((lengths > 0) & (total <= 16), total, 0)
    return whole.tolist(), value.tolist(), (lengths << 8 | symbols).tolist()


def _long_difference(windows: Windows, at: int, rest: int) -> tuple[int, int]:
    """Return the place after a code with a long difference, and the difference."""
    if not rest >> 8:
        raise BadJpeg("There is no such Huffman code.")
    at += rest >> 8
    category = rest & 255
    value = windows[at >> 3] >> (24 - (at & 7) - category) & ((1 << category) - 1)
    return at + category, value if value >> (category - 1) else value - (1 << category) + 1


def _lossless(stream: Stream) -> list[Samples]:
    if any(component.across != 1 or component.down != 1 for component in stream.components):
        raise BadJpeg("Lossless JPEG with subsampled components is not supported.")
    planes: dict[int, Samples] = {}
    for scan in stream.scans:
        planes.update(_lossless_scan(stream, scan))
    try:
        return [planes[component.id] for component in stream.components]
    except KeyError:
        raise BadJpeg("A component has no scan.") from None


def _lossless_scan(stream: Stream, scan: Scan) -> dict[int, Samples]:
    width, height, count = stream.width, stream.height, len(scan.components)
    if scan.interval % width:
        raise BadJpeg("The restart interval is not of whole rows.")
    rows_each = scan.interval // width or height
    tables = [_differences(_table(scan, 0, dc)) for _, dc, _ in scan.components]
    initial = 1 << (stream.precision - scan.low - 1)
    strips: list[list[Samples]] = [[] for _ in range(count)]
    done = 0
    for piece in scan.pieces:
        rows = min(rows_each, height - done)
        if rows <= 0:
            break
        found = np.array(_run(piece, tables, rows * width), np.int32).reshape(rows, width, count)
        for component in range(count):
            strips[component].append(_predicted(found[:, :, component], scan.first, initial) << scan.low)
        done += rows
    if done < height:
        raise BadJpeg(_CUT_OFF)
    return {scan.components[n][0]: np.concatenate(strips[n]) for n in range(count)}


def _table(scan: Scan, kind: int, number: int) -> tuple[bytes, bytes]:
    try:
        return scan.tables[kind, number]
    except KeyError:
        raise BadJpeg("A Huffman table is missing.") from None


def _run(piece: bytes, tables: Sequence[tuple[list[int], list[int], list[int]]], samples: int) -> list[int]:
    """Return the differences of ``samples`` times all components."""
    windows = _windows(piece)
    at, out = 0, []
    try:
        if len(tables) == 1 or all(table == tables[0] for table in tables):
            whole, values, rest = tables[0]
            for _ in range(samples * len(tables)):
                bits = windows[at >> 3] >> (8 - (at & 7)) & 0xFFFF
                taken = whole[bits]
                if taken:
                    at += taken
                    out.append(values[bits])
                else:
                    at, value = _long_difference(windows, at, rest[bits])
                    out.append(value)
        else:
            for _ in range(samples):
                for whole, values, rest in tables:
                    bits = windows[at >> 3] >> (8 - (at & 7)) & 0xFFFF
                    taken, value = whole[bits], values[bits]
                    if taken:
                        at += taken
                    else:
                        at, value = _long_difference(windows, at, rest[bits])
                    out.append(value)
    except IndexError:
        raise BadJpeg(_CUT_OFF) from None
    return out


def _predicted(differences: Samples, predictor: int, initial: int) -> Samples:
    """Add the predictions (H.1.2.1), modulo 2^16."""
    found = differences.copy()
    found[0, 0] += initial
    if predictor == 2:
        found[0] = np.cumsum(found[0])
        return np.cumsum(found, axis=0, dtype=np.int32) & 0xFFFF
    found[:, 0] = np.cumsum(found[:, 0])
    if predictor == 1:
        return np.cumsum(found, axis=1, dtype=np.int32) & 0xFFFF
    if not 3 <= predictor <= 7:
        raise BadJpeg(f"Predictor {predictor} is not supported.")
    found[0] = np.cumsum(found[0]) & 0xFFFF
    found[:, 0] &= 0xFFFF
    for row in range(1, len(found)):
        above = found[row - 1]
        if predictor == 3:
            found[row, 1:] = found[row, 1:] + above[:-1] & 0xFFFF
        elif predictor in (4, 5):
            found[row, 1:] += above[1:] - above[:-1] >> (predictor - 4)
            found[row] = np.cumsum(found[row]) & 0xFFFF
        else:
            found[row] = _by_steps(found[row].tolist(), above.tolist(), predictor)
    return found


def _by_steps(row: list[int], above: list[int], predictor: int) -> list[int]:
    left = row[0]
    for at in range(1, len(row)):
        step = above[at] + (left - above[at - 1] >> 1) if predictor == 6 else left + above[at] >> 1
        left = row[at] = row[at] + step & 0xFFFF
    return row


def _sequential(stream: Stream) -> list[Samples]:
    """Decode the sequential DCT processes (F.2)."""
    most_across = max(component.across for component in stream.components)
    most_down = max(component.down for component in stream.components)
    if not 1 <= most_across <= 4 or not 1 <= most_down <= 4:
        raise BadJpeg("The sampling factors are wrong.")
    mcus = ceil(stream.width / (8 * most_across)), ceil(stream.height / (8 * most_down))
    by_id = {component.id: component for component in stream.components}
    coefficients = {
        component.id: np.zeros((mcus[1] * component.down, mcus[0] * component.across, 64), np.int32)
        for component in stream.components
    }
    for scan in stream.scans:
        if any(part[0] not in by_id for part in scan.components):
            raise BadJpeg("A scan is of an unknown component.")
        _sequential_scan(stream, scan, by_id, coefficients, mcus)
    planes = []
    for component in stream.components:
        plane = _samples(coefficients[component.id], stream.quantization.get(component.quantization), stream.precision)
        if most_down % component.down or most_across % component.across:
            raise BadJpeg("The sampling factors are not supported.")
        plane = plane.repeat(most_down // component.down, 0).repeat(most_across // component.across, 1)
        planes.append(plane[: stream.height, : stream.width])
    return planes


def _sequential_scan(
    stream: Stream, scan: Scan, by_id: dict[int, Component], into: dict[int, Samples], mcus: tuple[int, int]
) -> None:
    blocks: list[tuple[int, int, int]] = []  # (place in the scan, row, column) of the blocks of one MCU
    if len(scan.components) == 1:
        component = by_id[scan.components[0][0]]
        most_across = max(part.across for part in stream.components)
        most_down = max(part.down for part in stream.components)
        across = ceil(stream.width * component.across / (8 * most_across))  # A.1.1, A.2.2
        down = ceil(stream.height * component.down / (8 * most_down))
        blocks, steps = [(0, 0, 0)], (1, 1)
    else:
        across, down = mcus
        for place, (number, _, _) in enumerate(scan.components):
            part = by_id[number]
            blocks += [(place, row, column) for row in range(part.down) for column in range(part.across)]
        steps = (0, 0)
    tables = [
        (
            *(values.tolist() for values in _lookup(_table(scan, 0, dc))),
            *(v.tolist() for v in _lookup(_table(scan, 1, ac))),
        )
        for _, dc, ac in scan.components
    ]
    targets = [into[number] for number, _, _ in scan.components]
    factors = [steps if steps[0] else (by_id[number].down, by_id[number].across) for number, _, _ in scan.components]
    total = across * down
    interval = scan.interval or total
    for order, piece in enumerate(scan.pieces):
        windows, at = _windows(piece), 0
        before = [0] * len(tables)
        for mcu in range(order * interval, min((order + 1) * interval, total)):
            y, x = divmod(mcu, across)
            for place, row, column in blocks:
                block = [0] * 64
                try:
                    at = _block(windows, at, tables[place], block)
                except IndexError:
                    raise BadJpeg(_CUT_OFF) from None
                before[place] += block[0]
                block[0] = before[place]
                targets[place][y * factors[place][0] + row, x * factors[place][1] + column] = block
    if len(scan.pieces) * interval < total:
        raise BadJpeg(_CUT_OFF)


def _block(windows: Windows, at: int, tables: tuple[list[int], ...], block: list[int]) -> int:
    """Decode the coefficients of one block (the first as difference) and return the place after them."""
    dc_lengths, dc_values, ac_lengths, ac_values = tables
    bits = windows[at >> 3] >> (8 - (at & 7)) & 0xFFFF
    if not dc_lengths[bits]:
        raise BadJpeg("There is no such Huffman code.")
    at += dc_lengths[bits]
    at, block[0] = _value(windows, at, dc_values[bits])
    place = 1
    while place < 64:
        bits = windows[at >> 3] >> (8 - (at & 7)) & 0xFFFF
        length, symbol = ac_lengths[bits], ac_values[bits]
        if not length:
            raise BadJpeg("There is no such Huffman code.")
        at += length
        size = symbol & 15
        if size:
            place += symbol >> 4
            if place > 63:
                raise BadJpeg("A block has more than 64 coefficients.")
            at, block[_ZIGZAG[place]] = _value(windows, at, size)
            place += 1
        elif symbol == 0xF0:
            place += 16
        else:
            break
    return at


def _value(windows: Windows, at: int, size: int) -> tuple[int, int]:
    """Read a signed value of ``size`` bits (F.2.2.1)."""
    if not size:
        return at, 0
    if size > 16:
        raise BadJpeg("A coefficient is too large.")
    value = windows[at >> 3] >> (24 - (at & 7) - size) & ((1 << size) - 1)
    return at + size, value if value >> (size - 1) else value - (1 << size) + 1


def _samples(coefficients: Samples, quantization: tuple[int, ...] | None, precision: int) -> Samples:
    """Dequantize, transform back (A.3.3) and put the blocks side by side."""
    if quantization is None:
        raise BadJpeg("A quantization table is missing.")
    down, across, _ = coefficients.shape
    natural = np.zeros(64, np.float32)
    natural[list(_ZIGZAG)] = quantization
    blocks = (coefficients * natural).astype(np.float32).reshape(-1, 8, 8)
    angles = (2 * np.arange(8)[:, None] + 1) * np.arange(8)[None, :] * np.pi / 16
    basis = (np.cos(angles) * np.where(np.arange(8) == 0, np.sqrt(0.125), 0.5)).astype(np.float32)
    spatial = basis @ blocks @ basis.T
    level = 1 << (precision - 1)
    whole = np.clip(np.rint(spatial).astype(np.int32) + level, 0, (1 << precision) - 1)
    return whole.reshape(down, across, 8, 8).transpose(0, 2, 1, 3).reshape(down * 8, across * 8)
