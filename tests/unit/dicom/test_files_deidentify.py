"""What leaves the region says nothing of the patient, and belongs together as before."""

import io
from datetime import date

import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset

from adapters.dicom.files.deidentify import Dates, Deidentifier, Options, Unsafe

KEY = b"a secret of this project"


def file(name: str = "CT_small.dcm", **changes: object) -> bytes:
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file(name))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return written(dataset)


def written(dataset: Dataset) -> bytes:
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()


def cleaned(content: bytes, **options: object) -> Dataset:
    return pydicom.dcmread(io.BytesIO(Deidentifier(Options(key=KEY, **options)).file(content)))


def test_no_word_of_the_patient_is_left_in_the_bytes() -> None:
    content = file(
        PatientName="Yamada^Hanako=山田^花子=やまだ^はなこ",
        PatientID="SECRET-4711",
        SpecificCharacterSet="ISO_IR 192",
        StudyDescription="Yamada Hanako chest",
        OtherPatientIDs="INS-0815",
        PatientComments="保険者番号 06123456",
        InstitutionName="Central Hospital",
        ReferringPhysicianName="Suzuki^Ichiro",
    )
    left = Deidentifier(Options(key=KEY)).file(content)
    for word in ("Yamada", "Hanako", "SECRET", "INS-0815", "山田", "やまだ", "06123456", "Central", "Suzuki"):
        assert word.encode() in content or word.isascii()
        assert word.encode() not in left, word


def test_uids_are_replaced_the_same_way_everywhere() -> None:
    first, second = cleaned(file()), cleaned(file(InstanceNumber="2", SOPInstanceUID="1.2.3.4"))
    original = pydicom.dcmread(io.BytesIO(file()))
    assert first.StudyInstanceUID == second.StudyInstanceUID != original.StudyInstanceUID
    assert first.StudyInstanceUID.startswith("2.25.")
    assert first.StudyInstanceUID.is_valid
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPClassUID == original.SOPClassUID


def test_another_key_gives_another_pseudonym() -> None:
    one = Deidentifier(Options(key=b"one")).pseudonym("4711^")
    assert one != Deidentifier(Options(key=b"two")).pseudonym("4711^")


def test_private_attributes_go_also_inside_sequences() -> None:
    item = Dataset()
    item.add_new(0x00110010, "LO", "SECRET CREATOR")
    item.add_new(0x00111001, "LO", "secret")
    item.CodeValue = "x"
    original = pydicom.dcmread(io.BytesIO(file()))
    original.AnatomicRegionSequence = [item]
    found = cleaned(written(original))
    assert not any(element.tag.is_private for element in found.iterall())
    assert found.AnatomicRegionSequence[0].CodeValue == "x"


def test_pixels_and_geometry_stay() -> None:
    original, found = pydicom.dcmread(io.BytesIO(file())), cleaned(file())
    assert found.PixelData == original.PixelData
    assert found.PixelSpacing == original.PixelSpacing
    assert found.RescaleSlope == original.RescaleSlope


def test_the_object_says_how_it_was_done() -> None:
    found = cleaned(file(), dates=Dates.SHIFTED, keep_device=True)
    assert found.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in found.DeidentificationMethodCodeSequence] == ["113100", "113107", "113109"]
    assert found.LongitudinalTemporalInformationModified == "MODIFIED"


def test_shifted_dates_keep_their_distance() -> None:
    first = cleaned(file(StudyDate="20260105", ContentDate="20260115"), dates=Dates.SHIFTED)
    days = [date(int(v[:4]), int(v[4:6]), int(v[6:])) for v in (first.StudyDate, first.ContentDate)]
    assert (days[1] - days[0]).days == 10
    assert first.StudyDate != "20260105"


def test_birth_dates_go_whatever_is_kept() -> None:
    found = cleaned(file(PatientBirthDate="19500203"), dates=Dates.KEPT, keep_patient_characteristics=True)
    assert not found.PatientBirthDate
    assert found.PatientSex


def test_kept_descriptions_lose_the_patients_name() -> None:
    found = cleaned(file(PatientName="Yamada^Hanako", StudyDescription="Chest YAMADA plain"), keep_descriptions=True)
    assert found.StudyDescription == "Chest plain"


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"},
        {"BurnedInAnnotation": "YES"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"},
    ],
    ids=["secondary-capture", "ultrasound", "said-to-be-burned-in", "pdf", "report"],
)
def test_what_may_show_the_patient_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(Unsafe):
        cleaned(file(**changes))


def test_a_user_who_has_looked_can_let_pictures_pass() -> None:
    assert cleaned(file(BurnedInAnnotation="YES"), accept_pixels=True).PatientIdentityRemoved == "YES"
