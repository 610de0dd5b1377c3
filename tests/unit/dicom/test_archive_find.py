"""The image index: attribute matching (PS3.4 C.2.2.2), levels, order and pages."""

import pytest

from adapters.dicom.archive.find import BadKey, ImageIndex, ImageQuery, Match
from adapters.dicom.model import Level, State
from fhir_server.core.tables import Tables
from fhir_server.storage.tables_memory import MemoryTables
from tests.unit.dicom.images import element, instance, put, series, study

REQUEST = {"00400009": element("SH", "SPS1"), "00401001": element("SH", "RP1")}
OTHER_REQUEST = {"00400009": element("SH", "SPS2"), "00401001": element("SH", "RP2")}


async def fill(tables: Tables) -> None:
    """Write the studies of these tests."""
    await put(
        tables,
        study(
            "1.1", series=2, instances=3, modalities=("CT", "SR"), LO00100020="P1", DA00080020="20240110",
            TM00080030="1015", SH00080050="A-1", PN00100010="YAMADA^TAROU=山田^太郎=やまだ^たろう", LO00081030="C CT",
            LO00100021="HOSP",
        ),
        study(
            "1.2", modalities=("MR",), LO00100020="P2", DA00080020="20240111", TM00080030="090000.5", SH00080050="a-2",
            PN00100010="SUZUKI^Hanako=鈴木^花子", UT00100030="", LT00104000="Walks alone",
        ),
        study("1.3", modalities=("CT",), LO00100020="P1", DA00080020="20230301", PN00100010="ﾔﾏﾀﾞ^ﾀﾛｳ"),
        study("1.4", modalities=("US",), LO00100020="P3", PN00100010="Satoh^Shin'ichi", instances=0),
        study("1.5", modalities=("US",), PN00100010="Ōta^Jun", DA00080020="20220101", TM00080030="10"),
        series("2.1", "1.1", number=2, instances=2, LO0008103E="Axial", SQ00400275=[REQUEST, OTHER_REQUEST]),
        series("2.2", "1.1", number=1, modality="SR", LO0008103E="Report"),
        series("2.3", "1.2", modality="MR", SQ00400275=[]),
        series("2.4", "1.3", number=None),
        series("2.5", "1.5", modality="US"),
        instance("3.1", "2.1", "1.1", number=10, CS00080008=["ORIGINAL", "PRIMARY"]),
        instance("3.2", "2.1", "1.1", number=9),
        instance("3.3", "2.2", "1.1", sop_class="1.2.840.10008.5.1.4.1.1.88.22", CS0040A491="COMPLETE"),
        instance("3.4", "2.3", "1.2", number=None),
        instance("3.5", "2.4", "1.3"),
        instance("3.6", "2.5", "1.5"),
        instance("3.7", "2.4", "1.3", state=State.REJECTED, rejection="113001", number=2),
        instance("3.8", "2.4", "1.3", state=State.REJECTED, rejection="113037", number=3),
    )  # fmt: skip


@pytest.fixture
async def index() -> ImageIndex:
    tables = MemoryTables()
    await fill(tables)
    return ImageIndex(tables)


async def ask(index: ImageIndex, level: Level, *keys: tuple[str, str], **more: object) -> str:
    matches = tuple(Match(tag, (value,)) for tag, value in keys)
    query = ImageQuery(level=level, matches=matches, **more)  # type: ignore[arg-type]  # the query's own fields
    found = [one async for one in index.find(query)]
    assert len(found) == min(await index.count(query), query.limit) or query.offset
    return " ".join((one.instance or one.series or one.study).uid for one in found)


@pytest.mark.parametrize(
    ("tag", "value", "found"),
    [
        ("00100020", "", "1.2 1.1 1.3 1.5"),
        ("00100020", "*", "1.2 1.1 1.3 1.5"),
        ("00100020", "P1", "1.1 1.3"),
        ("00100020", "p1", ""),
        ("00100020", "P?", "1.2 1.1 1.3"),
        ("00080050", "A-*", "1.1"),
        ("00081030", "*CT", "1.1"),
        ("0020000D", "1.3\\1.1\\9", "1.1 1.3"),
        ("0020000D", "1.2,1.5", "1.2 1.5"),
        ("00080061", "CT", "1.1 1.3"),
        ("00080061", "S?", "1.1"),
        ("00080060", "MR", "1.2"),
        ("00080062", "1.2.840.10008.5.1.4.1.1.2", "1.2 1.1 1.3 1.5"),
        ("00080020", "20240110", "1.1"),
        ("00080020", "20240110-", "1.2 1.1"),
        ("00080020", "-20230301", "1.3 1.5"),
        ("00080020", "20230101-20240110", "1.1 1.3"),
        ("00080020", "2024.01.10", "1.1"),
        ("00080030", "1000-1100", "1.1 1.5"),
        ("00080030", "-0900", "1.2"),
        ("00080030", "10", "1.1 1.5"),
        ("00104000", "Walks*", "1.2"),
        ("00080050", '""', "1.3 1.5"),
        ("00100021", "HOSP", "1.1"),
    ],
)
async def test_a_key_matches_as_its_value_representation_says(
    index: ImageIndex, tag: str, value: str, found: str
) -> None:
    assert await ask(index, Level.STUDY, (tag, value)) == found


@pytest.mark.parametrize(
    ("value", "fuzzy", "found"),
    [
        ("yamada^tarou", False, "1.1"),
        ("Yamada^*", False, "1.1"),
        ("山田*", False, "1.1"),
        ("ヤマダ^タロウ", False, "1.1 1.3"),
        ("やまだ*", False, "1.1 1.3"),
        ("YAMADA", False, ""),
        ("*花子", False, "1.2"),
        ("X=鈴木^花子", False, "1.2"),
        ("TAROU YAMADA", True, "1.1 1.3"),
        ("taro", True, "1.1 1.3"),
        ("ﾔﾏﾀﾞ", True, "1.1 1.3"),
        ("太郎", True, "1.1"),
        ("山田太郎", True, "1.1"),
        ("やまだたろう", True, "1.1 1.3"),
        ("花 鈴", True, "1.2"),
        ("すずき", True, "1.2"),
        ("おおた", True, "1.5"),
        ("oota zyun", True, "1.5"),
        ("Yamada^Hanako", True, ""),
    ],
)
async def test_a_name_is_found_in_any_script(index: ImageIndex, value: str, fuzzy: bool, found: str) -> None:
    assert await ask(index, Level.STUDY, ("00100010", value), fuzzy=fuzzy) == found


@pytest.mark.parametrize(
    ("time", "found"),
    [("1000-1030", "1.2 1.1"), ("1030-", "1.2"), ("1030-0800", ""), ("-0859", "1.1"), ("0900-090001", "1.2 1.1")],
)
async def test_a_date_range_and_a_time_range_are_one_period(index: ImageIndex, time: str, found: str) -> None:
    assert await ask(index, Level.STUDY, ("00080020", "20240110-20240111"), ("00080030", time)) == found


@pytest.mark.parametrize("value", ["yesterday", "2024", "20240101-x", "202401011"])
async def test_a_date_that_is_none_is_refused_with_its_tag(index: ImageIndex, value: str) -> None:
    with pytest.raises(BadKey) as refused:
        await ask(index, Level.STUDY, ("00080020", value))
    assert refused.value.tag == "00080020"


@pytest.mark.parametrize(
    ("level", "keys", "found"),
    [
        (Level.SERIES, [], "2.3 2.2 2.1 2.4 2.5"),
        (Level.SERIES, [("0020000D", "1.1")], "2.2 2.1"),
        (Level.SERIES, [("0020000E", "2.4\\2.1")], "2.1 2.4"),
        (Level.SERIES, [("0020000E", "2.4\\2.1"), ("0020000D", "1.3")], "2.4"),
        (Level.SERIES, [("00080060", "CT")], "2.1 2.4"),
        (Level.SERIES, [("00200011", "02")], "2.1"),
        (Level.SERIES, [("00100020", "P1"), ("0008103E", "A*")], "2.1"),
        (Level.SERIES, [("00400275/00400009", "SPS1")], "2.1"),
        (Level.SERIES, [("00400275/00400009", "SPS1"), ("00400275/00401001", "RP1")], "2.1"),
        (Level.SERIES, [("00400275/00400009", "SPS1"), ("00400275/00401001", "RP2")], ""),
        (Level.SERIES, [("00400275/00400009", '""'), ("00080060", "MR")], "2.3"),
        (Level.IMAGE, [("0020000E", "2.1")], "3.2 3.1"),
        (Level.IMAGE, [("0020000D", "1.1")], "3.3 3.2 3.1"),
        (Level.IMAGE, [("00080018", "3.4\\3.1\\9")], "3.4 3.1"),
        (Level.IMAGE, [("00080018", "3.4\\3.1"), ("0020000E", "2.3")], "3.4"),
        (Level.IMAGE, [("00080016", "1.2.840.10008.5.1.4.1.1.88.22")], "3.3"),
        (Level.IMAGE, [("00200013", "9")], "3.2"),
        (Level.IMAGE, [("00080008", "PRIMARY")], "3.1"),
        (Level.IMAGE, [("0040A491", "COMPLETE"), ("00100020", "P1")], "3.3"),
        (Level.PATIENT, [], "1.5 1.1 1.2"),
        (Level.PATIENT, [("00100010", "SUZUKI*")], "1.2"),
    ],
)
async def test_each_level_is_asked_with_keys_of_those_above(
    index: ImageIndex, level: Level, keys: list[tuple[str, str]], found: str
) -> None:
    if level is Level.IMAGE and not keys:
        keys = []
    got = await ask(index, level, *keys)
    assert got.split() == (sorted(found.split(), key=got.split().index) if level is Level.PATIENT else found.split())


@pytest.mark.parametrize("level", list(Level))
async def test_pages_put_together_are_the_whole(index: ImageIndex, level: Level) -> None:
    whole = (await ask(index, level)).split()
    pages = [await ask(index, level, offset=offset, limit=2) for offset in range(0, len(whole) + 2, 2)]
    assert " ".join(filter(None, pages)).split() == whole


async def test_a_match_has_the_attributes_of_its_level_and_above_with_counts(index: ImageIndex) -> None:
    (found,) = [
        one
        async for one in index.find(ImageQuery(level=Level.SERIES, matches=(Match("0020000E", ("2.1",)),)))
    ]  # fmt: skip
    said = found.attributes
    assert said["00201206"]["Value"] == [2]
    assert said["00201209"]["Value"] == [2]
    assert said["00080061"]["Value"] == ["CT", "SR"]
    assert (said["0008103E"]["Value"], said["00100020"]["Value"]) == (["Axial"], ["P1"])


async def test_only_the_attributes_asked_for_are_returned(index: ImageIndex) -> None:
    query = ImageQuery(level=Level.STUDY, include=frozenset(("00100020", "00201208")), limit=1)
    (found,) = [one async for one in index.find(query)]
    assert set(found.attributes) == {"00100020", "00201208"}


async def test_a_patient_has_the_counts_of_all_studies(index: ImageIndex) -> None:
    query = ImageQuery(level=Level.PATIENT, matches=(Match("00100020", ("P1",)),))
    found = [one.attributes async for one in index.find(query)]
    assert [one["00201200"]["Value"] for one in found] == [[2]]


async def test_rejected_instances_are_hidden_and_those_of_bad_quality_can_be_asked_for(index: ImageIndex) -> None:
    assert await ask(index, Level.IMAGE, ("0020000E", "2.4")) == "3.5"
    assert await ask(index, Level.IMAGE, ("0020000E", "2.4"), show_rejected=True) == "3.5 3.7"
    assert [one.uid for one in await index.instances("1.3", "2.4")] == ["3.5"]


async def test_keys_that_the_archive_does_not_keep_are_told_and_left_out(index: ImageIndex) -> None:
    query = ImageQuery(level=Level.STUDY, matches=(Match("00180081", ("1",)), Match("0008103E", ("x",))))
    assert index.unsupported(query) == ("00180081", "0008103E")
    assert await index.count(query) == 4


async def test_studies_of_other_patients_are_not_seen(index: ImageIndex) -> None:
    assert await ask(index, Level.STUDY, patients=("Patient/p2",)) == ""
    assert await ask(index, Level.SERIES, ("0020000E", "2.1"), patients=("Patient/p2",)) == ""
    assert len((await ask(index, Level.STUDY, patients=("Patient/p1",))).split()) == 4


async def test_the_instances_of_a_study_are_in_the_order_of_series_and_number(index: ImageIndex) -> None:
    assert [one.uid for one in await index.instances("1.1")] == ["3.3", "3.2", "3.1"]
