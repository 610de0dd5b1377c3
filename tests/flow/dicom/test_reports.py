"""What is made from reports passes the door's validation and is found by search."""

from typing import Any

import pytest

from adapters.dicom.fhir.reports import resources
from tests.flow.client import Client
from tests.unit.dicom.reports import about, ct_dose, measurements


@pytest.mark.parametrize(
    ("sop_class", "tree"),
    [
        pytest.param("1.2.840.10008.5.1.4.1.1.88.33", measurements(), id="measurements"),
        pytest.param("1.2.840.10008.5.1.4.1.1.88.67", ct_dose(), id="dose"),
        pytest.param("1.2.840.10008.5.1.4.1.1.88.59", measurements(), id="key-objects"),
        pytest.param("1.2.840.10008.5.1.4.1.1.104.1", {}, id="pdf"),
    ],
)
async def test_the_resources_of_a_report_are_valid(client: Client, sop_class: str, tree: dict[str, Any]) -> None:
    found = resources(tree, about(sop_class), document=b"%PDF-1.7\n", retrieve="http://server.test/dicomweb/x")
    assert found
    for resource in found:
        answer = await client.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status == 201, answer.json
