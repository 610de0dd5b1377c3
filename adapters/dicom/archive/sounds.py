"""How a name sounds, whatever it is written in: one spelling for kana and all ways to write them in Latin letters.

山田太郎 may be Yamada^Tarou, YAMADA^TARO, Yamada^Tarô or ヤマダ^タロウ; 進一 Shinichi, Sin'iti or シンイチ. Long vowels
count as short ones and Hepburn's letters as Kunrei-shiki's (ISO 3602).
"""

import re
import unicodedata

from adapters.dicom.fhir.romaji import romaji

_KUNREI = (
    ("tch", "tty"), ("ch", "ty"), ("sh", "sy"), ("jy", "zy"), ("j", "zy"), ("dz", "z"), ("ts", "tu"), ("tuu", "tu"),
    ("f", "hu"), ("huu", "hu"), ("di", "zi"), ("du", "zu"), ("l", "r"), ("yi", "i"), ("wo", "o"),
)  # fmt: skip
_HU = re.compile("hu(?=[aieo])")
_NASAL = re.compile("m(?=[bpm])")
_LONG = re.compile("oh(?![aiueoy])|o[ou]+|u{2,}|a{2,}|e{2,}|i{2,}")
_OTHER = re.compile("[^a-z0-9*?]+")


def sound(text: str) -> str:
    """Return the spelling of a folded name or part of one; empty for what cannot be read aloud, such as kanji.

    ``*`` and ``?`` stay, so that a pattern of names is one of sounds.
    """
    if not text.isascii():
        plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not "\u0300" <= letter <= "\u036f")
        text = plain if plain.isascii() else romaji(text.replace("*", "").replace("?", ""))
    text = text.lower()
    for written, sounds in _KUNREI:
        text = text.replace(written, sounds)
    text = _NASAL.sub("n", _HU.sub("h", text))
    text = _LONG.sub(lambda found: found.group()[0], text)
    return _OTHER.sub("", text)
