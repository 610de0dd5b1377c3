import pytest

from tests.unit.search.conftest import Search, Tree

YAMADA: Tree = {
    "resourceType": "Patient",
    "name": [
        {"use": "official", "text": "山田 太郎", "family": "山田", "given": ["太郎"]},
        {"family": "ヤマダ", "given": ["タロウ"]},
    ],
    "address": [{"state": "東京都", "city": "千代田区", "line": ["丸の内１丁目2-3"], "postalCode": "100-0005"}],
}
SMITH: Tree = {
    "resourceType": "Patient",
    "name": [{"family": "Müller-Smith", "given": ["Ann", "Mary"], "prefix": ["Dr."]}],
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=山田太郎", True),
        ("name=山田 太郎", True),
        ("name=山田　太郎", True),
        ("name=太郎", True),
        ("name=田太郎", False),
        ("name:contains=田太", True),
        ("name=ヤマダ", True),
        ("name=ﾔﾏﾀﾞ", True),
        ("name=やまだたろう", True),
        ("name=やまた", True),
        ("name=ﾔﾏﾀﾞ ﾀﾛｳ", True),
        ("family=山", True),
        ("family=太郎", False),
        ("given=タロ", True),
        ("name:exact=山田 太郎", True),
        ("name:exact=山田太郎", False),
        ("family:exact=ヤマダ", True),
        ("family:exact=ﾔﾏﾀﾞ", False),
        ("family:exact=山", False),
        ("name=佐藤,山田", True),
        ("family=山田&given=太郎", True),
        ("name:missing=false", True),
        ("address=東京都千代田区丸の内1丁目", True),
        ("address=千代田", True),
        ("address-city=千代田区", True),
        ("address-postalcode=1000005", False),
        ("address-postalcode=100-0005", True),
        ("address-postalcode=１００－０００５", True),
        ("address:contains=丸ノ内", True),
    ],
)
def test_japanese_names_and_addresses(search: Search, query: str, found: bool) -> None:
    assert search(YAMADA, f"Patient?{query}") == (["Patient/1"] if found else [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=muller", True),
        ("name=MÜLLER smith", True),
        ("name=smith", False),
        ("name:contains=smith", True),
        ("name=ann mary", True),
        ("name=annmary", True),
        ("name=ann mary müller", True),
        ("name=mary", True),
        ("name=dr", True),
        ("family:exact=Müller-Smith", True),
        ("family:exact=müller-smith", False),
        ("given=bob", False),
        ("name:missing=true", False),
    ],
)
def test_latin_names(search: Search, query: str, found: bool) -> None:
    assert search(SMITH, f"Patient?{query}") == (["Patient/1"] if found else [])


def test_exact_keeps_variant_kanji_apart(search: Search) -> None:
    patient: Tree = {"resourceType": "Patient", "name": [{"family": "\ufa1b田"}]}
    assert search(patient, "Patient?family=福田") == ["Patient/1"]
    assert search(patient, "Patient?family:exact=福田") == []
    assert search(patient, "Patient?family:exact=\ufa1b田") == ["Patient/1"]


def test_escaped_commas_and_dollars_belong_to_the_text(search: Search) -> None:
    organization: Tree = {"resourceType": "Organization", "name": "A, B $ C\\D"}
    assert search(organization, "Organization?name:exact=A\\, B \\$ C\\\\D") == ["Organization/1"]
    assert search(organization, "Organization?name:exact=A, B \\$ C\\\\D") == []


def test_a_codeable_concept_is_a_text_where_the_parameter_is_a_string(search: Search) -> None:
    observation: Tree = {"resourceType": "Observation", "valueCodeableConcept": {"text": "陽性"}}
    assert search(observation, "Observation?value-string=陽") == ["Observation/1"]
