"""The grammar of paths and names of an SS-MIX2 storage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ssmix2.kinds import DATA_TYPES
from adapters.ssmix2.names import (
    NO_ORDER,
    FileName,
    Flag,
    NotAName,
    format_folder,
    format_name,
    format_path,
    misplaced,
    parse_name,
    parse_transaction_name,
    without_flag,
)

NAME = "9999013_20110701_OMP-01_000000011000185_20110701224603984_01_1"


def test_a_name_is_read_part_by_part() -> None:
    assert parse_name(NAME) == FileName(
        patient="9999013", day="20110701", data_type="OMP-01", order="000000011000185",
        produced="20110701224603984", department="01", flag=Flag.VALID,
    )  # fmt: skip


def test_a_file_stands_below_the_digits_of_its_patient() -> None:
    assert format_path(parse_name(NAME)) == f"999/901/9999013/20110701/OMP-01/{NAME}"


@pytest.mark.parametrize("digits", ["20110701224603", "2011070122460398", "20110701224603984"])
def test_fewer_digits_of_the_time_are_filled(digits: str) -> None:
    name = parse_name(NAME.replace("20110701224603984", digits))
    assert name.produced == digits.ljust(17, "0")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("readme.txt", "parts"),
        (NAME.replace("_01_1", "_1"), "parts"),
        (NAME.replace("_01_1", "_01_3"), "flag"),
        (NAME.replace("20110701_", "20111301_"), "day"),
        (NAME.replace("20110701224603984", "2011070122460"), "production"),
        (NAME.replace("20110701224603984", "20110701254603984"), "production"),
        (NAME.replace("000000011000185", "0000000110001850"), "order"),
        (NAME.replace("9999013_", "_"), "patient"),
        (NAME.replace("9999013_", "1234567890123456_"), "patient"),
        (NAME.replace("_01_1", "_000001_1"), "department"),
        (NAME.replace("OMP-01", ""), "data type"),
    ],
)
def test_what_is_no_name_is_told_without_the_name(name: str, reason: str) -> None:
    with pytest.raises(NotAName, match=reason) as caught:
        parse_name(name)
    assert "9999013" not in str(caught.value)


_names = st.builds(
    FileName,
    patient=st.text("0123456789AB", min_size=1, max_size=15),
    day=st.one_of(st.just("-"), st.dates().map(lambda day: f"{day:%Y%m%d}".zfill(8))),
    data_type=st.sampled_from(sorted(DATA_TYPES)),
    order=st.one_of(st.just(NO_ORDER), st.text("0123456789", min_size=15, max_size=15)),
    produced=st.datetimes().map(lambda time: f"{time:%Y%m%d%H%M%S}".zfill(14) + f"{time.microsecond // 1000:03}"),
    department=st.sampled_from(["-", "01", "15", "ABC"]),
    flag=st.sampled_from(Flag),
)


@given(_names)
def test_every_name_comes_back_and_stands_where_it_belongs(name: FileName) -> None:
    assert parse_name(format_name(name)) == name
    findings = misplaced(tuple(format_folder(name).split("/")), name)
    assert not [one for one in findings if one.severity == "error"]


@given(_names, st.sampled_from(Flag))
def test_a_change_of_the_flag_changes_nothing_else(name: FileName, flag: Flag) -> None:
    changed = format_name(
        FileName(**{field: getattr(name, field) for field in name.__struct_fields__} | {"flag": flag})
    )
    assert without_flag(changed) == without_flag(format_name(name))


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        name = parse_name(text)
    except NotAName:
        return
    assert parse_name(format_name(name)) == name


@pytest.mark.parametrize(
    ("folders", "codes"),
    [
        ("999/901/9999013/20110701/OMP-01", []),
        ("999/901/9999014/20110701/OMP-01", ["patient"]),
        ("998/901/9999013/20110701/OMP-01", ["folder"]),
        ("999/901/9999013/20110702/OMP-01", ["day"]),
        ("999/901/9999013/20110701/OMP-02", ["data-type"]),
        ("999/901/9999013/OMP-01", ["folder"]),
        ("999/901/9999014/20110702/OMP-02", ["patient", "day", "data-type"]),
    ],
)
def test_every_folder_that_contradicts_the_name_is_told(folders: str, codes: list[str]) -> None:
    assert [one.code for one in misplaced(tuple(folders.split("/")), parse_name(NAME))] == codes


def test_an_unknown_data_type_is_told() -> None:
    name = parse_name(NAME.replace("OMP-01", "OMP-99"))
    assert [one.code for one in misplaced(tuple(format_folder(name).split("/")), name)] == ["data-type"]


def test_history_is_applied_before_what_is_valid_and_that_before_what_is_deleted() -> None:
    names = [parse_name(NAME[:-1] + flag) for flag in "012"]
    assert [name.flag.value for name in sorted(names, key=lambda name: name.sort_key)] == ["2", "1", "0"]


def test_files_of_the_transaction_storage_have_a_time_and_a_number() -> None:
    assert parse_transaction_name("TR_20110701224603984_00012.DAT") == ("20110701224603984", 12)
    assert parse_transaction_name(NAME) is None


def test_there_are_26_data_types_and_36_messages() -> None:
    assert len(DATA_TYPES) == 26
    assert sum(1 + bool(one.cancel) for one in DATA_TYPES.values()) == 36
