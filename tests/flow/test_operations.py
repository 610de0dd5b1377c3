"""Operations: how they are invoked, and what each answers."""

from typing import Any

import pytest

from tests.flow.client import Client, limited, observation, patient

TAG = {"system": "urn:t", "code": "1"}


def parameters(**values: Any) -> dict[str, Any]:
    parts = [{"name": name, f"value{kind}": value} for name, (kind, value) in values.items()]
    return {"resourceType": "Parameters", "parameter": parts}


# --- invocation ---


@pytest.mark.parametrize(
    "url",
    ["$nonsense", "Patient/$nonsense", "Patient/p/$nonsense", "$everything", "Basic/x/$everything", "Patient/$lastn"],
)
async def test_an_operation_that_is_not_there_is_404(client: Client, url: str) -> None:
    assert (await client.get(url)).status == 404


async def test_an_operation_that_changes_state_is_not_invoked_by_get(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    answer = await client.get("Patient/p/$meta-add")
    assert answer.status == 405
    assert answer.response.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [
        [], "x", {"resourceType": 7}, {"resourceType": "Parameters", "parameter": {}},
        {"resourceType": "Parameters", "parameter": [{"valueString": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "start"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "start", "valueDate": "2024", "valueString": "x"}]},
    ],
)  # fmt: skip
async def test_malformed_parameters_are_400(client: Client, body: Any) -> None:
    await client.put("Patient/p", patient(id="p"))
    assert (await client.post("Patient/p/$everything", body)).status == 400


async def test_an_unknown_parameter_is_400(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    assert (await client.get("Patient/p/$everything?nonsense=1")).status == 400
    assert (await client.get("$versions?x=1")).status == 400


# --- $versions and $validate ---


async def test_versions_tells_the_version_and_that_it_is_the_default(client: Client) -> None:
    parts = (await client.get("$versions")).json["parameter"]
    assert parts == [{"name": "version", "valueCode": "4.0"}, {"name": "default", "valueCode": "4.0"}]


async def test_validate_answers_an_outcome_and_stores_nothing(client: Client) -> None:
    answer = await client.post("Patient/$validate", {"resourceType": "Patient", "gender": "x"})
    assert (answer.status, answer.issue["severity"]) == (200, "error")
    assert (await client.get("Patient?_summary=count")).json["total"] == 0


# --- $meta ---


async def test_meta_tells_the_meta_of_a_resource_and_of_a_version(client: Client) -> None:
    await client.put("Patient/p", patient("A", id="p", meta={"tag": [TAG]}))
    await client.put("Patient/p", patient("B", id="p"))
    current = (await client.get("Patient/p/$meta")).json["parameter"][0]
    assert current["name"] == "return"
    assert "tag" not in current["valueMeta"]
    past = (await client.get("Patient/p/_history/1/$meta")).json["parameter"][0]
    assert past["valueMeta"]["tag"] == [TAG]


async def test_meta_add_adds_what_is_not_there_and_meta_delete_takes_it_away(client: Client) -> None:
    await client.put("Patient/p", patient(id="p", meta={"tag": [TAG]}))
    wanted = {"tag": [TAG, {"system": "urn:t", "code": "2"}], "profile": ["http://x.test/p"]}
    added = await client.post("Patient/p/$meta-add", parameters(meta=("Meta", wanted)))
    assert added.status == 200, added.raw
    meta = added.json["parameter"][0]["valueMeta"]
    assert [tag["code"] for tag in meta["tag"]] == ["1", "2"]
    assert meta["profile"] == ["http://x.test/p"]
    assert (await client.get("Patient?_tag=urn:t|2")).ids == ["p"]
    gone = await client.post("Patient/p/$meta-delete", parameters(meta=("Meta", {"tag": [TAG]})))
    assert [tag["code"] for tag in gone.json["parameter"][0]["valueMeta"]["tag"]] == ["2"]
    assert (await client.get("Patient?_tag=urn:t|1")).ids == []


async def test_changing_labels_makes_no_version_and_works_on_past_versions(client: Client) -> None:
    await client.put("Patient/p", patient("A", id="p"))
    await client.put("Patient/p", patient("B", id="p"))
    before = (await client.get("Patient/p")).json
    body = parameters(meta=("Meta", {"tag": [TAG]}))
    assert (await client.post("Patient/p/_history/1/$meta-add", body)).status == 200
    assert (await client.get("Patient/p/_history/1")).json["meta"]["tag"] == [TAG]
    assert (await client.get("Patient/p")).json == before
    assert (await client.post("Patient/p/$meta-add", body)).response.version_id == "2"
    after = (await client.get("Patient/p")).json
    assert after["meta"].pop("tag") == [TAG]
    assert after == before
    assert len((await client.get("Patient/p/_history")).entries) == 2


@pytest.mark.parametrize("body", [None, parameters(), parameters(meta=("String", "x"))])
async def test_meta_add_needs_a_meta(client: Client, body: Any) -> None:
    await client.put("Patient/p", patient(id="p"))
    assert (await client.post("Patient/p/$meta-add", body)).status == 400


async def test_meta_of_nothing_is_404_and_of_a_deletion_410(client: Client) -> None:
    assert (await client.get("Patient/p/$meta")).status == 404
    await client.put("Patient/p", patient(id="p"))
    await client.delete("Patient/p")
    assert (await client.get("Patient/p/$meta")).status == 410


# --- $everything ---


@pytest.fixture
async def record(client: Client) -> None:
    answer = await client.post(
        "",
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [
                {"request": {"method": "PUT", "url": f"{tree['resourceType']}/{tree['id']}"}, "resource": tree}
                for tree in RECORD
            ],
        },
    )
    assert all(item["response"]["status"].startswith("201") for item in answer.entries), answer.raw


def encounter(id_: str, subject: str, start: str, doctor: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter", "id": id_, "status": "finished", "class": {"code": "AMB"},
        "subject": {"reference": subject}, "period": {"start": start, "end": start},
        "participant": [{"individual": {"reference": doctor}}],
    }  # fmt: skip


RECORD: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "parent", "name": "Group"},
    {"resourceType": "Organization", "id": "clinic", "name": "Clinic", "partOf": {"reference": "Organization/parent"}},
    {"resourceType": "Organization", "id": "unrelated", "name": "Other"},
    {"resourceType": "Practitioner", "id": "doctor", "name": [{"family": "Kato"}]},
    patient(id="p", managingOrganization={"reference": "Organization/clinic"}),
    patient("Other", id="q"),
    encounter("e1", "Patient/p", "2020-01-01", "Practitioner/doctor"),
    encounter("e2", "Patient/p", "2022-01-01", "Practitioner/doctor"),
    encounter("e3", "Patient/q", "2022-01-01", "Practitioner/doctor"),
    observation(
        "Patient/p", id="o1", effectiveDateTime="2020-01-01", encounter={"reference": "Encounter/e1"},
        hasMember=[{"reference": "Observation/oq"}],
    ),
    observation("Patient/p", id="o2", effectiveDateTime="2022-01-01", encounter={"reference": "Encounter/e2"}),
    observation("Patient/q", id="oq", effectiveDateTime="2022-01-01"),
    {
        "resourceType": "Coverage", "id": "c", "status": "active", "beneficiary": {"reference": "Patient/p"},
        "payor": [{"reference": "Organization/clinic"}],
    },
]  # fmt: skip

MEMBERS = {"Patient/p", "Encounter/e1", "Encounter/e2", "Observation/o1", "Observation/o2", "Coverage/c"}
REFERRED = {"Organization/clinic", "Organization/parent", "Practitioner/doctor"}


async def test_everything_of_a_patient_is_the_compartment_and_what_it_refers_to(client: Client, record: None) -> None:
    answer = await client.get("Patient/p/$everything")
    assert answer.json["type"] == "searchset"
    assert answer.keys[0] == "Patient/p"
    assert sorted(answer.keys) == sorted(MEMBERS | REFERRED)
    assert answer.link("next") is None


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 100])
async def test_everything_is_paged_without_loss_or_repetition(client: Client, record: None, count: int) -> None:
    pages = await client.pages(f"Patient/p/$everything?_count={count}")
    keys = [key for page in pages for key in page.keys]
    assert sorted(keys) == sorted(MEMBERS | REFERRED)
    assert all(len(page.keys) <= count for page in pages)


async def test_everything_between_dates_keeps_what_has_no_date(client: Client, record: None) -> None:
    late = await client.get("Patient/p/$everything?start=2021-01-01")
    assert set(late.keys) == {"Patient/p", "Encounter/e2", "Observation/o2", "Coverage/c"} | REFERRED
    early = await client.get("Patient/p/$everything?end=2021-01-01")
    assert {key for key in early.keys if key.startswith("Enc")} == {"Encounter/e1"}
    both = await client.get("Patient/p/$everything?start=2020-01-01&end=2020-01-01")
    assert {key for key in both.keys if key.startswith("Obs")} == {"Observation/o1"}


async def test_everything_of_some_types(client: Client, record: None) -> None:
    assert set((await client.get("Patient/p/$everything?_type=Encounter")).keys) == {"Encounter/e1", "Encounter/e2"}
    shown = await client.get("Patient/p/$everything?_type=Patient,Practitioner")
    assert set(shown.keys) == {"Patient/p", "Practitioner/doctor"}
    assert (await client.get("Patient/p/$everything?_type=Nonsense")).status == 400


async def test_everything_since_leaves_out_what_is_older(client: Client, record: None) -> None:
    at = (await client.get("Patient/p")).json["meta"]["lastUpdated"]
    await client.put("Observation/new", observation("Patient/p", id="new"))
    since = (await client.get("Observation/new")).json["meta"]["lastUpdated"]
    assert at != since
    answer = await client.get(f"Patient/p/$everything?_since={since}&_type=Observation")
    assert answer.keys == ["Observation/new"]


async def test_everything_of_an_encounter(client: Client, record: None) -> None:
    answer = await client.get("Encounter/e1/$everything")
    assert {"Encounter/e1", "Observation/o1", "Patient/p", "Practitioner/doctor"} <= set(answer.keys)
    assert not {"Encounter/e2", "Observation/o2", "Patient/q", "Observation/oq"} & set(answer.keys)


async def test_everything_by_post(client: Client, record: None) -> None:
    body = parameters(start=("Date", "2021-01-01"), _count=("Integer", 2))
    answer = await client.post("Patient/p/$everything", body)
    assert len(answer.keys) == 2
    assert "start=2021-01-01" in (answer.link("next") or "")


async def test_everything_of_nothing_is_404_and_of_a_deletion_410(client: Client) -> None:
    assert (await client.get("Patient/none/$everything")).status == 404
    await client.put("Patient/p", patient(id="p"))
    await client.delete("Patient/p")
    assert (await client.get("Patient/p/$everything")).status == 410


@pytest.mark.parametrize("query", ["start=x", "_count=x", "_since=x", "_cursor=x"])
async def test_everything_refuses_what_it_does_not_understand(client: Client, record: None, query: str) -> None:
    assert (await client.get(f"Patient/p/$everything?{query}")).status == 400


async def test_too_many_referenced_resources_are_refused(client: Client, record: None) -> None:
    client.door.use(limited(client.context, includes=1))
    assert (await client.get("Patient/p/$everything")).issue["code"] == "too-costly"


# --- $lastn ---


@pytest.fixture
async def measured(client: Client) -> None:
    for number in range(6):
        day = f"2024-01-0{number + 1}"
        code = ("8302-2", "29463-7")[number % 2]
        await client.put(
            f"Observation/o{number}", observation("Patient/p", code, id=f"o{number}", effectiveDateTime=day)
        )
    await client.put("Observation/x", observation("Patient/q", id="x", effectiveDateTime="2024-02-01"))


async def test_lastn_gives_the_latest_of_each_code(client: Client, measured: None) -> None:
    code = "code=8302-2,29463-7"
    assert (await client.get(f"Observation/$lastn?patient=p&{code}")).ids == ["o5", "o4"]
    answer = await client.get(f"Observation/$lastn?patient=p&{code}&max=2")
    assert answer.ids == ["o5", "o3", "o4", "o2"]
    assert answer.json["total"] == 4


async def test_lastn_takes_further_search_parameters(client: Client, measured: None) -> None:
    answer = await client.get("Observation/$lastn?patient=p&code=8302-2&date=lt2024-01-04")
    assert answer.ids == ["o2"]


@pytest.mark.parametrize(
    "query", ["", "patient=p", "code=8302-2", "patient=p&code=x&max=x", "patient=p&code=x&nonsense=1"]
)
async def test_lastn_needs_a_patient_and_a_kind(client: Client, query: str) -> None:
    assert (await client.get(f"Observation/$lastn?{query}")).status == 400
