"""Files come in from folders and go out again as they were."""

import io
import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from adapters.dicom.files.deidentify import Deidentifier, Options
from adapters.dicom.files.exporting import Exporter, NoSuchStudy, deidentified
from adapters.dicom.files.importing import Tally, take
from adapters.dicom.files.manifest import Source, listed
from adapters.dicom.files.reading import files
from adapters.dicom.model import Sender, Way
from tests.flow.client import ZONE, Client
from tests.flow.dicom.archive import Images

NAMES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "reportsi.dcm")
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"  # of CT_small


@pytest.fixture
async def images(client: Client, tmp_path: Path) -> AsyncIterator[Images]:
    made = Images(client, tmp_path)
    yield made
    await made.archive.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "disc").mkdir()
    for name in NAMES:
        shutil.copy(str(pydicom.data.get_testdata_file(name)), tmp_path / "disc" / name)
    (tmp_path / "disc" / "notes.txt").write_text("no image")
    return tmp_path / "disc"


async def taken(images: Images, folder: Path) -> Tally:
    return await take(images.archive, files(folder), Sender(Way.FILE, "disc"), lambda _: None)


async def test_a_folder_is_taken_and_taking_it_again_changes_nothing(images: Images, folder: Path) -> None:
    first = await taken(images, folder)
    assert (first.files, first.stored, first.refused) == (len(NAMES), len(NAMES), 0)
    again = await taken(images, folder)
    assert (again.stored, again.already, again.conflicts) == (0, len(NAMES), 0)
    assert again.studies == first.studies


async def test_other_bytes_under_a_known_uid_are_a_work_item(images: Images, folder: Path) -> None:
    await taken(images, folder)
    changed = pydicom.dcmread(folder / "CT_small.dcm")
    changed.ImageComments = "another"
    changed.save_as(folder / "CT_small.dcm")
    tally = await taken(images, folder)
    assert (tally.already, tally.conflicts) == (len(NAMES) - 1, 1)


async def test_a_broken_file_is_named_and_the_rest_is_taken(images: Images, folder: Path) -> None:
    content = (folder / "CT_small.dcm").read_bytes()
    (folder / "torn.dcm").write_bytes(content[:3000])
    tally = await taken(images, folder)
    assert (tally.stored, tally.refused) == (len(NAMES), 1)
    assert [place for place, _ in tally.examples] == ["torn.dcm"]


async def test_a_study_leaves_as_it_came(images: Images, folder: Path) -> None:
    await taken(images, folder)
    members = await Exporter(images.archive, images.index).members(STUDY)
    assert [member.read() for member in members] == [(folder / "CT_small.dcm").read_bytes()]


async def test_a_study_that_is_not_there_is_said(images: Images) -> None:
    with pytest.raises(NoSuchStudy):
        await Exporter(images.archive, images.index).members("1.2.3")


async def test_a_study_without_its_patient_has_new_uids(images: Images, folder: Path) -> None:
    await taken(images, folder)
    members = await Exporter(images.archive, images.index).members(STUDY)
    safe, left_out = deidentified(members, Deidentifier(Options(key=b"secret")))
    assert left_out == []
    found = pydicom.dcmread(io.BytesIO(safe[0].read()))
    assert found.PatientIdentityRemoved == "YES"
    assert (safe[0].study, safe[0].instance) == (found.StudyInstanceUID, found.SOPInstanceUID)
    assert safe[0].study != STUDY


async def test_the_manifest_of_a_study_lists_it(images: Images, folder: Path) -> None:
    await taken(images, folder)
    source = Source(title="RENKEI", dicomweb="http://server.test/dicomweb")
    made = await Exporter(images.archive, images.index).manifest(STUDY, source, datetime(2026, 1, 31, tzinfo=ZONE))
    dataset = pydicom.dcmread(io.BytesIO(made))
    assert [uids[0] for uids in listed(dataset.to_json_dict())] == [STUDY]
