// The ordinary work of fhir-kit-client against the base URL given as the argument; ends with "all done".
import assert from "node:assert/strict";
import { Client } from "fhir-kit-client";

const client = new Client({ baseUrl: process.argv[2] });

const statement = await client.capabilityStatement();
assert.equal(statement.resourceType, "CapabilityStatement");
assert.equal(statement.fhirVersion, "4.0.1");

const created = await client.create({
  resourceType: "Patient",
  body: { resourceType: "Patient", name: [{ family: "Kit", given: ["A"] }], gender: "female" },
});
assert.ok(created.id);
const read = await client.read({ resourceType: "Patient", id: created.id });
assert.equal(read.name[0].family, "Kit");

const updated = await client.update({
  resourceType: "Patient",
  id: created.id,
  body: { ...read, birthDate: "1990-01-01" },
});
assert.equal(updated.meta.versionId, "2");
const first = await client.vread({ resourceType: "Patient", id: created.id, version: "1" });
assert.equal(first.birthDate, undefined);
const patched = await client.patch({
  resourceType: "Patient",
  id: created.id,
  jsonPatch: [{ op: "replace", path: "/gender", value: "other" }],
});
assert.equal(patched.gender, "other");

const subject = { reference: `Patient/${created.id}` };
const observation = (day) => ({
  resource: {
    resourceType: "Observation",
    status: "final",
    code: { coding: [{ system: "http://loinc.org", code: "8302-2" }] },
    subject,
    effectiveDateTime: `2024-01-0${day}`,
  },
  request: { method: "POST", url: "Observation" },
});
const transaction = await client.transaction({
  body: { resourceType: "Bundle", type: "transaction", entry: [1, 2, 3, 4, 5].map(observation) },
});
assert.equal(transaction.entry.length, 5);
const batch = await client.batch({
  body: {
    resourceType: "Bundle",
    type: "batch",
    entry: [{ request: { method: "GET", url: `Patient/${created.id}` } }, { request: { method: "GET", url: "Patient/none" } }],
  },
});
assert.deepEqual(batch.entry.map((entry) => entry.response.status.slice(0, 3)), ["200", "404"]);

const search = { resourceType: "Observation", searchParams: { patient: created.id, _sort: "-date", _count: 2 } };
let page = await client.search(search);
const days = [];
while (page) {
  days.push(...page.entry.map((entry) => entry.resource.effectiveDateTime));
  page = await client.nextPage({ bundle: page });
}
assert.deepEqual(days, ["2024-01-05", "2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"]);
const compartment = await client.search({
  resourceType: "Observation",
  compartment: { resourceType: "Patient", id: created.id },
});
assert.equal(compartment.entry.length, 5);
const included = await client.search({
  resourceType: "Observation",
  searchParams: { patient: created.id, _include: "Observation:patient" },
});
assert.ok(included.entry.some((entry) => entry.search.mode === "include" && entry.resource.id === created.id));

const history = await client.history({ resourceType: "Patient", id: created.id });
assert.equal(history.entry.length, 3);
const everything = await client.operation({ name: "everything", resourceType: "Patient", id: created.id, method: "GET" });
assert.equal(everything.entry.length, 6);

const resolved = await client.resolve({ reference: subject.reference });
assert.equal(resolved.id, created.id);
await client.delete({ resourceType: "Patient", id: created.id });
await assert.rejects(client.read({ resourceType: "Patient", id: created.id }), (error) => error.response.status === 410);
await assert.rejects(
  client.create({ resourceType: "Patient", body: { resourceType: "Patient", gender: "wrong" } }),
  (error) => error.response.status === 422 && error.response.data.resourceType === "OperationOutcome",
);
console.log("all done");
