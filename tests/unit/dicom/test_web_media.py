"""What clients accept, as they really send it."""

import pytest

from adapters.dicom.web.errors import WebError
from adapters.dicom.web.media import STORED, Offer, accepted, choose, content_type

DICOM = (Offer("application/dicom", multipart=True), Offer("application/dicom"), Offer("application/zip"))
FRAMES = (Offer("application/octet-stream", multipart=True), Offer("image/jpeg", multipart=True))
JSON = (Offer("application/dicom+json"), Offer("application/json"))


@pytest.mark.parametrize(
    ("header", "offers", "expected", "syntaxes"),
    [
        ("", DICOM, DICOM[0], (STORED,)),
        ("*/*", DICOM, DICOM[0], (STORED,)),
        ('multipart/related; type="application/dicom"', DICOM, DICOM[0], ()),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', DICOM, DICOM[0], (STORED,)),
        ("multipart/related; type=application/dicom; transfer-syntax=1.2.3", DICOM, DICOM[0], ("1.2.3",)),
        ("application/dicom", DICOM, DICOM[1], ()),
        ("application/dicom;q=0.5, application/zip", DICOM, DICOM[2], ()),
        ("application/zip;q=0, */*", DICOM, DICOM[0], (STORED,)),
        (
            ('multipart/related;type="application/dicom";transfer-syntax=1.2;q=0.3,'
            'multipart/related;type="application/dicom";transfer-syntax=1.1'),
            DICOM, DICOM[0], ("1.1", "1.2"),
        ),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", FRAMES, FRAMES[0], (STORED,)),
        ("multipart/related; type=application/octet-stream, transfer-syntax=*", FRAMES, FRAMES[0], (STORED,)),
        (('multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50, '
         'multipart/related; type="application/octet-stream"; transfer-syntax=*;q=0.1'),
         FRAMES, FRAMES[1], ("1.2.840.10008.1.2.4.50",)),
        ('multipart/related; type="image/*"', FRAMES, FRAMES[1], ()),
        ("multipart/related", FRAMES, FRAMES[0], ()),
        ("application/json", JSON, JSON[1], ()),
        ("application/dicom+json,application/json,*/*", JSON, JSON[0], ("", STORED)),
    ],
)  # fmt: skip
def test_the_best_accepted_form_is_chosen(
    header: str, offers: tuple[Offer, ...], expected: Offer, syntaxes: tuple[str, ...]
) -> None:
    choice = choose(accepted(header), offers)
    assert (choice.offer, choice.syntaxes) == (expected, syntaxes)


def test_the_accept_parameter_is_taken_instead_of_the_header() -> None:
    assert choose(accepted("text/html", ["application/dicom json"]), JSON).type == "application/dicom+json"


@pytest.mark.parametrize("header", ["text/html", "application/json;q=0", "image/png;q=nonsense"])
def test_what_cannot_be_produced_is_406_and_says_what_can(header: str) -> None:
    with pytest.raises(WebError, match="application/dicom") as error:
        choose(accepted(header), JSON)
    assert error.value.status == 406


def test_what_is_no_media_type_is_400() -> None:
    with pytest.raises(WebError) as error:
        accepted("nonsense")
    assert error.value.status == 400


def test_quoted_parameters_may_have_separators_and_escapes() -> None:
    text = r'Multipart/Related; type="application/dicom"; boundary="a;b,\"c\\"'
    assert content_type(text) == ("multipart/related", {"type": "application/dicom", "boundary": 'a;b,"c\\'})
