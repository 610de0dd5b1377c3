"""DICOM files are found wherever people keep them, and what is not one is passed over with a reason."""

import zipfile
from pathlib import Path

import pydicom.data
import pytest

from adapters.dicom.dataset.header import Malformed, read_header
from adapters.dicom.dataset.meta import split
from adapters.dicom.files.media import Member, write_medium
from adapters.dicom.files.reading import Found, Passed, as_file, files

CT = Path(pydicom.data.get_testdata_file("CT_small.dcm")).read_bytes()
BARE = CT[split(CT)[1] :]


def taken(root: Path) -> dict[str, bytes]:
    found = {}
    for one in files(root):
        if isinstance(one, Found):
            with one.open() as opened:
                found[one.place] = opened.read()
    return found


def disc(target: Path) -> None:
    target.mkdir()
    header = read_header(CT)
    one = Member(header.study, header.series, header.sop_instance, lambda: CT)
    assert write_medium([one], target, institution="", software="") == []
    (target / "README.TXT").unlink()


def passed(root: Path) -> list[Passed]:
    return [one for one in files(root) if isinstance(one, Passed)]


def test_files_are_known_by_their_content_not_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "I0001").write_bytes(CT)
    (tmp_path / "readme.txt").write_text("nothing")
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8" + bytes(200))
    assert taken(tmp_path) == {"a/b/I0001": CT}


def test_a_single_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(CT)
    assert list(taken(tmp_path / "one").values()) == [CT]


def test_a_zip_is_read_where_it_lies(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "disc.zip", "w") as archive:
        archive.writestr("DICOM/I1", CT)
        archive.writestr("index.html", "<html>")
    assert taken(tmp_path) == {"disc.zip!DICOM/I1": CT}
    assert taken(tmp_path / "disc.zip") == {"disc.zip!DICOM/I1": CT}


def test_a_broken_zip_is_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "disc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("DICOM/I1", CT)
    content = bytearray((tmp_path / "disc.zip").read_bytes())
    content[60:200] = b"\xff" * 140
    (tmp_path / "disc.zip").write_bytes(content)
    assert "cannot be read" in passed(tmp_path)[0].why


def test_what_a_directory_lists_and_is_not_there_is_told(tmp_path: Path) -> None:
    disc(tmp_path / "disc")
    assert passed(tmp_path / "disc") == []
    assert len(taken(tmp_path / "disc")) == 1
    next(path for path in (tmp_path / "disc").rglob("*") if path.is_file() and path.name != "DICOMDIR").unlink()
    assert "not there" in passed(tmp_path / "disc")[0].why


def test_a_disc_with_other_letters_and_versions_in_its_names_is_whole(tmp_path: Path) -> None:
    disc(tmp_path / "disc")
    image = next(path for path in (tmp_path / "disc").rglob("*") if path.is_file() and path.name != "DICOMDIR")
    image.rename(image.with_name(image.name.lower() + ".;1"))
    assert passed(tmp_path / "disc") == []


def test_a_bare_data_set_becomes_a_file() -> None:
    assert BARE[128:132] != b"DICM"
    made = as_file(BARE)
    header = read_header(made)
    assert made.endswith(BARE)
    assert header.sop_instance == read_header(CT).sop_instance
    assert header.transfer_syntax == read_header(CT).transfer_syntax


def test_a_file_stays_as_it_is() -> None:
    assert as_file(CT) is CT


def test_what_is_no_data_set_is_refused() -> None:
    with pytest.raises(Malformed):
        as_file(b"<html>not an image</html>" * 20)
