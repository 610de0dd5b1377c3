"""Orthanc and a server of ours exchange images, in a network that has nothing but loopback; prints what came of it."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pydicom.data

from bench.orthanc import Orthanc
from bench.processes import free_port
from tests.wire.live import Live, until

FILES = Path(pydicom.data.__file__).parent
CT, MR = (FILES / "test_files" / name for name in ("CT_small.dcm", "MR_small.dcm"))
NAMED = FILES / "charset_files" / "chrH31.dcm"


class Exchange:
    """Both servers, and what each is told."""

    def __init__(self, folder: Path) -> None:
        self.orthanc = Orthanc(folder / "orthanc")
        self.orthanc.start()
        self.dicom = free_port()
        (folder / "data").mkdir()
        peer = f'[[dicom_peer]]\ntitle = "ORTHANC"\naddress = "127.0.0.1:{self.orthanc.dicom}"\n'
        (folder / "data" / "renkei.toml").write_text(peer)
        self.live = Live(folder, workers=1, extra={"RENKEI_DICOM": f"127.0.0.1:{self.dicom}"})
        self.live.start()
        self.them = httpx.Client(base_url=f"http://127.0.0.1:{self.orthanc.port}", timeout=60, trust_env=False)
        self.us = httpx.Client(base_url=f"http://127.0.0.1:{self.live.port}", timeout=60, trust_env=False)
        self.ask("PUT", "/modalities/renkei", {"AET": "RENKEI", "Host": "127.0.0.1", "Port": self.dicom})
        self.ask("PUT", "/dicom-web/servers/renkei", {"Url": f"http://127.0.0.1:{self.live.port}/dicomweb/"})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Orthanc."""
        given = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
        answer = self.them.request(method, path, **given)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        try:
            return answer.json()
        except ValueError:
            return answer.content

    def here(self, uid: str) -> list[Any]:
        """Return the ImagingStudy of a study."""
        found = self.us.get("/fhir/ImagingStudy", params={"identifier": f"urn:dicom:uid|urn:oid:{uid}"})
        entries: list[Any] = found.json().get("entry", [])
        return entries

    def there(self) -> set[str]:
        """Return the SOP Instance UIDs that Orthanc has."""
        found = self.ask("GET", "/instances?expand")
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in found}

    def close(self) -> None:
        """End both."""
        self.live.stop()
        self.orthanc.stop()


def run(exchange: Exchange) -> dict[str, Any]:
    """Send, ask and retrieve in both directions."""
    said: dict[str, Any] = {}
    ct, mr, named = (pydicom.dcmread(path) for path in (CT, MR, NAMED))
    ids = [exchange.ask("POST", "/instances", path.read_bytes())["ID"] for path in (CT, MR)]
    said["echo"] = exchange.ask("POST", "/modalities/renkei/echo", {}) == {}

    order = {"Resources": ids, "Synchronous": True, "StorageCommitment": True}
    stored = exchange.ask("POST", "/modalities/renkei/store", order)
    said["stored"] = (int(stored["InstancesCount"]), int(stored["FailedInstancesCount"]))
    until(lambda: exchange.here(ct.StudyInstanceUID) and exchange.here(mr.StudyInstanceUID), 20, "ImagingStudy")
    commitment = f"/storage-commitment/{stored['StorageCommitmentTransactionUID']}"
    until(lambda: exchange.ask("GET", commitment)["Status"] != "Pending", 20, "the report of storage commitment")
    report = exchange.ask("GET", commitment)
    said["committed"] = (report["Status"], len(report["Success"]), len(report["Failures"]))

    sent = exchange.live.run("dicom", "send", "ORTHANC", str(NAMED))
    said["sent"] = (sent.returncode, str(named.SOPInstanceUID) in exchange.there(), sent.stderr[-300:])

    exchange.ask("DELETE", f"/instances/{ids[1]}")
    said["deleted"] = str(mr.SOPInstanceUID) not in exchange.there()
    query = {"Level": "Study", "Query": {"PatientID": str(mr.PatientID), "StudyInstanceUID": ""}}
    found = exchange.ask("POST", "/modalities/renkei/query", query)["ID"]
    said["found"] = len(exchange.ask("GET", f"/queries/{found}/answers"))
    exchange.ask("POST", f"/queries/{found}/answers/0/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    said["moved"] = str(mr.SOPInstanceUID) in exchange.there()

    back = {pydicom.dcmread(path).StudyInstanceUID for path in (NAMED,)}
    ours = exchange.ask("GET", "/instances?expand")
    of_named = [one["ID"] for one in ours if one["MainDicomTags"]["SOPInstanceUID"] == named.SOPInstanceUID]
    exchange.ask("POST", "/dicom-web/servers/renkei/stow", {"Resources": of_named, "Synchronous": True})
    said["stow"] = [len(exchange.here(uid)) for uid in back]
    exchange.ask("DELETE", f"/instances/{ids[0]}")
    wanted = {"Resources": [{"Study": str(ct.StudyInstanceUID)}], "Synchronous": True}
    exchange.ask("POST", "/dicom-web/servers/renkei/retrieve", wanted)
    said["wado"] = str(ct.SOPInstanceUID) in exchange.there()
    studies = exchange.ask("POST", "/dicom-web/servers/renkei/qido", {"Uri": "/studies"})
    said["qido"] = len(studies)
    return said


def main() -> None:
    """Print what was seen as the last line."""
    with tempfile.TemporaryDirectory(prefix="orthanc") as folder:
        exchange = Exchange(Path(folder))
        try:
            said = run(exchange)
            said["errors"] = exchange.live.errors()
        finally:
            exchange.close()
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
