"""Our page of images in a real browser: a stored study is seen and windowed, nothing is loaded from elsewhere."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from tests.tools import require
from tests.wire.dicom import chromium
from tests.wire.live import Live

_LOADED = "document.querySelector('.corner.sw').textContent && document.querySelector('.busy').hidden"


@pytest.fixture(scope="module")
def study(server: Live) -> str:
    """A study of three slices in grey and one picture in colour."""
    uid, slices = generate_uid(), generate_uid()
    files = []
    for number in (1, 2, 3):
        dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        dataset.SeriesInstanceUID, dataset.SeriesNumber = slices, 1
        dataset.InstanceNumber, dataset.WindowCenter, dataset.WindowWidth = number, 40, 400
        dataset.PixelData = np.roll(dataset.pixel_array, number * 20, axis=1).tobytes()
        dataset.ImageLaterality = "L"
        files.append(dataset)
    colour = pydicom.dcmread(str(get_testdata_file("examples_ybr_color.dcm")))
    colour.SeriesInstanceUID, colour.SeriesNumber = generate_uid(), 2
    body = b""
    for dataset in (*files, colour):
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = uid, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SpecificCharacterSet, dataset.PatientID = "ISO_IR 192", f"VIEW-{uid[-6:]}"
        dataset.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, dataset)
        body += b"--part\r\nContent-Type: application/dicom\r\n\r\n" + stream.getvalue() + b"\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=part'
    address = f"http://127.0.0.1:{server.port}/dicomweb/studies"
    answer = httpx.post(
        address, content=body + b"--part--", headers={"Content-Type": kind}, timeout=60, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return uid


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[chromium.Browser]:
    """A browser that prefers Japanese."""
    program = require(*chromium.PROGRAMS)
    with chromium.Browser(program, tmp_path / "profile", "ja") as browser:
        yield browser


def _only_here(browser: chromium.Browser, server: Live) -> None:
    own = (f"http://127.0.0.1:{server.port}/", "data:", "blob:", "about:")
    assert [address for address in browser.requests if not address.startswith(own)] == []
    assert browser.problems == []
    counted = httpx.get(f"http://127.0.0.1:{server.port}/metrics", trust_env=False).text
    assert 'interaction="viewer"' in counted


def test_a_stored_study_is_seen_and_windowed(server: Live, study: str, browser: chromium.Browser) -> None:
    browser.open(f"http://127.0.0.1:{server.port}/viewer?StudyInstanceUIDs={study}")
    browser.until(_LOADED)
    first = browser.picture(".stage").astype(int)
    rows, columns, _ = first.shape
    middle = first[:, (columns - rows) // 2 : (columns + rows) // 2]
    assert middle.std() > 20, "the picture is of one shade"
    side = first[rows // 4 : rows // 2 - 20, 4 : (columns - rows) // 2 - 4]
    assert side.max() <= 2, "beside a square image the stage is black"
    assert "山田 太郎" in browser.run("document.getElementById('who').textContent")
    assert browser.run("document.querySelector('.laterality').textContent") == "左"
    assert "C 40" in browser.run("document.querySelector('.corner.se').textContent")

    browser.drag(".stage", 120, 60)
    browser.until("!document.querySelector('.corner.se').textContent.includes('C 40 ')")
    windowed = browser.picture(".stage").astype(int)
    assert np.abs(windowed - first)[:, (columns - rows) // 2 : (columns + rows) // 2].mean() > 5

    browser.press("r")
    browser.until("document.querySelector('.corner.se').textContent.includes('C 40 ')")
    assert np.abs(browser.picture(".stage") - first).mean() < 1

    browser.press("ArrowDown")
    browser.until("document.querySelector('.corner.sw').textContent.includes('2 / 3')")
    assert np.abs(browser.picture(".stage") - first).mean() > 5

    browser.press("i")
    inverted = browser.picture(".stage").astype(int)
    assert inverted[rows // 2, columns // 2].sum() != first[rows // 2, columns // 2].sum()
    _only_here(browser, server)


def test_a_colour_cine_is_drawn_by_the_server_and_plays(server: Live, study: str, browser: chromium.Browser) -> None:
    browser.open(f"http://127.0.0.1:{server.port}/viewer?StudyInstanceUIDs={study}")
    browser.until(_LOADED)
    browser.run("document.querySelectorAll('.strip button')[1].click()")
    browser.until(f"document.querySelector('.slide output').textContent.endsWith('/ 30') && {_LOADED}")
    assert browser.picture(".stage").std() > 5
    browser.press(" ")
    browser.until("document.querySelector('.slide input').value >= 4")
    assert any("/rendered" in address for address in browser.requests)
    _only_here(browser, server)


def test_studies_are_searched_and_opened(server: Live, study: str, browser: chromium.Browser) -> None:
    browser.open(f"http://127.0.0.1:{server.port}/viewer?id=VIEW-{study[-6:]}")
    browser.until("document.querySelectorAll('tr.study').length === 1")
    assert "山田 太郎" in browser.run("document.querySelector('tr.study').textContent")
    assert browser.run("document.documentElement.lang") == "ja"
    browser.run("document.querySelector('tr.study').click()")
    browser.until(f"location.search.includes('{study}') && {_LOADED}")
    browser.open(f"http://127.0.0.1:{server.port}/viewer?id=nobody-has-this")
    browser.until("document.querySelector('.note').textContent === '該当する検査はありません。'")
    _only_here(browser, server)


def test_a_study_that_is_not_there_is_said(server: Live, study: str, browser: chromium.Browser) -> None:
    browser.open(f"http://127.0.0.1:{server.port}/viewer?StudyInstanceUIDs=1.2.3.4.5")
    browser.until("document.getElementById('message').textContent")
    assert browser.run("document.getElementById('message').hidden") is False
