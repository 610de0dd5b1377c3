"""The CapabilityStatement says what is there."""

from fhir_server.core.request import Interaction
from tests.flow.client import BASE, Client, changed


async def test_the_statement_is_valid(client: Client) -> None:
    statement = (await client.get("metadata")).json
    assert client.context.validator.validate(statement) == []
    assert statement["implementation"]["url"] == BASE
    assert statement["fhirVersion"] == "4.0.1"


async def test_every_resource_type_is_listed(client: Client) -> None:
    resources = (await client.get("metadata")).json["rest"][0]["resource"]
    assert {resource["type"] for resource in resources} == set(client.context.types)
    assert len(resources) >= 145


async def test_every_interaction_of_the_door_is_listed(client: Client) -> None:
    rest = (await client.get("metadata")).json["rest"][0]
    shown = {item["code"] for item in rest["interaction"]}
    for resource in rest["resource"]:
        shown |= {item["code"] for item in resource["interaction"]}
    own_words = {Interaction.BUNDLE, Interaction.OPERATION, Interaction.CAPABILITIES, Interaction.SEARCH_COMPARTMENT}
    assert shown == {str(item) for item in Interaction if item not in own_words} | {"batch", "transaction"}


async def test_every_listed_search_parameter_is_understood(client: Client) -> None:
    rest = (await client.get("metadata")).json["rest"][0]
    values = {"date": "2024", "number": "1", "quantity": "1", "special": "35|139|10|km", "composite": "a$2024"}
    for resource in rest["resource"]:
        if resource["type"] not in ("Patient", "Observation", "Encounter", "ValueSet"):
            continue
        for parameter in resource["searchParam"]:
            value = values.get(parameter["type"], "x")
            answer = await client.get(f"{resource['type']}?{parameter['name']}={value}")
            refused = answer.status == 400 and answer.issue["code"] == "not-supported"
            assert not refused, (resource["type"], parameter["name"], answer.issue)


async def test_every_operation_is_listed_where_it_serves(client: Client) -> None:
    rest = (await client.get("metadata")).json["rest"][0]
    operations = {resource["type"]: {item["name"] for item in resource["operation"]} for resource in rest["resource"]}
    assert operations["Patient"] >= {"everything", "validate", "meta", "meta-add", "meta-delete"}
    assert "everything" not in operations["Basic"]
    assert "lastn" in operations["Observation"]
    assert {item["name"] for item in rest["operation"]} == {"versions"}
    patient = next(resource for resource in rest["resource"] if resource["type"] == "Patient")
    links = {item["definition"] for item in patient["operation"]}
    assert "http://hl7.org/fhir/OperationDefinition/Patient-everything" in links


async def test_the_delete_policy_is_told(client: Client) -> None:
    client.door.use(changed(client.context, conditional_delete="single", capabilities={}))
    resources = (await client.get("metadata")).json["rest"][0]["resource"]
    assert {resource["conditionalDelete"] for resource in resources} == {"single"}


async def test_mode_full_and_normative_answer_and_terminology_is_400(client: Client) -> None:
    assert (await client.get("metadata?mode=full")).raw == (await client.get("metadata?mode=normative")).raw
    assert (await client.get("metadata?mode=terminology")).status == 400


async def test_the_second_answer_is_the_same_bytes(client: Client) -> None:
    assert (await client.get("metadata")).raw == (await client.get("metadata")).raw
