"""Clients that people use do their ordinary work: fhirpy (Python) and fhir-kit-client (Node)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fhirpy import AsyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

from tests.wire.live import Live

FHIR_KIT_CLIENT = "fhir-kit-client@2.0.3"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("clients"), workers=1)
    try:
        yield server.start()
    finally:
        server.stop()


async def test_fhirpy_creates_reads_updates_and_deletes(live: Live) -> None:
    client = AsyncFHIRClient(live.base)
    patient = client.resource("Patient", name=[{"family": "山田", "given": ["太郎"]}], gender="male")
    await patient.save()
    assert patient.id
    read = await client.reference("Patient", patient.id).to_resource()
    assert read["name"][0]["family"] == "山田"
    read["birthDate"] = "1980-05-01"
    await read.save()
    assert read["meta"]["versionId"] == "2"
    await read.refresh()
    assert read["birthDate"] == "1980-05-01"
    await read.delete()
    with pytest.raises(ResourceNotFound):
        await client.reference("Patient", patient.id).to_resource()


async def test_fhirpy_searches_pages_counts_and_includes(live: Live) -> None:
    client = AsyncFHIRClient(live.base)
    patient = await client.resource("Patient", name=[{"family": "Fhirpy"}]).create()
    for value in range(7):
        await client.resource(
            "Observation",
            status="final",
            code={"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
            subject=patient.to_reference(),
            effectiveDateTime=f"2024-01-0{value + 1}",
            valueQuantity={"value": value, "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm"},
        ).create()
    mine = client.resources("Observation").search(patient=patient.to_reference().reference)
    lenient = AsyncFHIRClient(
        live.base, extra_headers={"Prefer": "handling=lenient"}
    )  # it counts by a vendor's parameter
    assert await lenient.resources("Observation").search(patient=patient.to_reference().reference).count() == 7
    assert len(await mine.limit(3).fetch()) == 3
    newest_first = await mine.sort("-date").limit(3).fetch_all()
    assert [found["valueQuantity"]["value"] for found in newest_first] == [6, 5, 4, 3, 2, 1, 0]
    late = await mine.search(date__ge="2024-01-06").fetch_all()
    assert len(late) == 2
    bundle = await mine.include("Observation", "patient").limit(2).fetch_raw()
    assert {entry["resource"]["resourceType"] for entry in bundle["entry"]} == {"Observation", "Patient"}
    by_chain = await client.resources("Observation").search(patient__Patient__name="Fhirpy").fetch_all()
    assert len(by_chain) == 7
    by_has = (
        await client.resources("Patient").has("Observation", "patient", code="8302-2").search(name="Fhirpy").first()
    )
    assert by_has is not None
    assert by_has.id == patient.id


async def test_fhirpy_creates_conditionally_and_validates(live: Live) -> None:
    client = AsyncFHIRClient(live.base)
    careful = AsyncFHIRClient(live.base, extra_headers={"If-None-Exist": "identifier=urn:example:fhirpy|1"})
    for _ in range(3):
        identifier = [{"system": "urn:example:fhirpy", "value": "1"}]
        await careful.resource("Organization", name="Clinic", identifier=identifier).save()
    assert len(await client.resources("Organization").search(name="Clinic").fetch_all()) == 1
    assert await client.resource("Patient", gender="male").is_valid()
    assert not await client.resource("Patient", gender="whatever").is_valid()
    with pytest.raises(OperationOutcome):
        await client.resource("Patient", gender="whatever").save()
    await client.resource("Organization", name="Other").save()
    with pytest.raises(MultipleResourcesFound):
        await client.resources("Organization").get()


def _install(cache: Path) -> Path:
    """Install the Node client into the cache once; skip where there is no Node or no registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("fhir-kit-client needs Node and npm")
    folder = cache / "node"
    if not (folder / "node_modules" / "fhir-kit-client").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(folder),
            FHIR_KIT_CLIENT,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            pytest.skip("npm could not install fhir-kit-client")
    return folder


def test_fhir_kit_client_does_its_ordinary_work(live: Live, cache: Path) -> None:
    folder = _install(cache)
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < 20:
        pytest.skip(f"fhir-kit-client needs Node 20, found {version.strip()}")
    script = folder / "ordinary_work.mjs"
    shutil.copyfile(Path(__file__).with_name("fhir_kit_client.mjs"), script)
    command = ["node", str(script), live.base]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all done" in done.stdout
