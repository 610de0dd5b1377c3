"""WADO-RS rendered and thumbnail, WADO-URI, and what is the same for the whole service."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from tests.flow.client import Client
from tests.flow.dicom.web_world import ROOT, Web, image, parts_in, web

SERIES = "/studies/1.2.3/series/1.2.3.1"
ONE = SERIES + "/instances/1.2.3.1.1"
URI = "/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.1&objectUID=1.2.3.1.1"


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[Web]:
    async with web(client, tmp_path) as opened:
        opened.files = await opened.stored(image(frames=2), image(instance="1.2.3.1.2", number=2))
        yield opened


def shown(content: bytes) -> tuple[str, tuple[int, int]]:
    with Image.open(io.BytesIO(content)) as picture:
        return str(picture.format), picture.size


@pytest.mark.parametrize("path", ["/studies/1.2.3", SERIES, ONE, ONE + "/frames/2"])
@pytest.mark.parametrize(("accept", "kind"), [("*/*", "JPEG"), ("image/png", "PNG"), ("image/jpeg", "JPEG")])
async def test_everything_has_a_picture(world: Web, path: str, accept: str, kind: str) -> None:
    answer = await world.get(path + "/rendered", accept)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert shown(answer.content) == (kind, (8, 8))


@pytest.mark.parametrize("path", ["/studies/1.2.3", SERIES, ONE, ONE + "/frames/1"])
async def test_everything_has_a_thumbnail(world: Web, path: str) -> None:
    answer = await world.get(path + "/thumbnail")
    assert answer.status_code == 200
    assert shown(answer.content)[0] == "JPEG"


async def test_all_pictures_of_a_series_come_as_parts(world: Web) -> None:
    parts = parts_in(await world.get(SERIES + "/rendered", 'multipart/related; type="image/png"'))
    assert [shown(content)[0] for _, content in parts] == ["PNG"] * 3
    assert [headers["content-location"] for headers, _ in parts][:2] == [f"{ROOT}{ONE}/frames/{n}" for n in (1, 2)]


async def test_viewport_window_and_quality_are_heard(world: Web) -> None:
    answer = await world.get(ONE + "/rendered?viewport=4,4&window=100,10,linear&quality=50")
    assert shown(answer.content) == ("JPEG", (4, 4))
    assert (await world.get(ONE + "/rendered?annotation=patient")).headers["warning"].endswith('annotation"')


@pytest.mark.parametrize("query", ["viewport=x", "viewport=0,0", "window=1", "window=1,0", "quality=0", "quality=x"])
async def test_an_invalid_rendering_parameter_is_400(world: Web, query: str) -> None:
    assert (await world.get(f"{ONE}/rendered?{query}")).status_code == 400


async def test_what_has_no_pixels_is_406(world: Web) -> None:
    dataset = image("1.2.5", "1.2.5.1", "1.2.5.1.1")
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(dataset, name)
    await world.stored(dataset)
    assert (await world.get("/studies/1.2.5/rendered")).status_code == 406


async def test_wado_uri_gives_the_file_or_a_picture(world: Web) -> None:
    answer = await world.get(URI + "&contentType=application/dicom")
    assert answer.content == world.files[0]
    assert answer.headers["content-type"].startswith("application/dicom")
    assert shown((await world.get(URI)).content) == ("JPEG", (8, 8))
    picture = await world.get(
        URI + "&contentType=image/png&frameNumber=2&rows=4&columns=4&windowCenter=5&windowWidth=9"
    )
    assert shown(picture.content) == ("PNG", (4, 4))


@pytest.mark.parametrize(
    ("query", "status"),
    [("/wado", 400), ("/wado?requestType=WADO&studyUID=1.2.3", 400), (URI + "x", 404),
     (URI + "&contentType=text/html", 406), (URI + "&frameNumber=9", 404), (URI + "&frameNumber=x", 400),
     (URI + "&windowCenter=1", 400), (URI + "&rows=0", 400),
     (URI + "&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.90", 406)],
)  # fmt: skip
async def test_wado_uri_refuses(world: Web, query: str, status: int) -> None:
    assert (await world.get(query.replace("1.2.3.1.1x", "1.2.3.1.9"))).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/studies", "POST, GET, OPTIONS"), ("POST", "/series", "GET, OPTIONS"),
     ("DELETE", ONE + "/metadata", "GET, OPTIONS"), ("POST", "/wado", "GET, OPTIONS")],
)  # fmt: skip
async def test_another_method_is_405_and_says_which_are_possible(
    world: Web, method: str, path: str, allowed: str
) -> None:
    answer = await world.http.request(method, ROOT + path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    asked = await world.http.options(ROOT + path)
    assert (asked.status_code, asked.headers["allow"]) == (204, allowed)


async def test_head_is_get_without_the_body(world: Web) -> None:
    answer = await world.http.head(ROOT + ONE, headers={"accept": "application/dicom"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(world.files[0]))


async def test_the_service_says_what_it_can_do(world: Web) -> None:
    assert "studies/{study}/metadata" in (await world.get("")).json()["resources"]
    wadl = await world.get("", "application/vnd.sun.wadl+xml")
    assert f'<resources base="{ROOT}">' in wadl.text


async def test_other_origins_may_read_only_if_they_are_named(world: Web, client: Client, tmp_path: Path) -> None:
    answer = await world.get("/studies", origin="https://viewer.test")
    assert "access-control-allow-origin" not in answer.headers
    async with web(client, tmp_path / "other", origins=("https://viewer.test",)) as other:
        answer = await other.get("/studies", origin="https://viewer.test")
        assert answer.headers["access-control-allow-origin"] == "https://viewer.test"
        assert "access-control-allow-origin" not in (await other.get("/studies", origin="https://evil.test")).headers
        asked = await other.http.options(
            ROOT + "/studies",
            headers={"origin": "https://viewer.test", "access-control-request-headers": "accept"},
        )
        assert asked.headers["access-control-allow-headers"] == "accept"


async def test_addresses_in_answers_are_those_the_client_used(world: Web) -> None:
    answer = await world.http.get(ROOT + "/studies", headers={"host": "images.example:8443"})
    assert answer.json()[0]["00081190"]["Value"] == ["http://images.example:8443/dicomweb/studies/1.2.3"]
    assert (await world.http.get(ROOT + "/studies", headers={"host": "a b"})).status_code == 400


@pytest.mark.parametrize("path", [ONE + "/rendered", "/studies"])
async def test_a_warning_holds_only_what_a_header_can_hold(world: Web, path: str) -> None:
    answer = await world.get(f"{path}?%E5%B1%B1%22x%5C=1")
    assert answer.status_code == 200
    assert answer.headers["warning"].endswith('supported: ??x?"')
