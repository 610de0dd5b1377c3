"""Test data for load: Synthea Bundles multiplied with new ids, or invented ones where Synthea is absent.

A copy of a Bundle has every UUID in it replaced by another, so copies share nothing but their clinical content.
"""

import gzip
import hashlib
import json
import os
import random
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ROOT = Path(os.environ.get("RENKEI_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
_INVENTED_CODES = (("8302-2", "cm"), ("29463-7", "kg"), ("8867-4", "/min"), ("8480-6", "mm[Hg]"), ("2339-0", "mg/dL"))


class Seed(NamedTuple):
    """One patient's transaction Bundle: its bytes, its entry types in order, and how often each code was observed."""

    raw: bytes
    types: tuple[str, ...]
    codes: dict[str, int]


class Copy(NamedTuple):
    """One copy of a seed, ready to POST."""

    raw: bytes
    seed: Seed


def seeds(limit: int | None = None) -> list[Seed]:
    """Return the Bundles to multiply: Synthea's, or invented ones; small ones first if there is a limit."""
    folder = ROOT / "fhir" / "synthea"
    if folder.is_dir():
        found = [_seed(json.loads(gzip.decompress(path.read_bytes()))) for path in sorted(folder.glob("*.json.gz"))]
    else:
        found = [_seed(invented_bundle(number)) for number in range(40)]
    return found if limit is None else sorted(found, key=lambda seed: len(seed.raw))[:limit]


def source() -> str:
    """Say which data :func:`seeds` returns."""
    return "Synthea" if (ROOT / "fhir" / "synthea").is_dir() else "invented"


def copies(found: Sequence[Seed], first: int = 0) -> Iterator[Copy]:
    """Yield copies of the seeds for ever, each with ids of its own."""
    number = first
    while True:
        for seed in found:
            yield Copy(renew(seed.raw, number), seed)
        number += 1


def renew(raw: bytes, number: int) -> bytes:
    """Replace every UUID by another that depends on it and on the number of the copy."""
    known: dict[bytes, bytes] = {}

    def other(found: re.Match[bytes]) -> bytes:
        old = found[0]
        new = known.get(old)
        if new is None:
            digest = hashlib.blake2b(old + number.to_bytes(4, "big"), digest_size=16).digest()
            new = known[old] = str(uuid.UUID(bytes=digest, version=4)).encode()
        return new

    return _UUID.sub(other, raw)


def observations(found: Sequence[Seed]) -> list[dict[str, Any]]:
    """Return the Observations of the seeds, without ids and encounters, subject to be filled in."""
    out = []
    for seed in found:
        for entry in json.loads(seed.raw)["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "Observation":
                resource.pop("id", None)
                resource.pop("encounter", None)
                out.append(resource)
    return out


def _seed(bundle: dict[str, Any]) -> Seed:
    types = tuple(entry["resource"]["resourceType"] for entry in bundle["entry"])
    codes: Counter[str] = Counter()
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] == "Observation":
            coding = resource["code"]["coding"][0]
            codes[f"{coding['system']}|{coding['code']}"] += 1
    return Seed(json.dumps(bundle, separators=(",", ":"), ensure_ascii=False).encode(), types, dict(codes))


def invented_bundle(number: int, size: int = 60) -> dict[str, Any]:
    """Return a transaction Bundle of one invented patient with an encounter and ``size`` Observations."""
    chance = random.Random(number)

    def urn() -> str:
        return f"urn:uuid:{uuid.UUID(int=chance.getrandbits(128), version=4)}"

    patient, encounter = urn(), urn()
    entries = [
        _entry(
            patient,
            {
                "resourceType": "Patient",
                "identifier": [{"system": "urn:example:invented", "value": patient[9:]}],
                "name": [{"family": f"Invented{number}", "given": ["Test"]}],
                "gender": chance.choice(("male", "female")),
                "birthDate": f"{chance.randint(1930, 2015)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}",
            },
        ),
        _entry(
            encounter,
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                "subject": {"reference": patient},
            },
        ),
    ]
    for index in range(size):
        code, unit = _INVENTED_CODES[index % len(_INVENTED_CODES)]
        day = f"20{chance.randint(10, 24)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T10:00:00+09:00"
        value = {"value": chance.randint(40, 180), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        entries.append(
            _entry(
                urn(),
                {
                    "resourceType": "Observation",
                    "status": "final",
                    "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                    "subject": {"reference": patient},
                    "encounter": {"reference": encounter},
                    "effectiveDateTime": day,
                    "valueQuantity": value,
                },
            )
        )
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _entry(urn: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": urn, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
