"""Writers that remember what the server acknowledged, and the check that all of it is there."""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.wire.live import FHIR_JSON, Live, total

SYSTEM = "urn:example:ingest"
ENTRIES = 12


@dataclass
class Ledger:
    """What writers sent and what was acknowledged."""

    run: str
    singles: dict[str, str] = field(default_factory=dict)  # identifier -> location
    bundles: dict[str, list[str]] = field(default_factory=dict)  # identifier -> locations
    sent_singles: set[str] = field(default_factory=set)
    sent_bundles: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    lost_connections: int = 0
    stopping: bool = False
    odd: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged writes."""
        return len(self.singles) + len(self.bundles)


def observation(identifier: str, subject: str = "Patient/nobody") -> dict[str, Any]:
    """Return an invented Observation."""
    return {
        "resourceType": "Observation",
        "identifier": [{"system": SYSTEM, "value": identifier}],
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": "2024-05-01T10:00:00+09:00",
        "valueQuantity": {"value": 170, "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm"},
    }


def bundle(identifier: str) -> dict[str, Any]:
    """Return a transaction of a patient and Observations that refer to it, all under one identifier."""
    patient = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": identifier}]}
    urn = "urn:uuid:0a1b2c3d-0000-4000-8000-000000000001"
    resources = [(urn, patient)]
    for number in range(ENTRIES):
        resources.append((f"urn:uuid:0a1b2c3d-0000-4000-8000-1{number:011d}", observation(identifier, urn)))
    entries = [
        {"fullUrl": name, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        for name, resource in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def write(http: httpx.AsyncClient, ledger: Ledger, number: int) -> None:
    """Write single resources and transactions in turn until the ledger says stop."""
    for turn in itertools.count():
        if ledger.stopping:
            return
        name = f"{ledger.run}-{number}-{turn}"
        whole = turn % 3 == 2
        (ledger.sent_bundles if whole else ledger.sent_singles).add(name)
        try:
            if whole:
                answer = await http.post("", json=bundle(name), headers=FHIR_JSON)
            else:
                answer = await http.post("/Observation", json=observation(name), headers=FHIR_JSON)
        except httpx.TransportError:
            ledger.lost_connections += 1
            await asyncio.sleep(0.05)  # back off as a client would
            continue
        ledger.statuses[answer.status_code] += 1
        if answer.status_code == 200 and whole:
            ledger.bundles[name] = [entry["response"]["location"] for entry in answer.json()["entry"]]
        elif answer.status_code == 201 and not whole:
            ledger.singles[name] = answer.headers["location"]
        else:
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                ledger.odd.append(f"{answer.status_code} {answer.text[:500]}")
            await asyncio.sleep(0.05)  # back off as a client would


async def verify(http: httpx.AsyncClient, live: Live, ledger: Ledger) -> None:
    """Assert that every acknowledged write is there and no transaction is half there."""
    gate = asyncio.Semaphore(16)

    async def one(name: str, location: str) -> None:
        async with gate:
            answer = await http.get(location.partition("/fhir/")[2] or location)
            assert answer.status_code == 200, f"acknowledged {name} is {answer.status_code}"
            assert answer.json()["identifier"][0]["value"] == name

    async def found(kind: str, name: str) -> int:
        async with gate:
            return await total(http, f"/{kind}?identifier={SYSTEM}|{name}")

    async def whole(name: str) -> None:
        patients, observations = await found("Patient", name), await found("Observation", name)
        complete = (patients, observations) == (1, ENTRIES)
        assert complete or (name not in ledger.bundles and (patients, observations) == (0, 0)), (
            f"transaction {name}, acknowledged: {name in ledger.bundles}, "
            f"has {patients} of 1 patients and {observations} of {ENTRIES} Observations"
        )

    async def at_most_once(name: str) -> None:
        count = await found("Observation", name)
        assert count == 1 if name in ledger.singles else count <= 1, f"{name} is there {count} times"

    places = [(name, place) for name, place in ledger.singles.items()]
    places += [(name, place) for name, several in ledger.bundles.items() for place in several]
    await asyncio.gather(*(one(name, place) for name, place in places))
    await asyncio.gather(*(whole(name) for name in ledger.sent_bundles))
    await asyncio.gather(*(at_most_once(name) for name in ledger.sent_singles))
    checked = await asyncio.to_thread(live.run, "check")
    assert checked.returncode == 0, f"renkei check:\n{checked.stdout[-3000:]}\n{checked.stderr[-3000:]}"
