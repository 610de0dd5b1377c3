"""A storage from what the server holds: messages byte for byte, the rest composed, and both can be read again."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.context import Context
from adapters.hl7v2.er7 import parse
from adapters.hl7v2.mapping.engine import Mapper
from adapters.sources import Source, Sources
from adapters.ssmix2.contents import contradictions
from adapters.ssmix2.export import Exporter
from adapters.ssmix2.names import format_name
from adapters.ssmix2.storage import Item, StorageWriter, flagged
from bench.feeds import tree
from bench.feeds.patients import FACILITY
from fhir_server.definitions.model import Definitions
from fhir_server.interactions.context import Validator
from fhir_server.search.parameters import SearchRegistry
from fhir_server.storage.blobs import MemoryBlobs
from tests.flow.client import BASE, ZONE, Client, make_context
from tests.flow.ssmix2 import Hospital

SOURCE = Sources().named(f"ssmix2-{FACILITY}")
SYSTEM = SOURCE.patient_identifier_system()
MEDIS = "http://medis.or.jp/CodeSystem"
HOT9 = f"{MEDIS}/master-HOT9"
MERIT = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/MedicationUnitMERIT9Code"
JLAC = f"{MEDIS}/master-JLAC10-17digits"


@pytest.fixture(scope="session")
def mapper() -> Mapper:
    return Mapper.load()


@pytest.fixture
def hospital(client: Client, mapper: Mapper) -> Hospital:
    return Hospital(client, mapper)


@pytest.fixture
def another(definitions: Definitions, validator: Validator, registry: SearchRegistry, mapper: Mapper) -> Hospital:
    return Hospital(Client(make_context(definitions, validator, registry)), mapper)


async def _items(hospital: Hospital, source: Source = SOURCE) -> list[Item]:
    client = hospital.client
    context = Context(
        handle=client.door.handle, tables=client.tables, journal=hospital.journal, blobs=MemoryBlobs(),
        clock=client.context.clock, ids=client.context.ids, zone=ZONE, base=BASE,
    )  # fmt: skip
    exporter = Exporter(context, source)
    return [item async for patient in exporter.patients() for item in flagged(await exporter.items(patient))]


async def test_what_came_from_a_storage_is_written_back_byte_for_byte(hospital: Hospital, tmp_path: Path) -> None:
    made = list(tree.files(31, 120))
    root = tmp_path / FACILITY
    tree.write(root, iter(made))
    await hospital.take(root)
    items = await _items(hospital)
    assert {format_name(item.name): item.raw for item in items} == {one.name: one.raw for one in made}


async def test_a_deleted_file_is_written_back_as_deleted(hospital: Hospital, tmp_path: Path) -> None:
    made = list(tree.files(32, 30))
    root = tmp_path / FACILITY
    tree.write(root, iter(made))
    await hospital.take(root)
    order = next(one for one in made if one.data_type.startswith("OM"))
    (root / order.path).rename(root / order._replace(flag="0").path)
    await hospital.take(root)
    names = {format_name(item.name) for item in await _items(hospital)}
    assert order._replace(flag="0").name in names
    assert order.name not in names


def _born_here() -> list[dict[str, Any]]:
    """A patient with a record that no message wrote."""
    subject = {"reference": "Patient/born"}
    usage = {"coding": [{"system": "http://jami.jp/CodeSystem/MedicationUsage", "code": "1013044400000000",
                         "display": "内服・経口・１日３回朝昼夕食後"}]}  # fmt: skip
    tablet = {"system": MERIT, "code": "TAB", "unit": "錠"}
    return [
        {"resourceType": "Patient", "id": "born", "identifier": [{"system": SYSTEM, "value": "0000004711"}],
         "name": [{"family": "髙能", "given": ["①郎"]}, {"family": "タカノウ", "given": ["イチロウ"]}],
         "gender": "male", "birthDate": "1950-02-03",
         "address": [{"use": "home", "postalCode": "422-8999", "text": "静岡県例示市登呂1-1", "country": "JP"}],
         "telecom": [{"system": "phone", "use": "home", "value": "054-000-1111"}]},
        {"resourceType": "AllergyIntolerance", "id": "a1", "patient": subject, "category": ["food"],
         "clinicalStatus": {"coding": [{"code": "active",
            "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"}]},
         "code": {"coding": [{"system": JLAC, "code": "5A1002411023006", "display": "ソバ"}]},
         "reaction": [{"manifestation": [{"text": "湿疹"}], "severity": "moderate"}]},
        {"resourceType": "Condition", "id": "c1", "subject": subject, "recordedDate": "2024-05-01",
         "onsetDateTime": "2024-04-01",
         "clinicalStatus": {"coding": [{"code": "active",
            "system": "http://terminology.hl7.org/CodeSystem/condition-clinical"}]},
         "code": {"text": "胃炎", "coding": [
             {"system": f"{MEDIS}/master-disease-keyNumber", "code": "20054174", "display": "胃炎"},
             {"system": "http://hl7.org/fhir/sid/icd-10", "code": "K297"}]}},
        {"resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order", "subject": subject,
         "authoredOn": "2024-05-01T10:00:00+09:00",
         "groupIdentifier": {"system": "urn:test:order", "value": "000000000004711"},
         "medicationCodeableConcept": {"coding": [{"system": HOT9, "code": "103308803", "display": "アムロジン錠"}]},
         "dosageInstruction": [{"timing": {"code": usage, "repeat": {"boundsDuration": {"value": 14, "unit": "日",
             "system": "http://unitsofmeasure.org", "code": "d"}}}, "doseAndRate": [{"doseQuantity":
             {"value": 1, **tablet}}]}],
         "dispenseRequest": {"quantity": {"value": 42, **tablet}}},
        {"resourceType": "MedicationRequest", "id": "i1", "status": "active", "intent": "order", "subject": subject,
         "meta": {"profile": ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_MedicationRequest_Injection"]},
         "authoredOn": "2024-05-02T10:00:00+09:00",
         "groupIdentifier": {"system": "urn:test:order", "value": "000000000004712"},
         "medicationCodeableConcept": {"coding": [{"system": HOT9, "code": "108010001", "display": "大塚生食注"}]},
         "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 100, "unit": "mL", "code": "mL",
             "system": "http://unitsofmeasure.org"}}]}]},
        {"resourceType": "Observation", "id": "o1", "status": "final", "subject": subject,
         "code": {"coding": [{"system": JLAC, "code": "3A010000002327101", "display": "総蛋白"}]},
         "effectiveDateTime": "2024-05-03T09:00:00+09:00", "referenceRange": [{"text": "6.7-8.3"}],
         "valueQuantity": {"value": 7.2, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"}},
        {"resourceType": "DiagnosticReport", "id": "d1", "status": "final", "subject": subject,
         "code": {"text": "生化学的検査"}, "effectiveDateTime": "2024-05-03T09:00:00+09:00",
         "issued": "2024-05-03T12:00:00+09:00", "result": [{"reference": "Observation/o1"}]},
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "subject": subject,
         "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
         "period": {"start": "2024-05-01T09:00:00+09:00", "end": "2024-05-09T11:00:00+09:00"}},
    ]  # fmt: skip


async def _bear(client: Client) -> None:
    for resource in _born_here():
        answer = await client.put(f"/{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status == 201, answer.raw


KINDS = ["ADT-00", "ADT-22", "ADT-52", "ADT-61", "OML-11", "OMP-01", "OMP-02", "PPR-01"]


async def test_what_no_message_wrote_is_composed(hospital: Hospital) -> None:
    await _bear(hospital.client)
    items = await _items(hospital)
    assert sorted(item.name.data_type for item in items) == KINDS
    for item in items:
        text = item.raw.decode("iso2022_jp")
        er7 = parse(text)
        assert er7.findings == (), item.name.data_type
        assert contradictions(item.name, er7) == [], item.name.data_type
        assert "髙" not in text
        assert er7.value("MSH-18") is None
        assert er7.header
        assert er7.header.raw(18) == "~ISO IR87"


async def test_composed_files_say_what_the_resources_say(
    hospital: Hospital, mapper: Mapper, tmp_path: Path, another: Hospital
) -> None:
    await _bear(hospital.client)
    root = tmp_path / FACILITY
    StorageWriter(root, FACILITY).write_patient(await _items(hospital))
    done = await another.take(root)
    assert (done.applied, done.failed) == (8, 0), done.reasons
    (patient,) = (await another.resources("Patient")).values()
    assert patient["birthDate"] == "1950-02-03"
    assert patient["gender"] == "male"
    assert patient["identifier"][0]["value"] == "0000004711"
    assert {name["family"] for name in patient["name"]} == {"■能", "タカノウ"}
    requests = (await another.resources("MedicationRequest")).values()
    codes = {one["medicationCodeableConcept"]["coding"][0]["code"] for one in requests
             if "medicationCodeableConcept" in one}  # fmt: skip
    assert "103308803" in codes
    (allergy,) = (await another.resources("AllergyIntolerance")).values()
    assert allergy["code"]["coding"][0]["code"] == "5A1002411023006"
    (condition,) = (await another.resources("Condition")).values()
    assert condition["onsetDateTime"] == "2024-04-01"
    assert "K297" in {one["code"] for one in condition["code"]["coding"]}
    (observation,) = (await another.resources("Observation")).values()
    assert observation["valueQuantity"]["value"] == Decimal("7.2")
    stays = (await another.resources("Encounter")).values()
    (stay,) = [one for one in stays if one["class"]["code"] == "IMP"]
    assert stay["status"] == "finished"


async def test_writing_again_changes_nothing(hospital: Hospital) -> None:
    await _bear(hospital.client)
    assert await _items(hospital) == await _items(hospital)
