import csv
import subprocess
import sys
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.ucum import Ucum

UCUM = Ucum()


@pytest.mark.parametrize(
    ("value", "code", "canonical", "base"),
    [
        ("1", "mg/dL", "10", "g.m-3"),
        ("1", "kg/m2", "1000", "g.m-2"),
        ("1", "mm[Hg]", "133322", "g.m-1.s-2"),
        ("1", "10*3/uL", "1E+12", "m-3"),
        ("1", "10^3/uL", "1E+12", "m-3"),
        ("1", "/min{breath}", "0.01666666666666666666666666666666666666667", "s-1"),
        ("1", "%", "0.01", "1"),
        ("7", "{score}", "7", "1"),
        ("1", "[lb_av]", "453.59237", "g"),
        ("1", "m[iU]/mL", "1000", "[iU].m-3"),
        ("1", "[IU]/L", "1000", "[iU].m-3"),
        ("36.5", "Cel", "309.65", "K"),
        ("98.6", "[degF]", "310.15", "K"),
        ("1", "a", "31557600", "s"),
        ("1", "dL", "0.0001", "m3"),
        ("1", "g.m/s2", "1", "g.m.s-2"),
        ("1", "(m.s)/kg", "0.001", "g-1.m.s"),
        ("1", "mL/min/{1.73_m2}", "1.666666666666666666666666666666666666667E-8", "m3.s-1"),
    ],
)
def test_units_become_base_units_exactly(value: str, code: str, canonical: str, base: str) -> None:
    assert UCUM.canonical(Decimal(value), code) == (Decimal(canonical), base)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "foo",
        "mg/",
        "mg//dL",
        "(mg",
        "mg)",
        "Torr",
        "[pH]",
        "B[SPL]",
        "0",
        "mg 1",
        "{a}{b}",
        "m" * 300,
        "(" * 100,
        "m99999",
        "kk",
        "5mg",
    ],
)
def test_unknown_and_special_units_have_no_canonical_form(code: str) -> None:
    assert UCUM.canonical(Decimal(1), code) is None


def test_nearly_all_published_example_codes_are_known() -> None:
    spec = find_spec("ucumvert")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    table = Path(spec.submodule_search_locations[0]) / "vendor" / "ucum_examples.tsv"
    with table.open(encoding="utf-8") as lines:
        codes = [list(row.values())[1] for row in csv.DictReader(lines, delimiter="\t")]
    assert len(codes) > 800
    assert {code for code in codes if UCUM.canonical(Decimal(1), code) is None} == {"dB", "[pH]", "Torr"}


@given(st.text(alphabet="mgdLk[iU](){}./*^+-0123456789 ", max_size=30))
def test_any_text_is_a_unit_or_none(code: str) -> None:
    found = UCUM.canonical(Decimal(2), code)
    if found is not None:
        assert UCUM.canonical(found[0], found[1]) == found


def test_the_heavy_unit_libraries_are_not_imported() -> None:
    program = (
        "import sys; from decimal import Decimal; from terminology.ucum import Ucum;"
        "Ucum().canonical(Decimal(1), 'mg'); sys.exit('pint' in sys.modules or 'lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False).returncode == 0
