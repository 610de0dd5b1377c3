"""Studies leave as files exactly as they were stored, with a DICOMDIR and a manifest others can read."""

import io
import subprocess
import zipfile
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pydicom
import pydicom.data
import pytest

from adapters.dicom.dataset.json import to_json
from adapters.dicom.files.manifest import KEY_OBJECTS, Source, listed, manifest
from adapters.dicom.files.media import Member, write_folder, write_medium, write_zip
from adapters.dicom.model import Instance, Place, Sender, Series, Study, Way
from tests.tools import require

NAMES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "test-SR.dcm", "chrH31.dcm", "rtplan.dcm")


def member(content: bytes) -> Member:
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    uids = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
    return Member(*uids, lambda: content)


def contents() -> list[bytes]:
    found = [Path(pydicom.data.get_testdata_file(name)) for name in NAMES if not name.startswith("chr")]
    found += [Path(path) for path in pydicom.data.get_charset_files("chrH31.dcm")]
    return [path.read_bytes() for path in found]


@pytest.fixture
def members() -> list[Member]:
    return [member(content) for content in contents()]


def test_a_zip_holds_every_file_as_stored(members: list[Member]) -> None:
    target = io.BytesIO()
    assert write_zip(members, target) == len(members)
    with zipfile.ZipFile(target) as archive:
        for one in members:
            assert archive.read(f"{one.study}/{one.series}/{one.instance}.dcm") == one.read()


def test_a_folder_holds_every_file_as_stored(members: list[Member], tmp_path: Path) -> None:
    assert write_folder(members, tmp_path) == len(members)
    assert {path.read_bytes() for path in tmp_path.rglob("*.dcm")} == {one.read() for one in members}


def test_a_medium_lists_its_files_and_they_are_as_stored(members: list[Member], tmp_path: Path) -> None:
    target = tmp_path / "medium"
    target.mkdir()
    assert write_medium(members, target, institution="中央病院", software="Renkei") == []
    records = [one for one in pydicom.dcmread(target / "DICOMDIR").DirectoryRecordSequence if "ReferencedFileID" in one]
    stored = {one.instance: one.read() for one in members}
    found = {one.ReferencedSOPInstanceUIDInFile: target.joinpath(*one.ReferencedFileID) for one in records}
    assert {str(uid): path.read_bytes() for uid, path in found.items()} == stored
    assert "中央病院" in (target / "README.TXT").read_text(encoding="utf-8")


def test_what_a_directory_cannot_list_is_on_the_medium_all_the_same(tmp_path: Path) -> None:
    target = tmp_path / "medium"
    target.mkdir()
    one = member(contents()[0])
    odd = Member(one.study, one.series, "1.2.3", one.read)
    problems = write_medium([one, odd], target, institution="", software="Renkei")
    assert [problem.partition(":")[0] for problem in problems] == ["1.2.3"]
    assert (target / "OTHER/00000000").read_bytes() == one.read()


def study_and_series() -> tuple[Study, list[tuple[Series, list[Instance]]]]:
    attributes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]},
        "00100020": {"vr": "LO", "Value": ["4711"]},
        "00080020": {"vr": "DA", "Value": ["20260131"]},
        "00080050": {"vr": "SH", "Value": ["A1"]},
    }
    sender = Sender(Way.DIMSE, "CT1")
    instances = [
        Instance(
            uid=f"1.2.3.4.{number}",
            study="1.2.3",
            series="1.2.3.4",
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax="1.2.840.10008.1.2.1",
            place=Place("p", 0, 1),
            hash="",
            received=0,
            sender=sender,
        )
        for number in (1, 2)
    ]
    return Study(uid="1.2.3", attributes=attributes), [(Series(uid="1.2.3.4", study="1.2.3", modality="CT"), instances)]


SOURCE = Source(title="RENKEI", dicomweb="https://server.test/dicomweb", location="1.2.3.99")
MADE = datetime(2026, 1, 31, 10, 0, tzinfo=ZoneInfo("Asia/Tokyo"))


def test_a_manifest_lists_every_instance_and_where_it_is_had() -> None:
    study, series = study_and_series()
    content = manifest(study, series, SOURCE, MADE)
    dataset = pydicom.dcmread(io.BytesIO(content))
    assert dataset.SOPClassUID == KEY_OBJECTS
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "113030"
    assert str(dataset.PatientName) == "Yamada^Tarou=山田^太郎"
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.RetrieveURL == "https://server.test/dicomweb/studies/1.2.3/series/1.2.3.4"
    assert evidence.RetrieveAETitle == "RENKEI"
    assert listed(to_json(content, lambda *_: "")) == [("1.2.3", "1.2.3.4", f"1.2.3.4.{number}") for number in (1, 2)]


def test_the_same_study_has_the_same_manifest() -> None:
    study, series = study_and_series()
    assert manifest(study, series, SOURCE, MADE) == manifest(study, series, SOURCE, MADE)
    fewer = [(series[0][0], series[0][1][:1])]
    first, second = (pydicom.dcmread(io.BytesIO(manifest(study, one, SOURCE, MADE))) for one in (series, fewer))
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_a_manifest_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        manifest(Study(uid="1.2.3"), [], SOURCE, MADE)


def test_a_manifest_is_a_valid_key_object_selection(tmp_path: Path) -> None:
    study, series = study_and_series()
    path = tmp_path / "manifest.dcm"
    path.write_bytes(manifest(study, series, SOURCE, MADE))
    checked = subprocess.run([require("dciodvfy"), str(path)], capture_output=True, text=True, timeout=30, check=False)
    errors = [line for line in checked.stderr.splitlines() if line.startswith("Error")]
    assert errors == []
