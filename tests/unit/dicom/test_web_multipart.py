"""multipart/related as a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.web.errors import WebError
from adapters.dicom.web.multipart import PartBegins, PartData, PartEnds, Reader, closing, part_head


def parts(body: bytes, boundary: str = "b", sizes: tuple[int, ...] = (1 << 20,)) -> list[tuple[dict[str, str], bytes]]:
    reader = Reader(boundary)
    found: list[tuple[dict[str, str], bytes]] = []
    at = turn = 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        for event in reader.feed(body[at : at + size]):
            match event:
                case PartBegins(headers):
                    found.append((dict(headers), b""))
                case PartData(data):
                    found[-1] = (found[-1][0], found[-1][1] + bytes(data))
                case PartEnds():
                    pass
        at += size
        turn += 1
    reader.close()
    return found


@given(
    contents=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"\r\n", b"\r\n--", b"\r\n--bb"[:-1], b"--b--", b"\r", b"\r\n\r\n"]),
        max_size=4,
    ),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_parts_come_out_as_they_went_in_however_the_body_is_cut(contents: list[bytes], sizes: list[int]) -> None:
    boundary = "b0undary'()+_,-./:=? x"
    body = b"".join(
        part_head(boundary, {"Content-Type": f"x/{place}"}, first=not place) + content
        for place, content in enumerate(contents)
    )
    body += closing(boundary)
    expected = [({"content-type": f"x/{place}"}, content) for place, content in enumerate(contents)]
    assert parts(body, boundary, tuple(sizes)) == expected


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_preamble_epilogue_padding_and_folded_headers_are_understood(size: int) -> None:
    body = b"ignore me\r\n--b \t\r\nA: 1\r\n  2\r\nB: x:y\r\n\r\nDATA\r\n--b\r\n\r\n\r\n--b--\r\nepilogue --b\r\n"
    assert parts(body, sizes=(size,)) == [({"a": "1  2", "b": "x:y"}, b"DATA"), ({}, b"")]


@pytest.mark.parametrize(
    "body",
    [b"", b"nothing", b"--b\r\nA: 1\r\n\r\nDATA", b"--b\r\n\r\nDATA\r\n--b\r\n", b"--bad\r\n\r\nDATA\r\n--b--",
     b"--b\r\n" + b"x" * 20_000],
    ids=["empty", "text", "cut", "no closing", "other boundary", "headers without end"],
)  # fmt: skip
def test_what_is_not_complete_multipart_is_400(body: bytes) -> None:
    with pytest.raises(WebError) as error:
        parts(body)
    assert error.value.status == 400


@pytest.mark.parametrize("boundary", ["", "x" * 201, "ü", "a\nb"], ids=["none", "long", "not ascii", "line break"])
def test_what_cannot_be_a_boundary_is_400(boundary: str) -> None:
    with pytest.raises(WebError) as error:
        Reader(boundary)
    assert error.value.status == 400


def test_a_piece_within_a_part_is_handed_on_as_it_came() -> None:
    reader = Reader("b")
    chunk = b"x" * 100_000
    list(reader.feed(b"--b\r\n\r\n" + chunk))
    (event,) = reader.feed(chunk)
    assert isinstance(event, PartData)
    assert event.data is chunk
