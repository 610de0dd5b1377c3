"""Person names: search keys, and FHIR HumanName with its representation."""

import pytest

from adapters.dicom.dataset import names

URL = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


def test_a_name_in_three_groups_is_found_by_each_and_by_its_components() -> None:
    found = names.keys(names.parse("Yamada^Tarou=山田^太郎=ヤマダ^ﾀﾛｳ"))
    assert found == (
        "yamada tarou",
        "yamada",
        "tarou",
        "山田 太郎",
        "山田",
        "太郎",
        "やまだ たろう",
        "やまだ",
        "たろう",
    )


def test_half_width_full_width_and_hiragana_are_one() -> None:
    assert names.fold("ﾔﾏﾀﾞ") == names.fold("ヤマダ") == names.fold("やまだ") == "やまだ"
    assert names.fold("ＡＢＣ　ｄ") == "abc d"


@pytest.mark.parametrize("text", ["", "^^^^", "==", "^=^"])
def test_an_empty_name_has_neither_keys_nor_human_names(text: str) -> None:
    assert names.keys(names.parse(text)) == ()
    assert names.human_names(names.parse(text)) == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["ABC", "IDE", "SYL"]),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", ["SYL", "IDE", "SYL"]),
        ("山田^太郎", ["IDE"]),
        ("=山田^太郎", ["IDE"]),
        ("Smith^John^Q^Dr^MD", ["ABC"]),
    ],
)
def test_the_representation_says_how_a_name_is_written(text: str, codes: list[str]) -> None:
    found = names.human_names(names.parse(text))
    assert [name["extension"] for name in found] == [[{"url": URL, "valueCode": code}] for code in codes]


def test_the_five_components_are_family_given_middle_prefix_suffix() -> None:
    (name,) = names.human_names(names.parse("Smith^John^Q^Dr^MD"))
    del name["extension"]
    assert name == {
        "text": "Dr Smith John Q MD",
        "family": "Smith",
        "given": ["John", "Q"],
        "prefix": ["Dr"],
        "suffix": ["MD"],
    }


@pytest.mark.parametrize("text", ["A^B=山=や", "A", "=山", "==や"])
def test_a_name_is_joined_as_it_was(text: str) -> None:
    assert names.join(names.parse(text)) == text
