"""One running server, from the bytes of a modality to FHIR and back: DCMTK, HL7 v2, DICOMweb, FHIR and the commands."""

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pydicom.data
import pytest

from adapters.dicom.dataset.json import from_json
from adapters.dicom.dataset.meta import file_meta
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE
from tests.flow.dicom.made import made
from tests.tools import require
from tests.unit.dicom.images import attributes
from tests.unit.dicom.reports import measurements
from tests.wire.live import Live, until

SAMPLES = Path(pydicom.data.__file__).parent
FACILITY = "1319999999"
SYSTEM = f"urn:oid:1.2.392.100495.20.3.51.1{FACILITY}"
SOURCE = f'facility = "{FACILITY}"\ndicom_titles = ["CT1"]\n[match]\napplications = ["HIS"]\n'
OTHER = '[match]\napplications = ["OTHER"]\n'  # with two sources, whose the images are is said by the AE title
SR, PDF_CLASS = "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.104.1"
ROOT = "1.2.392.200036.9999"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
KANJI = "YAMADA^TAROU=山田^太郎=やまだ^たろう"


def computed_tomography(patient: str, study: str, accession: str) -> bytes:
    """Return a CT image of a Japanese patient."""
    image = pydicom.dcmread(SAMPLES / "test_files" / "CT_small.dcm")
    image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    image.PatientName = KANJI
    image.PatientID, image.PatientBirthDate, image.PatientSex = patient, "19500203", "M"
    image.StudyInstanceUID, image.SeriesInstanceUID = study, f"{study}.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.1"
    image.AccessionNumber, image.StudyDate, image.StudyTime = accession, "20260131", "093000"
    del image.TimezoneOffsetFromUTC  # times are the server's
    file = io.BytesIO()
    image.save_as(file)
    return file.getvalue()


def report(patient: str, study: str) -> bytes:
    """Return a structured report with measurements."""
    uid = f"{study}.2.1"
    said = attributes(
        UI00080016=SR, UI00080018=uid, DA00080020="20260131", TM00080030="093000", CS00080060="SR",
        PN00100010=KANJI, LO00100020=patient, DA00100030="19500203", UI0020000D=study, UI0020000E=f"{study}.2",
    )  # fmt: skip
    return file_meta(SR, uid, EXPLICIT_LITTLE) + from_json(dict(sorted({**said, **measurements()}.items())))


def letter(patient: str, study: str) -> bytes:
    """Return an encapsulated PDF, as pydicom writes it."""
    found = pydicom.dcmread(
        io.BytesIO(made(study, f"{study}.3", f"{study}.3.1", sop_class=PDF_CLASS, modality="DOC", LO00100020=patient))
    )
    found.DocumentTitle, found.MIMETypeOfEncapsulatedDocument = "紹介状", "application/pdf"
    found.SpecificCharacterSet = "ISO_IR 192"
    found.EncapsulatedDocument, found.EncapsulatedDocumentLength = PDF + b"\0" * (len(PDF) % 2), len(PDF)
    file = io.BytesIO()
    found.save_as(file)
    return file.getvalue()


def message(id_: str, event: str, *segments: str) -> bytes:
    """Return an HL7 v2 message of the hospital."""
    first = f"MSH|^~\\&|HIS|{FACILITY}|RENKEI|REGION|20260131120000||{event}|{id_}|P|2.5||||||~ISO IR87||ISO 2022-1994"
    return "".join(line + "\r" for line in (first, "EVN||20260131115900", *segments)).encode("iso2022_jp")


def person(patient: str) -> str:
    """Return PID."""
    return f"PID|1||{patient}^^^^PI||山田^太郎^^^^^L^I~ヤマダ^タロウ^^^^^L^P||19500203|M"


class Hospital:
    """A modality, a workstation and a hospital information system, and the server they speak to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        sources = folder / "data" / "sources"
        sources.mkdir(parents=True)
        (sources / "his.toml").write_text(SOURCE)
        (sources / "other.toml").write_text(OTHER)
        self.live = Live(folder, workers=1, extra={"RENKEI_DICOM": "127.0.0.1:0", "RENKEI_MLLP": "127.0.0.1:0"})

    def start(self) -> "Hospital":
        """Start the server."""
        self.live.start()
        state = json.loads((self.folder / "data" / "server.json").read_text())
        self.mllp, self.dicom = state["mllp"][0], state["dicom"][0].rpartition(":")[2]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.live.port}", timeout=30, trust_env=False)
        return self

    def dcmtk(self, program: str, *arguments: str, folder: Path | None = None) -> str:
        """Run a program of DCMTK against the server."""
        command = [require(program), "-aet", "CT1", "-aec", "RENKEI", "127.0.0.1", self.dicom, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, cwd=folder, check=False)
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode == 0, output
        return output

    def store(self, *files: bytes) -> None:
        """Send objects as the modality does, and wait until they are found."""
        folder = self.folder / "sent"
        folder.mkdir(exist_ok=True)
        paths = []
        for file in files:
            uid = str(pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True).SOPInstanceUID)
            paths.append(folder / f"{uid}.dcm")
            paths[-1].write_bytes(file)
        self.dcmtk("dcmsend", *map(str, paths))
        for path in paths:
            until(lambda uid=path.stem: self.qido("instances", SOPInstanceUID=uid), 20, "an object to be found")

    def qido(self, what: str, **query: str) -> list[dict[str, Any]]:
        """Ask by QIDO-RS."""
        answer = self.http.get(f"/dicomweb/{what}", params=query)
        assert answer.status_code in (200, 204), answer.text
        found: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
        return found

    def search(self, what: str, **query: str) -> list[dict[str, Any]]:
        """Ask by FHIR search."""
        answer = self.http.get(f"/fhir/{what}", params=query)
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", ())]

    def study(self, uid: str) -> dict[str, Any]:
        """Return the ImagingStudy of a study."""
        (found,) = self.search("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{uid}")
        return found

    def patients(self, value: str) -> list[str]:
        """Return the references of those who have this Patient ID."""
        return [f"Patient/{found['id']}" for found in self.search("Patient", identifier=value)]

    def tell(self, id_: str, event: str, *segments: str) -> None:
        """Send a message as the hospital information system does, and wait until it is applied."""
        path = self.folder / f"{id_}.hl7"
        path.write_bytes(message(id_, event, *segments))
        done = self.live.run("send", "--attempts", "20", self.mllp, str(path))
        assert done.returncode == 0, done.stdout + done.stderr

        def applied() -> bool:
            rows = self.http.get("/messages", params={"controlId": id_}).json()["messages"]
            return [row["status"] for row in rows] == ["applied"]

        until(applied, 20, "the message to be applied")

    def command(self, *arguments: str) -> str:
        """Run a command beside the server."""
        done = self.live.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    try:
        yield made.start()
    finally:
        made.live.stop()


STUDY = f"{ROOT}.77"


@pytest.fixture(scope="module")
def sent(hospital: Hospital) -> Hospital:
    """A study of P77 with an image, a report and a letter, and a published file of a Japanese patient."""
    hospital.store(computed_tomography("P77", STUDY, "A77"), report("P77", STUDY), letter("P77", STUDY))
    hospital.dcmtk("storescu", str(SAMPLES / "charset_files" / "chrH32.dcm"))
    until(lambda: hospital.qido("studies", PatientID="H32EXAMPLE"), 20, "the published file")
    return hospital


def test_a_study_is_found_with_c_find_by_kanji(sent: Hospital) -> None:
    keys = ("QueryRetrieveLevel=STUDY", "SpecificCharacterSet=ISO_IR 192", "PatientName=山田*", "PatientID=P77",
            "StudyInstanceUID", "NumberOfStudyRelatedInstances")  # fmt: skip
    answer = sent.dcmtk("findscu", "-S", *[part for key in keys for part in ("-k", key)])
    assert STUDY in answer
    assert KANJI in answer
    assert "[3 ]" in answer or "[3]" in answer


def test_a_study_is_had_back_with_c_get(sent: Hospital, tmp_path: Path) -> None:
    sent.dcmtk(
        "getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}", "-od", str(tmp_path)
    )
    found = {str(pydicom.dcmread(path).SOPInstanceUID): pydicom.dcmread(path) for path in tmp_path.iterdir()}
    assert found.keys() >= {f"{STUDY}.1.1"}
    image = pydicom.dcmread(SAMPLES / "test_files" / "CT_small.dcm")
    assert found[f"{STUDY}.1.1"].PixelData == image.PixelData


def test_a_study_is_found_with_qido(sent: Hospital) -> None:
    for query in ({"PatientName": "ﾔﾏﾀﾞ*"}, {"AccessionNumber": "A77"}, {"ModalitiesInStudy": "SR"}):
        assert STUDY in [found["0020000D"]["Value"][0] for found in sent.qido("studies", **query)], query
    assert {found["0020000D"]["Value"][0] for found in sent.qido("studies", PatientName="山田*")} >= {STUDY}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"identifier": f"urn:dicom:uid|urn:oid:{STUDY}"}, id="study UID"),
        pytest.param({"identifier": "A77"}, id="accession number"),
        pytest.param({"patient.identifier": "P77"}, id="patient"),
        pytest.param({"modality": "CT", "started": "2026-01-31"}, id="modality and day"),
        pytest.param({"started": "2026-01-31T09:30:00+09:00", "status": "available"}, id="moment and status"),
        pytest.param({"instance": f"{STUDY}.1.1"}, id="instance"),
        pytest.param({"series": f"{STUDY}.2"}, id="series"),
    ],
)
def test_an_imaging_study_is_found_by(sent: Hospital, query: dict[str, str]) -> None:
    uids = [found["identifier"][0]["value"] for found in sent.search("ImagingStudy", **query)]
    assert f"urn:oid:{STUDY}" in uids
    if "started" not in query:
        assert len(uids) == 1


def test_an_imaging_study_counts_what_was_sent(sent: Hospital) -> None:
    found = sent.study(STUDY)
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (3, 3)
    assert {series["modality"]["code"] for series in found["series"]} == {"CT", "SR", "DOC"}


def test_a_report_and_a_letter_are_resources_of_the_patient(sent: Hospital) -> None:
    (patient,) = sent.patients("P77")
    (found,) = sent.search("DiagnosticReport", subject=patient)
    assert {"reference": f"ImagingStudy/{sent.study(STUDY)['id']}"} in found["imagingStudy"]
    values = [one["valueQuantity"]["value"] for one in sent.search("Observation", subject=patient)
              if "valueQuantity" in one]  # fmt: skip
    assert sorted(values) == [7, 12.5]
    letters = sent.search("DocumentReference", subject=patient, contenttype="application/pdf")
    (attachment,) = [one["content"][0]["attachment"] for one in letters]
    assert attachment["title"] == "紹介状"
    content = sent.http.get(f"/fhir/{attachment['url']}", headers={"Accept": "application/pdf"}).content
    assert content == PDF


def test_an_image_first_and_a_message_after_meet_at_one_patient(sent: Hospital) -> None:
    sent.tell("after", "ADT^A08^ADT_A01", person("P77"), "PV1|1|O")
    (patient,) = sent.patients(f"{SYSTEM}|P77")
    assert sent.patients("P77") == [patient]
    assert sent.study(STUDY)["subject"]["reference"] == patient


def test_a_message_first_and_an_image_after_meet_at_one_patient(hospital: Hospital) -> None:
    hospital.tell("before", "ADT^A08^ADT_A01", person("P78"), "PV1|1|O")
    hospital.store(computed_tomography("P78", f"{ROOT}.78", "A78"))
    (patient,) = hospital.patients("P78")
    assert hospital.study(f"{ROOT}.78")["subject"]["reference"] == patient


def test_after_a_merge_the_study_is_the_survivor_s_everywhere(hospital: Hospital, tmp_path: Path) -> None:
    study = f"{ROOT}.79"
    hospital.tell("survivor", "ADT^A08^ADT_A01", person("P80"), "PV1|1|O")
    hospital.store(computed_tomography("P79", study, "A79"), report("P79", study))
    hospital.tell("merge", "ADT^A40^ADT_A39", person("P80"), "MRG|P79^^^^PI")
    (survivor,) = hospital.patients("P80")
    until(lambda: hospital.study(study)["subject"]["reference"] == survivor, 20, "the study to follow its patient")
    assert len(hospital.search("DiagnosticReport", subject=survivor)) == 1
    assert [found["0020000D"]["Value"][0] for found in hospital.qido("studies", PatientID="P80")] == [study]
    assert hospital.qido("studies", PatientID="P79") == []
    hospital.dcmtk(
        "getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-od", str(tmp_path)
    )
    assert {str(pydicom.dcmread(path).PatientID) for path in tmp_path.iterdir()} == {"P80"}


# --- commands beside the running server ---


def read(paths: Sequence[Path]) -> dict[str, bytes]:
    """Return files by their SOP Instance UID."""
    return {str(pydicom.dcmread(path).SOPInstanceUID): path.read_bytes() for path in paths}


def test_files_are_taken_in_and_come_out_as_they_were(hospital: Hospital, tmp_path: Path) -> None:
    folder = tmp_path / "disc"
    folder.mkdir()
    study = f"{ROOT}.81"
    files = {f"{study}.1.1": computed_tomography("P81", study, "A81"), f"{study}.2.1": report("P81", study)}
    for number, file in enumerate(files.values()):
        (folder / f"IM{number}").write_bytes(file)
    assert "2 stored" in hospital.command("ingest", "dicom", str(folder))
    assert hospital.study(study)["numberOfInstances"] == 2
    target = tmp_path / "study.zip"
    hospital.command("export", "dicom", str(target), "-s", study)
    with zipfile.ZipFile(target) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        archive.extractall(tmp_path / "out")
    assert read([tmp_path / "out" / name for name in names]) == files


def test_a_disc_has_a_directory_that_dcmtk_reads(sent: Hospital, tmp_path: Path) -> None:
    target = tmp_path / "disc"
    sent.command("export", "dicom", str(target), "--pdi", "--institution", "中央病院", "-s", STUDY)
    done = subprocess.run([require("dcmdump"), str(target / "DICOMDIR")], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"ReferencedFileID") == 3


def test_an_export_without_the_patient_names_nobody(sent: Hospital, tmp_path: Path) -> None:
    target = tmp_path / "safe"
    done = sent.live.run("export", "dicom", str(target), "--deidentify", "--key", "secret", "-s", STUDY)
    assert done.returncode == 1  # report and letter may name the patient: they are left out, and that is told
    assert done.stderr.count("left out: ") == 2
    (image,) = [path for path in target.rglob("*") if path.is_file()]
    assert pydicom.dcmread(image).PatientIdentityRemoved == "YES"
    everything = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    for secret in (b"YAMADA", b"P77", b"A77", "山田".encode(), "山田".encode("iso2022_jp")[3:-3], STUDY.encode()):
        assert secret not in everything


def test_a_manifest_is_a_valid_key_object_selection_of_the_study(sent: Hospital, tmp_path: Path) -> None:
    target = tmp_path / "manifest.dcm"
    sent.command("export", "dicom", str(target), "--manifest", "-s", STUDY)
    found = pydicom.dcmread(target)
    (evidence,) = found.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == STUDY
    assert len(evidence.ReferencedSeriesSequence) == 3
    done = subprocess.run([require("dciodvfy"), str(target)], capture_output=True, text=True, timeout=30, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []


def test_nothing_was_logged_as_an_error(sent: Hospital) -> None:
    assert sent.live.errors() == ""
