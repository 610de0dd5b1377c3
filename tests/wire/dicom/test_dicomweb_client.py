"""A published DICOMweb client (dicomweb-client) against the server as a user starts it."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from tests.wire.live import Live

Stored = tuple[DICOMwebClient, pydicom.Dataset, bytes]


@pytest.fixture(scope="module")
def root(server: Live) -> str:
    return f"http://127.0.0.1:{server.port}/dicomweb"


@pytest.fixture(scope="module")
def client(root: str) -> DICOMwebClient:
    return DICOMwebClient(url=root)


@pytest.fixture(scope="module")
def store(client: DICOMwebClient) -> Callable[[str], tuple[pydicom.Dataset, bytes]]:
    """What stores a sample under UIDs of its own, and returns it as data set and file."""

    def stored(name: str) -> tuple[pydicom.Dataset, bytes]:
        dataset = pydicom.dcmread(str(get_testdata_file(name, download=False)))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        client.store_instances([dataset])
        out = io.BytesIO()
        pydicom.dcmwrite(out, dataset)
        return dataset, out.getvalue()

    return stored


@pytest.fixture(scope="module")
def ct(client: DICOMwebClient, store: Callable[[str], tuple[pydicom.Dataset, bytes]]) -> Stored:
    return (client, *store("CT_small.dcm"))


def named(dataset: pydicom.Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def test_what_is_stored_is_found(ct: Stored) -> None:
    client, dataset, _ = ct
    (found,) = client.search_for_studies(search_filters={"StudyInstanceUID": dataset.StudyInstanceUID})
    assert found["00100020"]["Value"] == [dataset.PatientID]
    assert len(client.search_for_studies(search_filters={"PatientName": "Comp*"}, fields=["all"])) >= 1
    (series,) = client.search_for_series(dataset.StudyInstanceUID)
    assert series["0020000E"]["Value"] == [dataset.SeriesInstanceUID]
    (instance,) = client.search_for_instances(dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    assert instance["00080018"]["Value"] == [dataset.SOPInstanceUID]
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []


def test_objects_are_retrieved_and_are_the_same_bytes(ct: Stored, root: str) -> None:
    client, dataset, file = ct
    assert client.retrieve_instance(*named(dataset)).pixel_array.tobytes() == dataset.pixel_array.tobytes()
    assert len(client.retrieve_series(*named(dataset)[:2])) == 1
    assert len(client.retrieve_study(dataset.StudyInstanceUID)) == 1
    place = "{}/studies/{}/series/{}/instances/{}".format(root, *named(dataset))
    answer = httpx.get(place, headers={"accept": "application/dicom; transfer-syntax=*"}, trust_env=False)
    assert answer.content == file


def test_metadata_lead_to_bulk_data(ct: Stored, root: str) -> None:
    client, dataset, _ = ct
    study, series, _ = named(dataset)
    (found,) = client.retrieve_series_metadata(study, series)
    assert pydicom.Dataset.from_json(json.dumps(_without_bulk(found))).PatientName == dataset.PatientName
    place = urljoin(f"{root}/studies/{study}/series/{series}/metadata", found["7FE00010"]["BulkDataURI"])
    (pixels,) = client.retrieve_bulkdata(place)
    assert pixels == dataset.PixelData
    assert len(client.retrieve_study_metadata(study)) == 1
    assert client.retrieve_instance_metadata(*named(dataset))["00080018"]["Value"] == [dataset.SOPInstanceUID]


def test_frames_are_the_pixels(ct: Stored) -> None:
    client, dataset, _ = ct
    assert client.retrieve_instance_frames(*named(dataset), [1]) == [dataset.PixelData]


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png"])
def test_pictures_are_drawn(ct: Stored, kind: str) -> None:
    client, dataset, _ = ct
    for content in (
        client.retrieve_instance_rendered(*named(dataset), media_types=(kind,)),
        client.retrieve_instance_frames_rendered(*named(dataset), [1], media_types=(kind,)),
    ):
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == (dataset.Columns, dataset.Rows)
            assert len(set(picture.convert("L").tobytes())) > 20  # not one grey


def test_compressed_frames_are_retrieved_as_stored_and_decompressed(
    client: DICOMwebClient, store: Callable[[str], tuple[pydicom.Dataset, bytes]]
) -> None:
    dataset, _ = store("JPEG2000.dcm")
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    (stored,) = client.retrieve_instance_frames(*named(dataset), [1], media_types=(("image/jp2", syntax),))
    assert stored in dataset.PixelData
    (native,) = client.retrieve_instance_frames(*named(dataset), [1], media_types=("application/octet-stream",))
    assert native == dataset.pixel_array.tobytes()


def test_a_japanese_name_is_found_by_any_of_its_forms(
    client: DICOMwebClient, store: Callable[[str], tuple[pydicom.Dataset, bytes]]
) -> None:
    path = next(Path(name) for name in pydicom.data.get_charset_files("chrH31.dcm"))
    dataset = pydicom.dcmread(path)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    client.store_instances([dataset])
    for form in ("Yamada^Tarou", "山田*", "やまだ*", "yamada*"):
        found = client.search_for_studies(
            search_filters={"PatientName": form, "StudyInstanceUID": dataset.StudyInstanceUID}
        )
        assert len(found) == 1, form


def test_a_client_that_goes_away_in_the_middle_harms_nobody(ct: Stored, root: str, server: Live) -> None:
    _, dataset, _ = ct
    with httpx.stream("GET", f"{root}/studies/{dataset.StudyInstanceUID}", trust_env=False) as answer:
        next(answer.iter_raw(1))
    assert httpx.get(f"{root}/studies?limit=1", trust_env=False).status_code == 200
    assert not re.search(r'"level":"error"', server.log())


def test_the_requests_are_counted(ct: Stored, server: Live) -> None:
    metrics = httpx.get(f"http://127.0.0.1:{server.port}/metrics", trust_env=False).text
    assert 'renkei_requests_total{interaction="dicomweb",status="2xx"}' in metrics


def _without_bulk(attributes: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {tag: element for tag, element in attributes.items() if "BulkDataURI" not in element}
