"""FHIR HumanName as a person name of DICOM (PN, PS3.5 6.2.1) with its three component groups."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.dicom.dataset.names import GROUPS, REPRESENTATION
from adapters.dicom.fhir.romaji import romaji

_KANA = re.compile(r"[\u3040-\u30ff\uff65-\uff9f \u3000^・ー.-]+")
_USES = {"official": 0, "usual": 1, None: 2, "temp": 3, "nickname": 4, "maiden": 5, "anonymous": 6, "old": 7}
_MOST = 64  # characters in a component group


def person_name(names: Sequence[Mapping[str, Any]]) -> dict[str, str]:  # FHIR JSON
    """Return the groups of a person's names, each from the best name written so.

    Where nobody wrote the name in Latin letters, they are made from the kana.
    """
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda one: _USES.get(one.get("use"), 8)):
        text = _components(name)
        if text:
            found.setdefault(_group(name, text), text[:_MOST])
    if "Alphabetic" not in found and "Phonetic" in found:
        parts = [romaji(part) for part in found["Phonetic"].split("^")]
        if parts[0]:
            found["Alphabetic"] = "^".join(parts).rstrip("^")[:_MOST]
    return {group: found[group] for group in GROUPS if group in found}


def _components(name: Mapping[str, Any]) -> str:
    given = [_clean(one) for one in name.get("given", ())]
    parts = [
        _clean(name.get("family", "")), *given[:1], *([""] * (not given)), " ".join(given[1:]),
        " ".join(map(_clean, name.get("prefix", ()))), " ".join(map(_clean, name.get("suffix", ()))),
    ]  # fmt: skip
    if not any(parts[:2]):
        parts = re.split(r"[ \u3000]+", _clean(name.get("text", "")), maxsplit=1)
    return "^".join(parts).rstrip("^")


def _clean(text: str) -> str:
    """Return a text without what means something in a PN."""
    return re.sub(r"[\^=\\\x00-\x1f]", " ", text).strip()


def _group(name: Mapping[str, Any], text: str) -> str:
    codes = {code: group for group, code in GROUPS.items()}
    for extension in name.get("extension", ()):
        if extension.get("url") == REPRESENTATION:
            return codes.get(extension.get("valueCode", ""), "Alphabetic")
    if _KANA.fullmatch(text):
        return "Phonetic"
    return "Alphabetic" if all(not unicodedata.name(one, "").startswith("CJK") for one in text) else "Ideographic"
