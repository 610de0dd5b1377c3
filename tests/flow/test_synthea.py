"""Real transaction Bundles, whole."""

import collections
import gzip

import pytest

from fhir_server.core import json
from tests.data import test_data
from tests.flow.client import Client


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_synthea_bundle_is_stored_whole_with_all_its_links(client: Client, position: int) -> None:
    files = sorted(test_data("fhir/synthea").glob("*.json.gz"), key=lambda path: path.stat().st_size)
    raw = gzip.decompress(files[position].read_bytes())
    sent = json.decode(raw)["entry"]
    answer = await client.post("", raw)
    assert answer.status == 200, answer.raw[:500]
    assert {item["response"]["status"] for item in answer.entries} == {"201 Created"}
    counts = collections.Counter(item["resource"]["resourceType"] for item in sent)
    for resource_type, count in counts.items():
        assert (await client.get(f"{resource_type}?_summary=count")).json["total"] == count
    subject = next(item for item in answer.entries if item["response"]["location"].startswith("Patient/"))
    key = subject["response"]["location"].rpartition("/_history")[0]
    pages = await client.pages(f"{key}/$everything?_count=50")
    found = [item for page in pages for item in page.keys]
    assert len(found) == len(set(found)) == len(sent)
    assert not any(b'"reference":"urn:' in page.raw for page in pages)
