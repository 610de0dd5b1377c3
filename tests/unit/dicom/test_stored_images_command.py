"""What ``renkei dicom correct`` is given."""

import pytest

from fhir_server.commands.shared import Failure
from fhir_server.commands.stored_images import _correction


def test_a_correction_is_an_element_with_the_standards_vr() -> None:
    assert _correction("00100020=4711") == ("00100020", {"vr": "LO", "Value": ["4711"]})
    assert _correction("(0010,0010)=YAMADA^TAROU=山田^太郎") == (
        "00100010", {"vr": "PN", "Value": [{"Alphabetic": "YAMADA^TAROU", "Ideographic": "山田^太郎"}]},
    )  # fmt: skip


def test_an_empty_value_removes() -> None:
    assert _correction("0010,0040=") == ("00100040", None)


@pytest.mark.parametrize("text", ["PatientID=1", "00100020", "00081032=1"])
def test_what_is_no_correction_is_refused(text: str) -> None:
    with pytest.raises(Failure):
        _correction(text)
