"""The published messages through the door: what HL7's tables make of them is valid FHIR, is stored, and stays so."""

from adapters.hl7v2.mapping.engine import Mapper
from tests.data import test_data
from tests.flow.client import Client
from tests.golden import published
from tests.golden.hospital import Hospital


async def test_every_published_message_is_applied_one_after_another(client: Client) -> None:
    hospital = Hospital(client, Mapper.load(), published.SOURCE)
    refused = []
    for pair in published.pairs(test_data("v2")):
        try:
            await hospital.send_raw(pair.text.encode())
        except AssertionError as failure:
            refused.append(f"{pair.case}: {failure}")
    assert refused == []
    assert len(await hospital.all("Observation")) > 50
