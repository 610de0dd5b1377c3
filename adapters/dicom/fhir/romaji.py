"""Kana in Latin letters, for a name's alphabetic group, which is all that many modalities show.

Hepburn, with long vowels as they are written (たろう is TAROU, as in PS3.5 H.3).
"""

import unicodedata

_ROWS = {
    "": "アイウエオ", "k": "カキクケコ", "s": "サシスセソ", "t": "タチツテト", "n": "ナニヌネノ", "h": "ハヒフヘホ",
    "m": "マミムメモ", "r": "ラリルレロ", "g": "ガギグゲゴ", "z": "ザジズゼゾ", "d": "ダヂヅデド",
    "b": "バビブベボ", "p": "パピプペポ",
}  # fmt: skip
_SINGLE = {kana: row + vowel for row, line in _ROWS.items() for kana, vowel in zip(line, "aiueo", strict=True)} | {
    "シ": "shi", "チ": "chi", "ツ": "tsu", "フ": "fu", "ジ": "ji", "ヂ": "ji", "ヅ": "zu",
    "ヤ": "ya", "ユ": "yu", "ヨ": "yo", "ワ": "wa", "ヰ": "i", "ヱ": "e",
    "ヲ": "o", "ン": "n", "ヴ": "vu", "ァ": "a", "ィ": "i", "ゥ": "u",
    "ェ": "e", "ォ": "o", "ャ": "ya", "ュ": "yu", "ョ": "yo", "ヮ": "wa", "ヵ": "ka", "ヶ": "ke",
}  # fmt: skip
_SMALL_Y, _SMALL_VOWELS = {"ャ": "a", "ュ": "u", "ョ": "o"}, {"ァ": "a", "ィ": "i", "ゥ": "u", "ェ": "e", "ォ": "o"}
_PALATAL = ("shi", "chi", "ji")
_TO_KATAKANA = {code: code + 0x60 for code in range(ord("ぁ"), ord("ゖ") + 1)}


def romaji(kana: str) -> str:
    """Return kana in capital Latin letters; empty if anything in it is neither kana, Latin nor blank."""
    text = unicodedata.normalize("NFKC", kana).translate(_TO_KATAKANA)
    made = ""
    doubled = False
    for one in text:
        if one in _SMALL_Y and made[-1:] == "i" and len(made) > 1:
            made = made[:-1] + ("" if made.endswith(_PALATAL) else "y") + _SMALL_Y[one]
        elif one in _SMALL_VOWELS and len(made) > 1 and made.endswith(("u", "e", "o", *_PALATAL)):
            made = made[:-1] + _SMALL_VOWELS[one]
        elif one == "ッ":
            doubled = True
        elif one in _SINGLE:
            sound = _SINGLE[one]
            if doubled:
                made += "t" if sound.startswith("ch") else sound[:1]
                doubled = False
            made += sound
        elif one != "ー":
            if not (one.isascii() and (one.isalnum() or one in " -'.")):
                return ""
            made += one
    return made.upper()
