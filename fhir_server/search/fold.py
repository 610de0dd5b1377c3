"""Folding of text for string search (FHIR R4 search.html#string; JP Core guidance on string search).

Equal after folding: letter case, accents and other diacritical marks (dakuten and handakuten included), half and
full width, compatibility forms (circled numbers, ligatures, CJK compatibility ideographs), hiragana and katakana,
small and large kana, common variant forms of name kanji, variation selectors, punctuation, white space and long
vowel marks. A hyphen between two digits is kept: it separates the numbers of an address.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

#: Variant forms of kanji in names of people and places; the first of each group stands for all.
_VARIANTS = (
    "高髙 崎﨑嵜碕 辺邊邉 斉斎齋齊 広廣 沢澤 浜濱濵 国國圀 島嶋嶌 桜櫻 竜龍 恵惠 真眞 滝瀧 槙槇 豊豐 栄榮 富冨 徳德 "
    "吉𠮷 藤籐 桑桒 関關 塩鹽 鉄鐵 寿壽 実實 条條 静靜 総總 荘莊 蔵藏 巌巖 亀龜 万萬 与與 予豫 会會 円圓 学學 宝寶 "
    "弥彌 彦彥 応應 戸戶 曽曾 検檢 楽樂 権權 歩步 歳歲 沖冲 涼凉 渋澁 為爲 当當 県縣 礼禮 禅禪 秋穐 穂穗 穣穰 経經 "
    "緑綠 縁緣 纉纘 翠翆 聡聰 芦蘆 薗園 蛍螢 覚覺 謡謠 譲讓 遥遙 郎郞 郷鄕 釈釋 釜釡 鎌鐮 雑雜 霊靈 頼賴 館舘 駅驛 "
    "鶏鷄 鴎鷗 麦麥 黄黃 黒黑 船舩 桧檜 籠篭 薮藪 蛎蠣 頚頸 鉱鑛 横橫 清淸 青靑 瀬瀨 増增 寛寬 巻卷"
)

_KANA_OFFSET = ord("ァ") - ord("ぁ")
_SMALL = dict(
    zip(
        "ァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ",
        "アイウエオツヤユヨワカケクシストヌハヒフヘホムラリルレロ",
        strict=True,
    )
)
_LATIN = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ŧ": "t", "ħ": "h"}
_DASHES = "-‐‑‒–—―−ー─━"
_MARKS = "゛゜`´^¨¯¸"
_DIGIT_HYPHEN = "\x00"
_HYPHEN_BETWEEN_DIGITS = re.compile(rf"(?<=[0-9])[{_DASHES}](?=[0-9])")
_ASCII_NOISE = re.compile(r"[^0-9a-z$+<=>|~\x00]+")  # the symbols that _significant keeps
_ASCII_LETTERS = re.compile(r"[a-z0-9]+")


def _table() -> Mapping[int, str]:
    table: dict[int, str] = {}
    for group in _VARIANTS.split():
        table.update({ord(variant): group[0] for variant in group[1:]})
    for code in range(ord("ぁ"), ord("ゖ") + 1):
        katakana = chr(code + _KANA_OFFSET)
        table[code] = _SMALL.get(katakana, katakana)
    table.update({ord(small): large for small, large in _SMALL.items()})
    table.update({ord(letter): plain for letter, plain in _LATIN.items()})
    table.update({ord("ヰ"): "イ", ord("ヱ"): "エ", ord("ゐ"): "イ", ord("ゑ"): "エ"})
    return table


_TABLE = _table()


def fold(text: str) -> str:
    """Return the form under which texts that should find each other are equal.

    Text of nothing but punctuation keeps it, so that it can be found at all.
    """
    if _DIGIT_HYPHEN in text:
        text = text.replace(_DIGIT_HYPHEN, " ")
    if text.isascii():
        lower = text.lower()
        if _ASCII_LETTERS.fullmatch(lower):
            return lower
        if "-" in lower:
            lower = _HYPHEN_BETWEEN_DIGITS.sub(_DIGIT_HYPHEN, lower)
        return _ASCII_NOISE.sub("", lower).replace(_DIGIT_HYPHEN, "-") or lower.strip()
    compatible = unicodedata.normalize("NFKC", text).casefold()
    marked = _HYPHEN_BETWEEN_DIGITS.sub(_DIGIT_HYPHEN, compatible)
    unified = unicodedata.normalize("NFKD", marked).translate(_TABLE)
    return "".join(filter(_significant, unified)).replace(_DIGIT_HYPHEN, "-") or compatible.strip()


def _significant(character: str) -> bool:
    """Keep letters, digits and symbols; drop marks, punctuation, white space and the long vowel mark."""
    if character == _DIGIT_HYPHEN:
        return True
    if character == "ー":
        return False
    return unicodedata.category(character)[0] in "LNS" and character not in _MARKS


def name_forms(name: Mapping[str, Any]) -> list[str]:
    """Return every text a HumanName is found by: each part, and family and given joined both ways."""
    family = name.get("family")
    given = [part for part in name.get("given") or () if isinstance(part, str)]
    forms: list[str] = []
    text = name.get("text")
    if isinstance(text, str):
        forms.append(text)
    if isinstance(family, str):
        forms.append(family)
        if given:
            joined = " ".join(given)
            forms.append(f"{family} {joined}")
            forms.append(f"{joined} {family}")
    forms.extend(given)
    if len(given) > 1:
        forms.append(" ".join(given))
    for side in ("prefix", "suffix"):
        forms.extend(part for part in name.get(side) or () if isinstance(part, str))
    return forms


def address_forms(address: Mapping[str, Any]) -> list[str]:
    """Return every text an Address is found by: each part, and the parts joined in the Japanese order."""
    lines = [line for line in address.get("line") or () if isinstance(line, str)]
    parts = {name: address[name] for name in _ADDRESS_PARTS if isinstance(address.get(name), str)}
    forms = list(parts.values())
    forms.extend(lines)
    joined = [parts[name] for name in ("state", "city") if name in parts] + lines
    if len(joined) > 1 and not "".join(joined).isascii():
        forms.append("".join(joined))
    return forms


_ADDRESS_PARTS = ("text", "city", "district", "state", "postalCode", "country")
