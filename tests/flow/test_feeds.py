"""From a journalled message to resources, through the real door."""

from typing import Any

import pytest

from fhir_server.core.messages import Finding, Status
from tests.flow.client import Client
from tests.flow.feeds import SYSTEM, Feeds, order, patient, practitioner


@pytest.fixture
def feeds(client: Client) -> Feeds:
    return Feeds(client)


WORK = {"id": "PID-14.1", "system": "phone", "value": "2"}

# --- one message ---


async def test_a_message_becomes_resources_that_refer_to_each_other(feeds: Feeds) -> None:
    kept = await feeds.apply(patient(), order("o1"), unmapped={"PID-26": 1})
    found, request = await feeds.one("Patient"), await feeds.one("ServiceRequest")
    assert request["subject"] == {"reference": f"Patient/{found['id']}"}
    assert kept.resources == (f"Patient/{found['id']}", f"ServiceRequest/{request['id']}")
    assert (kept.unmapped, kept.attempts) == ((("PID-26", 1),), 1)
    assert len(found["id"]) == 32


async def test_applying_it_again_makes_no_new_version(feeds: Feeds) -> None:
    kept = await feeds.apply(patient(), order("o1"), practitioner())
    feeds.restart()
    await feeds.journal.reopen([kept.id])
    await feeds.applier.drain()
    (again,) = await feeds.kept([kept])
    assert (again.status, again.attempts, again.resources) == (Status.APPLIED, 2, kept.resources)
    for resource_type in ("Patient", "ServiceRequest", "Practitioner", "Provenance"):
        assert (await feeds.one(resource_type))["version"] == 1


async def test_what_is_absent_stays_what_is_stated_replaces_what_is_nulled_goes(feeds: Feeds) -> None:
    await feeds.apply(patient(tree={"gender": "male", "birthDate": "1950-01-01", "telecom": [
        {"id": "PID-13.1", "system": "phone", "value": "1"}, WORK]}))  # fmt: skip
    await feeds.apply(patient(family="Sato", stated=["PID-3", "PID-5", "PID-13"], cleared=[["birthDate"]]))
    found = await feeds.one("Patient")
    assert found["name"] == [{"id": "PID-5.1", "family": "Sato"}]
    assert found["telecom"] == [WORK]
    assert found["gender"] == "male"
    assert "birthDate" not in found
    assert found["version"] == 2


async def test_an_order_makes_its_patient_but_never_changes_him(feeds: Feeds) -> None:
    await feeds.apply(patient(family="Sato", mode="ensure"), order("o1"))
    await feeds.apply(patient(family="Suzuki", mode="ensure"), order("o2"))
    found = await feeds.one("Patient")
    assert (found["name"][0]["family"], found["version"]) == ("Sato", 1)


async def test_of_somebody_named_in_passing_only_what_is_absent_is_filled_in(feeds: Feeds) -> None:
    await feeds.apply(practitioner(gender="male"))
    await feeds.apply(practitioner(gender="female", birthDate="1970-01-01"))
    found = await feeds.one("Practitioner")
    assert (found["gender"], found["birthDate"], found["version"]) == ("male", "1970-01-01", 2)


async def test_a_cancel_of_something_unknown_makes_nothing(feeds: Feeds) -> None:
    kept = await feeds.apply(patient(mode="ensure"), order("o1", status="revoked", mode="revise"))
    assert await feeds.all("ServiceRequest") == []
    assert not any(name.startswith("ServiceRequest") for name in kept.resources)


async def test_a_patient_whom_a_fhir_client_made_is_found_by_identifier(feeds: Feeds) -> None:
    await feeds.client.put("/Patient/known", {
        "resourceType": "Patient", "id": "known", "gender": "male", "identifier": [{"system": SYSTEM, "value": "a|b,c"}]
    })  # fmt: skip
    await feeds.apply(patient("a|b,c"), order("o1"))
    found = await feeds.one("Patient")
    assert (found["id"], found["gender"], found["name"][0]["family"]) == ("known", "male", "Yamada")


async def test_with_two_patients_of_one_identifier_the_message_fails_and_says_so(feeds: Feeds) -> None:
    for id_ in ("a", "b"):
        body = {"resourceType": "Patient", "id": id_, "identifier": [{"system": SYSTEM, "value": "1"}]}
        await feeds.client.put(f"/Patient/{id_}", body)
    kept = await feeds.fail(patient(fields={"Patient.identifier": "PID-3"}))
    (finding,) = kept.findings
    assert finding.text.startswith("2 Patient resources have the identifier of this message; expected one.")
    assert finding.location == "PID-3"
    await feeds.apply(patient("2"))


# --- failures ---


async def test_what_the_server_refuses_is_told_with_the_field_it_came_from(feeds: Feeds) -> None:
    kept = await feeds.fail(patient(tree={"birthDate": "tomorrow"}), order("o1"), said=[
        {"severity": "warning", "code": "invalid", "text": "odd", "location": "PID-8"}])  # fmt: skip
    told = kept.findings[0]
    assert told.text.startswith("PID-7 cannot become Patient.birthDate: ")
    assert (told.severity, told.location) == ("error", "PID-7")
    assert kept.findings[-1].text == "odd"
    assert await feeds.all("ServiceRequest") == []


async def test_a_message_that_nobody_can_map_fails_without_its_data_in_log_or_journal(
    feeds: Feeds, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await feeds.fail(crash=True)
    assert "ValueError" in kept.findings[0].text
    assert "Yamada" not in caplog.text + repr(kept.findings)
    assert kept.id in caplog.text


async def test_a_message_without_a_map_is_a_work_item(feeds: Feeds) -> None:
    finding = {"severity": "error", "code": "201", "text": "there is no map", "location": "MSH-9"}
    kept = await feeds.fail(said=[finding])
    assert kept.findings == (Finding(**finding),)


async def test_one_bad_message_does_not_hold_up_others_nor_its_own_lane(feeds: Feeds) -> None:
    bad = patient("3", tree={"birthDate": "tomorrow"})
    messages = [
        feeds.message(patient(str(number)), lane=f"his/{number}") if number != 3 else feeds.message(bad, lane="his/3")
        for number in range(10)
    ]
    messages.append(feeds.message(patient("3", "Later"), lane="his/3"))
    kept = await feeds.put(*messages)
    assert [row.status for row in kept].count(Status.APPLIED) == 10
    assert kept[3].status is Status.FAILED
    assert len(await feeds.all("Patient")) == 10
    assert feeds.applier.counts["waves"] < 6


async def test_a_failed_message_can_be_replayed_when_its_cause_is_gone(feeds: Feeds) -> None:
    for id_ in ("a", "b"):
        body = {"resourceType": "Patient", "id": id_, "identifier": [{"system": SYSTEM, "value": "1"}]}
        await feeds.client.put(f"/Patient/{id_}", body)
    failed = await feeds.fail(patient())
    await feeds.client.delete("/Patient/b")
    feeds.restart()
    await feeds.journal.reopen([failed.id])
    await feeds.applier.drain()
    (kept,) = await feeds.kept([failed])
    assert (kept.status, kept.resources, kept.findings) == (Status.APPLIED, ("Patient/a",), ())


async def test_findings_about_the_form_stay_those_about_the_content_are_made_anew(feeds: Feeds) -> None:
    form = Finding("warning", "103", "a code that is not in the table", "PID-8")
    old = Finding("error", "invalid", "from an earlier attempt", "PID-7")
    message = feeds.message(patient(), findings=(form, old))
    (kept,) = await feeds.put(message)
    assert kept.findings == (form,)


# --- order ---


async def test_messages_of_one_lane_are_applied_in_order_whatever_the_wave(feeds: Feeds) -> None:
    families = [f"Name{number}" for number in range(12)]
    await feeds.put(*(feeds.message(patient(family=family)) for family in families))
    found = await feeds.one("Patient")
    assert (found["name"][0]["family"], found["version"]) == ("Name11", 12)


async def test_a_late_message_does_not_overwrite_what_a_later_one_wrote_but_adds_the_rest(feeds: Feeds) -> None:
    await feeds.apply(patient(family="New"), event=2000)
    kept = await feeds.apply(patient(family="Old"), order("o1"), event=1000)
    assert (await feeds.one("Patient"))["name"][0]["family"] == "New"
    assert len(await feeds.all("ServiceRequest")) == 1
    assert [name.partition("/")[0] for name in kept.resources] == ["ServiceRequest"]


async def test_a_late_message_in_the_same_batch_is_late_as_well(feeds: Feeds) -> None:
    await feeds.put(feeds.message(patient(family="New"), event=2000), feeds.message(patient(family="Old"), event=1000))
    assert (await feeds.one("Patient"))["name"][0]["family"] == "New"


async def test_an_order_does_not_make_messages_about_its_patient_late(feeds: Feeds) -> None:
    await feeds.apply(patient(), event=500)
    await feeds.apply(patient(mode="ensure"), order("o1"), event=2000)
    await feeds.apply(patient(family="Moved"), event=1000)
    assert (await feeds.one("Patient"))["name"][0]["family"] == "Moved"


async def test_a_patient_made_by_an_order_is_filled_by_older_messages_about_him(feeds: Feeds) -> None:
    await feeds.apply(patient(family="Sato", mode="ensure"), order("o1"), event=2000)
    await feeds.apply(patient(family="Suzuki"), event=1000)
    assert (await feeds.one("Patient"))["name"][0]["family"] == "Suzuki"


async def test_replaying_a_whole_day_changes_nothing(feeds: Feeds) -> None:
    messages = [feeds.message(patient(family=f"Name{number // 2}"), order(f"o{number}")) for number in range(8)]
    await feeds.put(*messages)
    before = [await feeds.all(kind) for kind in ("Patient", "ServiceRequest", "Provenance")]
    feeds.restart()
    assert await feeds.journal.reopen([message.id for message in messages]) == 8
    await feeds.applier.drain()
    assert [await feeds.all(kind) for kind in ("Patient", "ServiceRequest", "Provenance")] == before


# --- subjects ---

GONE: dict[str, Any] = {
    "subject": "his/o1",
    "replaces": ["ServiceRequest"],
    "gone": {"ServiceRequest": {"status": "entered-in-error"}},
}


async def test_items_that_an_order_no_longer_names_are_entered_in_error(feeds: Feeds) -> None:
    await feeds.apply(patient(mode="ensure"), order("a"), order("b"), **GONE)
    await feeds.apply(patient(mode="ensure"), order("b"), order("c"), **GONE)
    found = await feeds.all("ServiceRequest")
    assert sorted((tree["status"], tree["version"]) for tree in found) == [
        ("active", 1),
        ("active", 1),
        ("entered-in-error", 2),
    ]
    assert len(await feeds.all("Patient")) == 1


async def test_a_cancel_takes_the_whole_subject_back_and_a_new_order_revives_it(feeds: Feeds) -> None:
    await feeds.apply(patient(mode="ensure"), order("a"), order("b"), **GONE)
    await feeds.apply(patient(mode="ensure"), **GONE, cancels=True)
    assert {tree["status"] for tree in await feeds.all("ServiceRequest")} == {"entered-in-error"}
    await feeds.apply(patient(mode="ensure"), order("a"), **GONE)
    assert sorted(tree["status"] for tree in await feeds.all("ServiceRequest")) == ["active", "entered-in-error"]


async def test_a_late_order_does_not_bring_back_what_its_successor_dropped(feeds: Feeds) -> None:
    await feeds.apply(patient(mode="ensure"), order("b"), event=2000, **GONE)
    await feeds.apply(patient(mode="ensure"), order("a"), order("b", status="draft"), event=1000, **GONE)
    found = await feeds.all("ServiceRequest")
    assert sorted((tree["status"], tree["version"]) for tree in found) == [("active", 1), ("entered-in-error", 1)]


async def test_an_order_that_comes_after_its_cancel_is_made_but_not_valid(feeds: Feeds) -> None:
    await feeds.apply(patient(mode="ensure"), event=2000, cancels=True, **GONE)
    await feeds.apply(patient(mode="ensure"), order("a"), event=1000, **GONE)
    assert (await feeds.one("ServiceRequest"))["status"] == "entered-in-error"


# --- merged patients ---


async def merge(feeds: Feeds, old: str, survivor: str, **more: Any) -> Any:
    drafts = patient(survivor, mode="complete"), patient(old, mode="ensure")
    return await feeds.apply(*drafts, merges=[[1, 0]], lane=f"his/{survivor}", **more)


async def by_number(feeds: Feeds, number: str) -> dict[str, Any]:
    return await feeds.one("Patient", f"identifier={SYSTEM}|{number}")


async def test_a_merged_patient_is_inactive_and_linked_with_the_survivor(feeds: Feeds) -> None:
    await feeds.apply(patient("1"))
    await feeds.apply(patient("2"))
    await merge(feeds, "1", "2")
    old, survivor = await by_number(feeds, "1"), await by_number(feeds, "2")
    assert old["active"] is False
    assert old["link"] == [{"other": {"reference": f"Patient/{survivor['id']}"}, "type": "replaced-by"}]
    assert survivor["link"] == [{"other": {"reference": f"Patient/{old['id']}"}, "type": "replaces"}]
    assert "active" not in survivor


async def test_what_comes_later_for_the_merged_id_goes_to_the_survivor(feeds: Feeds) -> None:
    await feeds.apply(patient("1"))
    await feeds.apply(patient("2"))
    await merge(feeds, "1", "2")
    await feeds.apply(patient("1", "Ghost", tree={"gender": "male"}), order("o1"), lane="his/1")
    old, survivor = await by_number(feeds, "1"), await by_number(feeds, "2")
    assert (old["version"], old["active"]) == (2, False)
    assert (survivor["name"][0]["family"], survivor["gender"]) == ("Yamada", "male")
    assert (await feeds.one("ServiceRequest"))["subject"] == {"reference": f"Patient/{survivor['id']}"}


async def test_a_patient_first_heard_of_in_a_merge_is_known_for_later(feeds: Feeds) -> None:
    await merge(feeds, "1", "2")
    feeds.restart()
    await feeds.apply(patient("1", "Ghost"), order("o1"), lane="his/1")
    survivor = await by_number(feeds, "2")
    assert (await feeds.one("ServiceRequest"))["subject"] == {"reference": f"Patient/{survivor['id']}"}


async def test_a_chain_of_merges_leads_to_the_last_survivor(feeds: Feeds) -> None:
    await merge(feeds, "1", "2")
    await merge(feeds, "2", "3")
    await feeds.apply(patient("1", "Ghost"), order("o1"), lane="his/1")
    survivor = await by_number(feeds, "3")
    assert (await feeds.one("ServiceRequest"))["subject"] == {"reference": f"Patient/{survivor['id']}"}


async def test_the_same_merge_again_changes_nothing(feeds: Feeds) -> None:
    await merge(feeds, "1", "2")
    before = await feeds.all("Patient")
    await merge(feeds, "1", "2")
    assert await feeds.all("Patient") == before


async def test_a_merge_the_other_way_round_takes_the_first_back(feeds: Feeds) -> None:
    await merge(feeds, "1", "2")
    await merge(feeds, "2", "1")
    old, survivor = await by_number(feeds, "2"), await by_number(feeds, "1")
    assert (old["active"], [link["type"] for link in old["link"]]) == (False, ["replaced-by"])
    assert (survivor["active"], [link["type"] for link in survivor["link"]]) == (True, ["replaces"])


async def test_messages_around_a_merge_in_one_batch_keep_their_order(feeds: Feeds) -> None:
    drafts = patient("2", mode="complete"), patient("1", mode="ensure")
    await feeds.put(
        feeds.message(patient("1", "Before"), order("o1"), lane="his/1"),
        feeds.message(patient("2"), lane="his/2"),
        feeds.message(*drafts, merges=[[1, 0]], lane="his/2"),
        feeds.message(patient("1", "After"), order("o2"), lane="his/1"),
    )
    old, survivor = await by_number(feeds, "1"), await by_number(feeds, "2")
    assert old["name"][0]["family"] == "Before"
    subjects = {tree["subject"]["reference"] for tree in await feeds.all("ServiceRequest")}
    assert subjects == {f"Patient/{old['id']}", f"Patient/{survivor['id']}"}


# --- stays ---


def stay(key: str, link: int = 0, **more: Any) -> dict[str, Any]:
    klass = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}
    tree = {"status": "in-progress", "class": klass, "subject": {"link": link}, **more.pop("tree", {})}
    return {"type": "Encounter", "key": key, "lookup": "stay", "tree": tree, **more}


DAY = 86_400_000


async def test_a_stay_is_found_by_the_day_of_admission_whatever_its_key(feeds: Feeds) -> None:
    period = {"start": "2024-03-01T10:00:00+09:00"}
    await feeds.apply(patient(mode="ensure"), stay("a", tree={"period": period}))
    await feeds.apply(patient(mode="ensure"), stay("b", tree={"period": {"start": "2024-03-01"}}))
    await feeds.apply(patient(mode="ensure"), stay("c", tree={"period": {"start": "2024-03-05"}}))
    assert [tree["version"] for tree in await feeds.all("Encounter")] == [2, 1] or [
        tree["version"] for tree in await feeds.all("Encounter")
    ] == [1, 2]


async def test_a_transfer_is_about_the_stay_that_is_open(feeds: Feeds) -> None:
    await feeds.apply(patient(mode="ensure"), stay("a", tree={"period": {"start": "2024-03-01T10:00:00+09:00"}}))
    discharged = {"status": "finished", "period": {"end": "2024-03-09T10:00:00+09:00"}}
    moment = 1_709_254_800_000 + 2 * DAY
    await feeds.apply(patient(mode="ensure"), stay("b", moment=moment, tree=discharged))
    found = await feeds.one("Encounter")
    assert (found["status"], found["version"]) == ("finished", 2)
    assert found["period"] == {"start": "2024-03-01T10:00:00+09:00", "end": "2024-03-09T10:00:00+09:00"}
    await feeds.apply(patient(mode="ensure"), stay("c", moment=moment + 30 * DAY))
    assert len(await feeds.all("Encounter")) == 2


async def test_a_visit_number_tells_stays_apart(feeds: Feeds) -> None:
    def visit(number: str) -> dict[str, Any]:
        identifier = {"system": "urn:test:visits", "value": number}
        tree = {"identifier": [identifier], "period": {"start": "2024-03-01"}}
        return stay(number, identifiers=[["urn:test:visits", number]], tree=tree)

    for number in ("1", "2", "1"):
        await feeds.apply(patient(mode="ensure"), visit(number))
    assert len(await feeds.all("Encounter")) == 2


async def test_a_stay_written_by_a_message_just_before_is_seen(feeds: Feeds) -> None:
    period = {"start": "2024-03-01T10:00:00+09:00"}
    await feeds.put(
        feeds.message(patient(mode="ensure"), stay("a", tree={"period": period}), lane="his/1"),
        feeds.message(patient(mode="ensure"), stay("b", tree={"period": period}), lane="ward/1"),
    )
    assert len(await feeds.all("Encounter")) == 1


# --- provenance ---


async def test_a_resource_leads_to_its_message_and_a_message_to_its_resources(feeds: Feeds) -> None:
    first = await feeds.apply(patient(), order("o1"))
    second = await feeds.apply(patient(family="Sato"))
    found = await feeds.one("Patient")
    both = await feeds.all("Provenance", f"target=Patient/{found['id']}")
    assert {tree["entity"][0]["what"]["identifier"]["value"] for tree in both} == {first.id, second.id}
    (one,) = await feeds.all("Provenance", f"entity:identifier=urn:renkei:message|{second.id}")
    assert one["target"] == [{"reference": f"Patient/{found['id']}/_history/2"}]
    assert one["agent"][0]["who"] == {"identifier": {"system": "urn:renkei:source", "value": "his"}, "display": "his"}
    extensions = {extension["url"]: extension for extension in one["entity"][0]["extension"]}
    assert extensions["urn:renkei:extension:message-hash"]["valueString"] == second.hash
    assert extensions["urn:renkei:extension:message-offset"]["valueInteger"] == 7
    assert one["recorded"] == "2023-11-14T22:13:20.002Z"


async def test_every_target_is_a_version_that_exists_also_after_a_deletion(feeds: Feeds) -> None:
    await feeds.apply(patient(), order("o1"))
    name = (await feeds.one("ServiceRequest"))["id"]
    await feeds.client.delete(f"/ServiceRequest/{name}")
    feeds.restart()
    await feeds.apply(patient(), order("o1"))
    for tree in await feeds.all("Provenance"):
        for target in tree["target"]:
            assert (await feeds.client.get(f"/{target['reference']}")).status == 200


async def test_the_provenance_is_valid(feeds: Feeds) -> None:
    await feeds.apply(patient(), order("o1"))
    tree = (await feeds.client.get("/Provenance")).entries[0]["resource"]
    issues = (await feeds.client.post("/Provenance/$validate", tree)).json["issue"]
    assert [
        issue for issue in issues if issue["severity"] != "information" and "narrative" not in issue["diagnostics"]
    ] == []
