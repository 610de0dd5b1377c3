"""The sample files that pydicom publishes: each is kept, found, and comes back; or is refused for a reason listed here.

Some are other objects under one SOP Instance UID: they are put into stores of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pydicom
import pydicom.data
import pytest

from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.find import ImageIndex, ImageQuery, Match
from adapters.dicom.archive.wave import WaveLimits
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.dataset.header import Malformed, read_header
from adapters.dicom.dataset.meta import split
from adapters.dicom.files.reading import as_file
from adapters.dicom.model import Fate, Level, Sender, Study, Verdict, Way
from fhir_server.definitions.model import Definitions
from fhir_server.interactions.context import Validator
from fhir_server.search.parameters import SearchRegistry
from tests.flow.client import Client, make_context
from tests.flow.dicom.archive import context_of

DATA = Path(pydicom.data.__file__).parent
SENDER = Sender(Way.FILE, "published")
OPTIONS = ArchiveOptions(packs=PackLimits(reserve=0, step=0), waves=WaveLimits(gather=0.0, pause=0.0))

NO_SOP_CLASS = "a piece of a data set, without SOP Class UID"
NO_STUDY = "a conformance sample of JPEG-LS, without Study Instance UID"
DIRECTORY = "a directory of a medium, no composite object"
NO_DICOM = "no DICOM"
REFUSED = {
    "charset_files/FileInfo.txt": NO_DICOM,
    "charset_files/chrSQEncoding.dcm": NO_SOP_CLASS,
    "charset_files/chrSQEncoding1.dcm": NO_SOP_CLASS,
    "test_files/JPEGLSNearLossless_08.dcm": NO_STUDY,
    "test_files/JPEGLSNearLossless_16.dcm": NO_STUDY,
    "test_files/MR_truncated.dcm": "cut off in its pixel data",
    "test_files/README.txt": NO_DICOM,
    "test_files/SC_rgb_jls_lossy_line.dcm": NO_STUDY,
    "test_files/SC_rgb_jls_lossy_sample.dcm": NO_STUDY,
    "test_files/UN_sequence.dcm": NO_SOP_CLASS,
    "test_files/crayons.icc": NO_DICOM,
    "test_files/dicomdirtests/DICOMDIR": DIRECTORY,
    "test_files/dicomdirtests/DICOMDIR-bigEnd": DIRECTORY,
    "test_files/dicomdirtests/DICOMDIR-empty.dcm": DIRECTORY,
    "test_files/dicomdirtests/DICOMDIR-implicit": DIRECTORY,
    "test_files/dicomdirtests/DICOMDIR-nooffset": DIRECTORY,
    "test_files/dicomdirtests/DICOMDIR-nopatient": DIRECTORY,
    "test_files/dicomdirtests/DICOMDIR-reordered": DIRECTORY,
    "test_files/dicomdirtests/README.txt": NO_DICOM,
    "test_files/dicomdirtests/TINY_ALPHA/DICOMDIR": DIRECTORY,
    "test_files/dicomdirtests/TINY_ALPHA/README": NO_DICOM,
    "test_files/empty_charset_LEI.dcm": NO_SOP_CLASS,
    "test_files/meta_missing_tsyntax.dcm": "its meta group has no transfer syntax",
    "test_files/nested_priv_SQ.dcm": NO_SOP_CLASS,
    "test_files/no_meta.dcm": "a bare data set that begins with a damaged tag, (0820,0005)",
    "test_files/no_meta_group_length.dcm": NO_SOP_CLASS,
    "test_files/priv_SQ.dcm": NO_SOP_CLASS,
    "test_files/rtplan.dump": NO_DICOM,
    "test_files/rtplan_truncated.dcm": "cut off in a sequence",
    "test_files/rtstruct.dump": NO_DICOM,
    "test_files/test1.json": NO_DICOM,
    "test_files/test_PN.json": NO_DICOM,
    "test_files/zipMR.gz": NO_DICOM,
}


class Kept(msgspec.Struct, frozen=True):
    """What is there of a file that was kept: found at IMAGE level, its bytes, its study and the study's resource."""

    verdict: Verdict
    file: bytes
    found: list[str]
    back: bytes
    study: Study
    imaging_study: Mapping[str, Any]


class Published(msgspec.Struct, frozen=True):
    """All files: what was refused, and what was kept."""

    refused: dict[str, str]
    kept: dict[str, Kept]


def objects() -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the samples on this disk as DICOM files, and what cannot become one."""
    readable, refused = {}, {}
    for folder in ("test_files", "charset_files"):
        for path in sorted(path for path in (DATA / folder).rglob("*") if path.is_file()):
            name = path.relative_to(DATA).as_posix()
            try:
                readable[name] = as_file(path.read_bytes())
            except Malformed as error:
                refused[name] = error.text
    return readable, refused


def without_conflicts(files: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    """Return the files in as few groups as it takes that no SOP Instance UID comes twice in one."""
    groups: list[tuple[set[str], dict[str, bytes]]] = []
    for name, file in files.items():
        try:
            uid = read_header(file).sop_instance
        except Malformed:
            uid = name
        place = next((place for place, (uids, _) in enumerate(groups) if uid not in uids), len(groups))
        if place == len(groups):
            groups.append((set(), {}))
        groups[place][0].add(uid)
        groups[place][1][name] = file
    return [group for _, group in groups]


async def take(client: Client, folder: Path, files: Mapping[str, bytes]) -> Published:
    """Keep files in an archive and look what is there then."""
    context = context_of(client)
    archive, index = Archive(context, folder, OPTIONS), ImageIndex(client.tables)
    refused: dict[str, str] = {}
    kept: dict[str, Kept] = {}
    try:
        verdicts = await asyncio.gather(*(archive.keep(file, SENDER) for file in files.values()))
        for (name, file), verdict in zip(files.items(), verdicts, strict=True):
            if verdict.fate is Fate.REFUSED:
                refused[name] = verdict.text
                continue
            query = ImageQuery(level=Level.IMAGE, matches=(Match("00080018", (verdict.instance,)),))
            found = [one.instance async for one in index.find(query) if one.instance]
            study = await index.study(verdict.study)
            assert found, name
            assert study is not None, name
            answer = await client.get(f"/{study.imaging_study}") if study.imaging_study else None
            assert answer is not None, name
            kept[name] = Kept(
                verdict,
                file,
                [one.uid for one in found],
                await archive.read(found[0].place),
                study,
                answer.json if answer.status == 200 else {},
            )
    finally:
        await archive.stop()
    return Published(refused, kept)


@pytest.fixture(scope="module")
def published(
    definitions: Definitions, validator: Validator, registry: SearchRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    files, refused = objects()
    kept: dict[str, Kept] = {}
    for group in without_conflicts(files):
        client = Client(make_context(definitions, validator, registry))
        part = asyncio.run(take(client, tmp_path_factory.mktemp("images"), group))
        refused |= part.refused
        kept |= part.kept
    return Published(refused, kept)


def test_every_sample_is_kept_or_refused_for_a_listed_reason(published: Published) -> None:
    assert published.refused.keys() == REFUSED.keys(), published.refused
    assert len(published.kept) > 100
    assert {one.verdict.fate for one in published.kept.values()} == {Fate.STORED}


def test_every_sample_is_found_by_its_uid(published: Published) -> None:
    assert {name: one.found for name, one in published.kept.items() if one.found != [one.verdict.instance]} == {}


def test_the_uid_of_the_data_set_counts_where_the_meta_group_has_another(published: Published) -> None:
    other = {name: one for name, one in published.kept.items() if split(one.file)[0].sop_instance != one.found[0]}
    assert "test_files/rtplan.dcm" in other
    for name, one in other.items():
        assert pydicom.dcmread(DATA / name, stop_before_pixels=True).SOPInstanceUID == one.verdict.instance


@pytest.mark.parametrize(
    ("way", "fate"), [(Way.FILE, Fate.STORED), (Way.STOW, Fate.STORED), (Way.DIMSE, Fate.REFUSED)], ids=str
)
async def test_only_what_c_store_announces_must_agree(client: Client, tmp_path: Path, way: Way, fate: Fate) -> None:
    archive = Archive(context_of(client), tmp_path, OPTIONS)
    verdict = await archive.keep((DATA / "test_files" / "rtplan.dcm").read_bytes(), Sender(way, "published"))
    await archive.stop()
    assert verdict.fate is fate


def test_every_sample_comes_back_byte_for_byte(published: Published) -> None:
    assert [name for name, one in published.kept.items() if one.back != one.file] == []


def test_every_study_has_an_imaging_study_with_the_counts_of_the_index(published: Published) -> None:
    for name, one in published.kept.items():
        resource, study = one.imaging_study, one.study
        assert resource.get("resourceType") == "ImagingStudy", name
        assert {"system": "urn:dicom:uid", "value": f"urn:oid:{study.uid}"}.items() <= resource["identifier"][0].items()
        counts = (resource["numberOfSeries"], resource["numberOfInstances"])
        assert counts == (study.series, study.instances), name
        listed = [instance["uid"] for series in resource["series"] for instance in series["instance"]]
        assert one.verdict.instance in listed, name
        assert len(listed) == study.instances, name


# --- names ---


async def names_found(images: ImageIndex, said: str, *, fuzzy: bool = False) -> list[str]:
    query = ImageQuery(level=Level.STUDY, matches=(Match("00100010", (said,)),), fuzzy=fuzzy)
    return sorted([found.study.patient_id async for found in images.find(query)])


@pytest.fixture
async def japanese(client: Client, tmp_path: Path) -> AsyncIterator[ImageIndex]:
    archive = Archive(context_of(client), tmp_path, OPTIONS)
    for name in ("chrH31.dcm", "chrH32.dcm", "chrI2.dcm", "chrX1.dcm", "chrJapMulti.dcm"):
        verdict = await archive.keep((DATA / "charset_files" / name).read_bytes(), SENDER)
        assert verdict.fate is Fate.STORED
    yield ImageIndex(client.tables)
    await archive.stop()


@pytest.mark.parametrize(
    ("said", "who"),
    [
        pytest.param("山田^太郎", ["H31EXAMPLE", "H32EXAMPLE"], id="kanji"),
        pytest.param("山*", ["H31EXAMPLE", "H32EXAMPLE"], id="first kanji"),
        pytest.param("やまだ^たろう", ["2008-4", "H31EXAMPLE", "H32EXAMPLE"], id="hiragana"),
        pytest.param("ヤマダ^タロウ", ["2008-4", "H31EXAMPLE", "H32EXAMPLE"], id="katakana"),
        pytest.param("ﾔﾏﾀﾞ^ﾀﾛｳ", ["2008-4", "H31EXAMPLE", "H32EXAMPLE"], id="half-width katakana"),
        pytest.param("yamada^tarou", ["H31EXAMPLE"], id="romaji"),
        pytest.param("洪^吉洞", ["I2EXAMPLE"], id="hanja"),
        pytest.param("홍*", ["I2EXAMPLE"], id="hangul"),
        pytest.param("王^小東", ["X1EXAMPLE"], id="ISO_IR 192"),
    ],
)
async def test_a_name_is_found_in_every_spelling(japanese: ImageIndex, said: str, who: list[str]) -> None:
    assert await names_found(japanese, said) == who


async def test_with_fuzzy_matching_romaji_finds_who_has_only_kana(japanese: ImageIndex) -> None:
    for said in ("yamada", "Tarou", "ﾔﾏﾀﾞ", "太郎"):
        assert set(await names_found(japanese, said, fuzzy=True)) >= {"H31EXAMPLE", "H32EXAMPLE"}, said
    assert "2008-4" in await names_found(japanese, "yamada", fuzzy=True)


async def test_a_patient_has_the_name_in_each_way_it_is_written(japanese: ImageIndex, client: Client) -> None:
    (found,) = (await client.get("/Patient?identifier=H31EXAMPLE")).entries
    written = {
        name["extension"][0]["valueCode"]: (name["family"], *name["given"]) for name in found["resource"]["name"]
    }
    assert written == {"ABC": ("Yamada", "Tarou"), "IDE": ("山田", "太郎"), "SYL": ("やまだ", "たろう")}


async def test_half_width_kana_in_the_first_group_are_kana(japanese: ImageIndex, client: Client) -> None:
    (found,) = (await client.get("/Patient?identifier=H32EXAMPLE")).entries
    written = {(name["extension"][0]["valueCode"], name["family"]) for name in found["resource"]["name"]}
    assert {("IDE", "山田"), ("SYL", "やまだ")} <= written
    assert not [code for code, _ in written if code == "ABC"]
