"""New search parameters on a running server of two workers: soon in force, and never answered from a partial index."""

import time
from pathlib import Path
from typing import Any

import httpx

from tests.data import test_data
from tests.wire.live import FHIR_JSON, Live

PACKAGE = "jp/jp-fhir-packages/jp-core.r4-1.1.2-url-snapshot.tgz"
SYLLABIC = {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": "SYL"}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "name": [{"use": "usual", "text": "ヤマダ", "given": ["Bo"], "extension": [SYLLABIC]}],
}
NICKNAME: dict[str, Any] = {
    "resourceType": "SearchParameter", "url": "http://x.test/nick", "name": "nick", "status": "active",
    "description": "d", "code": "nick", "base": ["Patient"], "type": "string", "expression": "Patient.name.given",
}  # fmt: skip


def wait_until_in_force(live: Live, query: str) -> None:
    """Wait until each of several connections finds the patient; no answer may be without it."""
    begun = time.monotonic()
    while True:
        answers = [httpx.get(f"{live.base}/Patient?{query}") for _ in range(6)]
        found = [answer for answer in answers if answer.status_code == 200]
        assert all(answer.json()["total"] == 1 for answer in found)
        assert all(answer.status_code in (200, 400, 503) for answer in answers)
        if len(found) == len(answers):
            return
        assert time.monotonic() - begun < 60, answers[0].text
        time.sleep(0.1)


def test_a_posted_parameter_and_those_of_a_package_are_soon_in_force(tmp_path: Path) -> None:
    package = test_data(PACKAGE)
    live = Live(tmp_path).start()
    try:
        assert httpx.put(f"{live.base}/Patient/p", json=PATIENT, headers=FHIR_JSON).status_code == 201
        assert httpx.post(f"{live.base}/SearchParameter", json=NICKNAME, headers=FHIR_JSON).status_code == 201
        wait_until_in_force(live, "nick=bo")
        assert live.run("packages", "add", str(package), "--allow-missing").returncode == 0
        live.stop()
        live.start()
        wait_until_in_force(live, "jp-kana-sort=ヤマダ")
        wait_until_in_force(live, "nick=bo")
        assert live.run("check").returncode == 0
    finally:
        live.stop()
