"""Tables: what is refused at the start, and how they lie over each other."""

from pathlib import Path

import pytest

from adapters.hl7v2.mapping.engine import MAPS, Mapper
from adapters.hl7v2.mapping.message_maps import key_terms, lay
from adapters.hl7v2.mapping.rows import MapError, Row, overlay, read_rows
from adapters.hl7v2.mapping.tables import read_tables
from adapters.sources import Source

HEADER = "at,when,to,as,table,value,cite\n"


def rows(*pairs: tuple[str, str, str]) -> list[Row]:
    return [Row(at=at, to=to, as_=as_, cite="own") for at, to, as_ in pairs]


def test_an_overlay_replaces_in_place_and_appends() -> None:
    base = rows(("PID-3", "identifier", "A"), ("PID-5", "name", "B"), ("PID-5", "name", "C"))
    over = rows(("PID-8", "gender", "E"), ("PID-5", "name", "D"))
    assert [row.as_ for row in overlay(base, over)] == ["A", "D", "E"]


def test_drop_takes_base_rows_away() -> None:
    base = rows(("PID-3", "identifier", "A"), ("PID-5", "name", "B"))
    assert [row.as_ for row in overlay(base, rows(("PID-5", "name", "drop")))] == ["A"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("PID-5,,name,XPN-HumanName,,,", "cite is empty"),
        ("PID-5,,,XPN-HumanName,,,own", "to is empty"),
        ("PID-5,name,own", "3 cells"),
    ],
    ids=["cite", "to", "cells"],
)
def test_a_row_that_is_not_complete_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "PID-Patient.csv"
    path.write_text(f"{HEADER}{line}\n")
    with pytest.raises(MapError, match=reason):
        read_rows(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("PID-5,,nam,XPN-HumanName,,,own", "Patient has no element 'nam'"),
        ("PID-5,,birthDate[1],,,,own", "is no list"),
        ("PID-5,,name,XPN-HumanNam,,,own", "no data type map"),
        ("PID-8,,gender,,NoTable,,own", "no table NoTable"),
        ("PID-5,,name,,,,own", "as is empty"),
        ("PID-5,PID-5 = M,gender,,,,own", "condition"),
        ("PID-5,,contact(Organization),XON-Organization,,,own", "is no reference"),
        ("P5,,gender,,,,own", "is no field"),
    ],
    ids=["element", "label", "conversion", "table", "as", "condition", "link", "at"],
)
def test_a_row_that_cannot_work_is_refused_at_the_start(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "PID-Patient.csv").write_text(f"{HEADER}{line}\n")
    with pytest.raises(MapError, match=reason):
        Mapper.load([Source(name="x", overlays=(), maps=str(tmp_path))])


def test_code_tables_lie_over_each_other_code_by_code(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "AdministrativeSex.csv").write_text(
        "code,to,display,system,cite\n9,unknown,,,own\nF,,,,own\n"
    )
    tables = read_tables([MAPS / "hl7", tmp_path])
    found = {code: tables.code("AdministrativeSex", code) for code in ("M", "9", "F")}
    assert [one.code if one else None for one in found.values()] == ["male", "unknown", None]


def test_a_sources_own_codes_and_systems_count_first() -> None:
    tables = read_tables([MAPS / "hl7"]).with_codes({"AdministrativeSex": {"1": "male"}}, {"99LAB": "urn:oid:1.2.3"})
    found = tables.code("AdministrativeSex", "1")
    assert found is not None
    assert (found.code, found.display) == ("male", "Male")
    assert tables.systems["99LAB"] == "urn:oid:1.2.3"


def test_message_maps_are_laid_over_make_by_make() -> None:
    base = {"events": ["A^1"], "make": [{"name": "a", "key": "PID-3", "mode": "upsert"}, {"name": "b"}]}
    over = {"make": [{"name": "a", "mode": "ensure"}, {"name": "b", "drop": True}, {"name": "c"}]}
    assert lay(base, over) == {
        "events": ["A^1"],
        "make": [{"name": "a", "key": "PID-3", "mode": "ensure"}, {"name": "c"}],
    }


def test_terms_of_a_key() -> None:
    assert key_terms("{patient}/'OMP-01'/ORC-2.1|ORC-3/#/@order", "x") == (
        ("{patient}",),
        ("'OMP-01'",),
        ("ORC-2.1", "ORC-3"),
        ("#",),
        ("@order",),
    )
    with pytest.raises(MapError, match="no term"):
        key_terms("OMP-01", "x")
