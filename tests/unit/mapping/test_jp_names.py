"""Names, addresses, numbers and people as Japanese systems write them."""

from collections.abc import Sequence

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.conversions.japanese_names import guess_representation, people
from adapters.hl7v2.mapping.values import SegmentView, Value
from tests.golden.hospital import text


def repetitions(field: str) -> Sequence[Value]:
    message = er7.parse(text("ADT^A08^ADT_A01", f"PV1||I|||||{field}"))
    return SegmentView(message.segments[1]).field(7)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("青葉 みどり", "IDE"),
        ("佐々木", "IDE"),
        ("アオバ ミドリ", "SYL"),
        ("あおば　みどり", "SYL"),
        ("ｱｵﾊﾞ ﾐﾄﾞﾘ", "SYL"),
        ("ジョン・スミス", "SYL"),
        ("AOBA MIDORI", ""),
        ("", ""),
    ],
    ids=["kanji", "repetition mark", "katakana", "hiragana", "half width", "middle dot", "letters", "nothing"],
)
def test_a_name_without_a_representation_is_told_from_its_characters(written: str, expected: str) -> None:
    assert guess_representation(written) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("1^医師^一郎^^^^^^^L^^^^^I~1^イシ^イチロウ^^^^^^^L^^^^^P", [2]),
        ("1^医師^一郎^^^^^^^L^^^^^I~^イシ^イチロウ^^^^^^^L^^^^^P", [2]),
        ("1^医師^一郎^^^^^^^L^^^^^I~2^当直^次郎^^^^^^^L^^^^^I", [1, 1]),
        ("1^医師^一郎^^^^^^^L^^^^^I~^当直^次郎^^^^^^^L^^^^^I", [1, 1]),
        ("1^医師^一郎~~2^当直^次郎", [1, 1]),
    ],
    ids=["same id", "kana without id", "two people", "same script without id", "an empty one between"],
)
def test_repetitions_are_grouped_by_person(field: str, expected: list[int]) -> None:
    assert [len(group) for group in people(repetitions(field))] == expected
