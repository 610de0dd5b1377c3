"""Person names (PN, PS3.5 6.2.1): search keys, and FHIR HumanName with its representation (PS3.18 F.2.2)."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

REPRESENTATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
#: the component groups in the standard's order, with their code of iso21090-EN-representation
GROUPS: Final = {"Alphabetic": "ABC", "Ideographic": "IDE", "Phonetic": "SYL"}

_HIRAGANA: Final = {code: code - 0x60 for code in range(ord("ァ"), ord("ヶ") + 1)}
_KANA: Final = re.compile(r"[\u3040-\u30ff\uff65-\uff9f \u3000・ー.-]+")
_HAN: Final = re.compile(r"[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def fold(text: str) -> str:
    """Return the form in which names are compared: NFKC, case folded, katakana as hiragana, blanks single."""
    if text.isascii():
        return " ".join(text.casefold().split())
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_HIRAGANA)
    return " ".join(folded.split())


def keys(value: Mapping[str, str]) -> tuple[str, ...]:
    """Return the search keys of a name in DICOM JSON: each group as a whole (``^`` as a blank), and each component."""
    found: dict[str, None] = {}
    for group in GROUPS:
        text = value.get(group)
        if not text:
            continue
        components = [fold(part) for part in text.split("^")]
        whole = " ".join(part for part in components if part)
        if whole:
            found[whole] = None
            found.update(dict.fromkeys(part for part in components if part))
    return tuple(found)


def parse(text: str) -> dict[str, str]:
    """Return a PN value (``Yamada^Tarou=山田^太郎=やまだ^たろう``) in DICOM JSON; empty groups are left out."""
    groups = zip(GROUPS, text.split("=", 2), strict=False)
    return {group: part for group, written in groups if (part := written.rstrip(" "))}


def join(value: Mapping[str, str]) -> str:
    """Return a name in DICOM JSON as one PN value; empty groups at the end are left out."""
    return "=".join(value.get(group) or "" for group in GROUPS).rstrip("=")


def human_names(value: Mapping[str, str]) -> list[dict[str, Any]]:  # FHIR JSON
    """Return a FHIR HumanName for each group, with how it is written: ABC, IDE or SYL.

    The first group is ABC only if it is so: kanji in it (no second group was sent) are IDE, kana alone SYL.
    """
    return [
        name
        for group, code in GROUPS.items()
        if (text := value.get(group)) and (name := _human_name(text, code if group != "Alphabetic" else _written(text)))
    ]


def _written(text: str) -> str:
    plain = text.replace("^", "")
    if _HAN.search(plain):
        return "IDE"
    return "SYL" if plain.strip() and _KANA.fullmatch(plain) else "ABC"


def _human_name(text: str, code: str) -> dict[str, Any]:  # FHIR JSON
    if code == "SYL":
        text = unicodedata.normalize("NFKC", text)  # half-width kana under ISO_IR 13
    family, given, middle, prefix, suffix = ([part.strip() for part in text.split("^")] + [""] * 5)[:5]
    whole = " ".join(part for part in (prefix, family, given, middle, suffix) if part)
    if not whole:
        return {}
    name: dict[str, Any] = {"extension": [{"url": REPRESENTATION, "valueCode": code}], "text": whole}
    if family:
        name["family"] = family
    if given or middle:
        name["given"] = [part for part in (given, middle) if part]
    if prefix:
        name["prefix"] = [prefix]
    if suffix:
        name["suffix"] = [suffix]
    return name
