"""What the benchmark asks: fill a server over HTTP, then prepare the requests of every kind of work."""

import http.client
import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import quote

from bench.data import Copy, Seed, copies, observations
from bench.load import Request, request

WORKS = ("read", "create", "search", "ingest")


@dataclass
class Filled:
    """What a server holds after filling: ids as it assigned them."""

    patients: list[str] = field(default_factory=list)
    encounters: list[str] = field(default_factory=list)
    observations: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)  # patient, code with at least three Observations
    resources: int = 0
    copies: int = 0


class RefusedError(Exception):
    """A server answered something else than success; the message is its answer."""


def fill(port: int, found: Sequence[Seed], wanted: int, report: Callable[[str], None], threads: int = 4) -> Filled:
    """POST copies of the seeds until the server holds ``wanted`` Observations."""
    filled, source, lock = Filled(), copies(found), threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            while not failures:
                with lock:
                    if len(filled.observations) >= wanted:
                        return
                    copy = next(source)
                    filled.copies += 1
                locations = _post(connection, copy)
                with lock:
                    _remember(filled, copy, locations)
                    if filled.copies % 50 == 0:
                        report(f"filled {filled.resources} resources, {len(filled.observations)} Observations")
        except (OSError, http.client.HTTPException, RefusedError) as error:
            failures.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return filled


def _post(connection: http.client.HTTPConnection, copy: Copy) -> list[str]:
    connection.request("POST", "/fhir", copy.raw, {"Content-Type": "application/fhir+json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RefusedError(f"{answer.status} {body[:2000].decode(errors='replace')}")
    return [entry["response"]["location"] for entry in json.loads(body)["entry"]]


def _remember(filled: Filled, copy: Copy, locations: Sequence[str]) -> None:
    patient = ""
    for location in locations:
        kind, logical_id = location.partition("/_history")[0].split("/")[-2:]
        if kind == "Patient":
            patient = logical_id
            filled.patients.append(logical_id)
        elif kind == "Observation":
            filled.observations.append(logical_id)
        elif kind == "Encounter":
            filled.encounters.append(logical_id)
    filled.resources += len(locations)
    filled.pairs += [(patient, code) for code, count in copy.seed.codes.items() if count >= 3]


def requests_for(work: str, filled: Filled, found: Sequence[Seed], seed: int = 7, size: int = 5000) -> list[Request]:
    """Return the preformatted requests of one work."""
    chance = random.Random(seed)
    if work == "read":
        return [request("GET", f"/fhir/Observation/{chance.choice(filled.observations)}") for _ in range(size)]
    if work == "read-patient":
        return [request("GET", f"/fhir/Patient/{chance.choice(filled.patients)}") for _ in range(size)]
    if work == "create":
        bodies = []
        for resource in chance.choices(observations(found), k=min(size, 2000)):
            subject = {"reference": f"Patient/{chance.choice(filled.patients)}"}
            bodies.append(json.dumps({**resource, "subject": subject}, separators=(",", ":")).encode())
        return [request("POST", "/fhir/Observation", body) for body in bodies]
    if work == "ingest":
        chosen = islice(copies(found, first=100_000), min(2 * len(found), 80))
        return [request("POST", "/fhir", copy.raw, weight=len(copy.seed.types)) for copy in chosen]
    return [request("GET", "/fhir/" + path) for path in _search_paths(work, filled, chance, size)]


def _search_paths(work: str, filled: Filled, chance: random.Random, size: int) -> list[str]:
    def patient() -> str:
        return chance.choice(filled.patients)

    def pair() -> tuple[str, str]:
        who, code = chance.choice(filled.pairs)
        return who, quote(code, safe="")

    makers: dict[str, Callable[[], str]] = {
        "search": lambda: "Observation?patient={}&code={}&_sort=-date&_count=20".format(*pair()),
        "include": lambda: "Observation?patient={}&code={}&_include=Observation:patient&_count=20".format(*pair()),
        "revinclude": lambda: f"Patient?_id={patient()}&_revinclude=Condition:patient",
        "chain": lambda: f"Condition?subject:Patient._id={patient()}&_count=20",
        "chain-name": lambda: "Encounter?subject:Patient.birthdate=gt1990&_count=20",
        "has": lambda: "Patient?_has:Observation:patient:code=http%3A%2F%2Floinc.org%7C33914-3&_count=20",
        "composite": lambda: f"Observation?patient={patient()}&code-value-quantity=8302-2$gt50&_count=20",
        "everything": lambda: f"Patient/{patient()}/$everything?_count=50",
        "count": lambda: "Observation?patient={}&code={}&_summary=count".format(*pair()),
    }
    return [makers[work]() for _ in range(size)]


#: asked of our server only: what the floor cannot do
EXTRA = ("chain", "chain-name", "has", "include", "revinclude", "composite", "count", "everything")
