"""What is written in place of characters outside JIS X 0208, as SS-MIX2 sites publish it for their writers."""

import unicodedata

#: the character written for one that has no published substitute
GETA = "■"

_SQUARED = {
    "㍉": "ミリ", "㌔": "キロ", "㌢": "センチ", "㍍": "メートル", "㌘": "グラム", "㌧": "トン", "㌃": "アール",
    "㌶": "ヘクタール", "㍑": "リットル", "㍗": "ワット", "㌍": "カロリー", "㌦": "ドル", "㌣": "セント",
    "㌫": "パーセント", "㍊": "ミリバール", "㌻": "ページ",
}  # fmt: skip

#: published: numbers in circles, Roman numerals, units, abbreviations, eras, signs
_PUBLISHED = {
    **{chr(0x2460 + number): f"({number + 1})" for number in range(20)},
    **_SQUARED,
    "㎜": "mm", "㎝": "cm", "㎞": "km", "㎎": "mg", "㎏": "kg", "㏄": "cc", "㎡": "m*2",
    "㍾": "明治", "㍽": "大正", "㍼": "昭和", "㍻": "平成", "㋿": "令和",
    "〝": "″", "〟": "、", "№": "No.", "㏍": "K.K.", "℡": "Tel",
    "㊤": "(上)", "㊥": "(中)", "㊦": "(下)", "㊧": "(左)", "㊨": "(右)", "㈱": "(株)", "㈲": "(有)", "㈹": "(代)",
    "∮": "Φ", "∑": "Σ", "∟": "└", "⊿": "Δ",
}  # fmt: skip

#: the same character of JIS X 0208 under the other of its two Unicode names, and what ASCII or JIS write otherwise
_VARIANTS = {
    "～": "〜", "∥": "‖", "－": "−", "￠": "¢", "￡": "£", "￢": "¬", "—": "―", "–": "―", "‑": "‐", "•": "・",
    "￤": "｜", "＇": "’", "＂": "”", "¥": "￥", "‾": "￣", "\u00a0": " ", "~": "~", "㎖": "ml", "㎗": "dl", "ℓ": "l",
    "µ": "μ", "·": "・", "²": "2", "³": "3",
}  # fmt: skip

_TABLE = {**_PUBLISHED, **_VARIANTS}
_KANA_FIRST, _KANA_LAST = "｡", "ﾟ"


def substitute(char: str) -> str:
    """Return what is written for one character that JIS X 0208 lacks: always encodable, never a delimiter.

    Compatibility forms are resolved (Unicode NFKC), but never ideographs: a name is not respelt, it gets a geta.
    """
    known = _TABLE.get(char)
    if known is not None:
        return known
    if "\uf900" <= char <= "\ufaff" or char < " " or "\x7f" <= char <= "\x9f":
        return GETA if char >= "\uf900" else ""
    plain = unicodedata.normalize("NFKC", char)
    if plain == char or any(part in "|^~\\&" or not part.isprintable() for part in plain):
        return GETA
    return plain if is_encodable(plain) else GETA


def is_encodable(text: str) -> bool:
    """Tell whether text is ASCII and JIS X 0208 only."""
    try:
        return b"\x1b(J" not in text.encode("iso2022_jp")
    except UnicodeEncodeError:
        return False


def full_width(kana: str) -> str:
    """Write half-width kana full width; a voiced mark joins its kana."""
    return unicodedata.normalize("NFKC", kana)


def is_half_width(char: str) -> bool:
    """Tell whether this is half-width kana or its punctuation."""
    return _KANA_FIRST <= char <= _KANA_LAST
