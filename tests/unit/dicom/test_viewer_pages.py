"""The viewers' pages: what is served with which headers, and how OHIF is checked, trimmed and adapted."""

import base64
import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from adapters.dicom.viewer import ohif
from adapters.dicom.viewer.pages import OhifPages, ViewerPages
from fhir_server.core.web import WebRequest, WebResponse

_PAGE = (
    '<!doctype html><html><head><script>window.PUBLIC_URL = \'/\';</script><link rel="manifest" href="/manifest.json"/>'
    '<script rel="preload" as="script" type="module" src="/init-service-worker.js"></script>'
    '<script src="/app-config.js"></script><script defer="defer" src="/app.bundle.0123.js"></script></head></html>'
)


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in ():
        yield chunk


def _request(
    path: str, prefix: str, method: str = "GET", query: tuple[tuple[str, str], ...] = (), tag: str = ""
) -> WebRequest:
    headers = {b"if-none-match": tag.encode()} if tag else {}
    base = f"http://server{prefix}"
    return WebRequest(method=method, path=path, query=query, headers=headers, base=base, body=_nothing())


def _archive(folder: Path, extra: dict[str, str] | None = None) -> Path:
    files = {
        "package/dist/index.html": _PAGE,
        "package/dist/app.bundle.0123.js": '__webpack_require__.p = "/"; start()' + " " * 2000,
        "package/dist/app.bundle.css": "a { src: url(/font.woff2) }",
        "package/dist/17dd54813d5acc10bf8f.wasm": "wasm",
        "package/dist/app-config.js": "https://elsewhere.example",
        "package/dist/app.bundle.0123.js.map": "map",
        "package/dist/ort/ort-wasm.wasm": "large",
        "package/dist/sw.js": "https://storage.example",
        "package/package.json": "{}",
        **(extra or {}),
    }
    path = folder / "ohif.tgz"
    with tarfile.open(path, "w:gz") as package:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            package.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    ohif.unpack(_archive(tmp_path), tmp_path / "ohif")
    return tmp_path / "ohif"


async def _own(path: str, folder: Path, **more: object) -> WebResponse:
    return await ViewerPages(folder)(_request(path, "/viewer", **more))  # type: ignore[arg-type]  # as the caller says


async def test_the_page_may_load_from_nowhere_else(tmp_path: Path) -> None:
    answer = await _own("", tmp_path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy


async def test_all_that_the_page_names_is_there(tmp_path: Path) -> None:
    named = {"viewer.js", "viewer.css"}
    seen: set[str] = set()
    while named - seen:
        name = (named - seen).pop()
        seen.add(name)
        answer = await _own(f"/{name}", tmp_path)
        assert answer.status == 200
        assert isinstance(answer.body, bytes)
        text = answer.body.decode()
        assert not re.search(r"https?://", text)
        named.update(re.findall(r'from "\./([^"]+)"', text))
    assert len(seen) >= 7


async def test_both_languages_have_the_same_words(tmp_path: Path) -> None:
    answer = await _own("/words.js", tmp_path)
    assert isinstance(answer.body, bytes)
    english, japanese = re.findall(r"(?:en|ja): \{(.*?)\n  \}", answer.body.decode(), re.DOTALL)
    assert re.findall(r"(\w+): \"", english) == re.findall(r"(\w+): \"", japanese)


async def test_what_did_not_change_is_not_sent_again(tmp_path: Path) -> None:
    tag = (await _own("/viewer.js", tmp_path)).headers["ETag"]
    assert (await _own("/viewer.js", tmp_path, tag=tag)).status == 304


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/../pages.py", "/%2e%2e/pages.py", "/static/viewer.js", "/viewer.html"]
)
async def test_other_addresses_are_not_found(path: str, tmp_path: Path) -> None:
    assert (await _own(path, tmp_path)).status == 404


async def test_only_get_is_possible(tmp_path: Path, installed: Path) -> None:
    assert (await _own("", tmp_path, method="POST")).status == 405
    assert (await OhifPages(installed)(_request("/", "/ohif", "POST"))).status == 405


async def test_the_page_links_to_ohif_where_it_is_installed(tmp_path: Path, installed: Path) -> None:
    without, with_it = await _own("", tmp_path / "none"), await _own("", installed)
    assert isinstance(without.body, bytes)
    assert isinstance(with_it.body, bytes)
    assert b'data-ohif="no"' in without.body
    assert b'data-ohif="yes"' in with_it.body


async def test_ohif_opens_first_where_that_is_set(tmp_path: Path, installed: Path) -> None:
    query = (("StudyInstanceUIDs", "1.2.3"),)
    answer = await ViewerPages(installed, prefer_ohif=True)(_request("", "/viewer", query=query))
    assert answer.status == 302
    assert answer.headers["Location"] == "http://server/ohif/viewer?StudyInstanceUIDs=1.2.3"
    own = await ViewerPages(installed, prefer_ohif=True)(_request("", "/viewer", query=(*query, ("own", "1"))))
    assert own.status == 200
    assert (await ViewerPages(tmp_path, prefer_ohif=True)(_request("", "/viewer", query=query))).status == 200


def test_ohif_is_trimmed_and_speaks_with_this_server_only(installed: Path) -> None:
    files = {str(path.relative_to(installed / "files")) for path in (installed / "files").rglob("*") if path.is_file()}
    assert files == {
        "app.bundle.0123.js.gz", "index.html", "app.bundle.0123.js", "app.bundle.css", "17dd54813d5acc10bf8f.wasm",
        "app-config.js", "renkei-start.js",
    }  # fmt: skip
    for name in files:
        assert b"https://" not in (installed / "files" / name).read_bytes()
    page = (installed / "files" / "index.html").read_text()
    assert "<script>" not in page
    assert 'src="/ohif/app.bundle.0123.js"' in page
    assert (installed / "files" / "app.bundle.0123.js").read_text().startswith('__webpack_require__.p = "/ohif/"')
    assert "url(/ohif/font.woff2)" in (installed / "files" / "app.bundle.css").read_text()


def test_another_archive_than_the_published_one_is_refused(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    with pytest.raises(ohif.InstallError, match="hash differs"):
        ohif.install(tmp_path / "ohif", lambda _: None, archive)
    assert not ohif.is_installed(tmp_path / "ohif")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    ohif.check(archive, f"sha512-{digest}")


def test_an_archive_with_a_file_outside_of_its_folder_is_refused(tmp_path: Path) -> None:
    archive = _archive(tmp_path, {"package/dist/../../../outside.js": "x"})
    with pytest.raises(ohif.InstallError, match="outside"):
        ohif.unpack(archive, tmp_path / "in" / "ohif")
    assert not (tmp_path / "outside.js").exists()


def test_a_package_of_another_form_is_refused(tmp_path: Path) -> None:
    archive = _archive(tmp_path, {"package/dist/app.bundle.0123.js": "changed()"})
    with pytest.raises(ohif.InstallError, match="not as expected"):
        ohif.unpack(archive, tmp_path / "ohif")


async def test_ohif_is_served_isolated(installed: Path) -> None:
    pages = OhifPages(installed)
    answer = await pages(_request("/viewer", "/ohif"))
    assert answer.status == 200
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "'wasm-unsafe-eval'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-cache"
    wasm = await pages(_request("/17dd54813d5acc10bf8f.wasm", "/ohif"))
    assert wasm.headers["Content-Type"] == "application/wasm"
    assert "immutable" in wasm.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/../installed.json", "/x/../../installed.json", "/.hidden.js", "/no.js"])
async def test_files_beside_ohifs_are_not_served(path: str, installed: Path) -> None:
    assert (await OhifPages(installed)(_request(path, "/ohif"))).status == 404


async def test_without_ohif_its_address_says_how_to_install_it(tmp_path: Path) -> None:
    answer = await OhifPages(tmp_path)(_request("/", "/ohif"))
    assert answer.status == 404
    assert isinstance(answer.body, bytes)
    assert b"renkei viewer install" in answer.body


def test_removing_ohif(installed: Path) -> None:
    assert ohif.status(installed) is not None
    assert ohif.remove(installed)
    assert ohif.status(installed) is None
    assert not ohif.remove(installed)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, br", True), ("br;q=1, gzip;q=0.5", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
async def test_ohifs_program_is_sent_compressed_to_those_who_take_it(
    accepted: str, packed: bool, installed: Path
) -> None:
    request = _request("/app.bundle.0123.js", "/ohif")
    request = msgspec.structs.replace(request, headers={b"accept-encoding": accepted.encode()})
    answer = await OhifPages(installed)(request)
    assert isinstance(answer.body, bytes)
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert ("Content-Encoding" in answer.headers) == packed
    assert b"start()" in (gzip.decompress(answer.body) if packed else answer.body)
