"""Names of FHIR as person names of DICOM, and kana in Latin letters."""

import pytest

from adapters.dicom.fhir.person_names import person_name
from adapters.dicom.fhir.romaji import romaji

URL = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


@pytest.mark.parametrize(
    ("kana", "latin"),
    [
        ("ヤマダ", "YAMADA"), ("たろう", "TAROU"), ("キョウコ", "KYOUKO"), ("シュンスケ", "SHUNSUKE"),
        ("イッペイ", "IPPEI"), ("ハッチョウ", "HATCHOU"), ("ｼﾞｮｰｼﾞ", "JOJI"), ("ジョン", "JON"),
        ("イノウエ", "INOUE"), ("ファン", "FAN"), ("ジェシカ", "JESHIKA"),
        ("山田", ""),
    ],
    ids=["plain", "hiragana", "ky", "sh", "pp", "tch", "half-width", "j", "vowels", "f", "je", "kanji"],
)  # fmt: skip
def test_kana_in_latin_letters(kana: str, latin: str) -> None:
    assert romaji(kana) == latin


def written(code: str, family: str, given: str) -> dict[str, object]:
    return {"extension": [{"url": URL, "valueCode": code}], "family": family, "given": [given]}


def test_every_representation_has_its_group() -> None:
    names = [written("IDE", "山田", "太郎"), written("SYL", "ヤマダ", "タロウ"), written("ABC", "Yamada", "Taro")]
    expected = {"Alphabetic": "Yamada^Taro", "Ideographic": "山田^太郎", "Phonetic": "ヤマダ^タロウ"}
    assert person_name(names) == expected


def test_without_latin_letters_the_alphabetic_group_is_made_from_the_kana() -> None:
    found = person_name([written("IDE", "青葉", "みどり"), written("SYL", "アオバ", "ミドリ")])
    assert found["Alphabetic"] == "AOBA^MIDORI"


def test_kanji_alone_have_no_alphabetic_group() -> None:
    assert person_name([{"text": "山田 太郎"}]) == {"Ideographic": "山田^太郎"}


def test_a_name_in_use_wins_over_an_old_one() -> None:
    names = [{"family": "Old", "use": "old"}, {"family": "New", "use": "official"}]
    assert person_name(names) == {"Alphabetic": "New"}


def test_delimiters_in_a_name_are_blanks() -> None:
    found = person_name([{"family": "A^B=C\\D", "given": ["E", "F"], "prefix": ["Dr"], "suffix": ["Jr"]}])
    assert found == {"Alphabetic": "A B C D^E^F^Dr^Jr"}
