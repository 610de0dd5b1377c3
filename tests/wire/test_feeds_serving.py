"""`renkei serve` hears HL7 v2: from the bytes on the port to a FHIR search, and an operator's day with the commands."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from bench.processes import program
from tests.wire.live import FHIR_JSON, Live, until

ADT = (
    "MSH|^~\\&|HIS|1319999999|RENKEI|REGION|20260131120000||ADT^A08^ADT_A01|{id}|P|2.5||||||~ISO IR87||ISO 2022-1994\r"
    "EVN||20260131115900\r"
    "PID|1||{patient}^^^^PI||山田^太郎^^^^^L^I~ヤマダ^タロウ^^^^^L^P||19500203|M\r"
    "PV1|1|O\r"
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with a port for messages."""
    found = _live(tmp_path_factory.mktemp("feeds"))
    try:
        yield found.start()
    finally:
        found.stop()


def _live(folder: Path, **extra: str) -> Live:
    return Live(folder, workers=1, extra={"RENKEI_MLLP": "127.0.0.1:0", **extra})


def _state(live: Live) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(live.environment["RENKEI_DATA"]) / "server.json").read_text())
    return found


def _file(folder: Path, id_: str, patient: str = "P1", text: str = ADT) -> Path:
    path = folder / f"{id_}.hl7"
    path.write_bytes(text.replace("{id}", id_).replace("{patient}", patient).encode("iso2022_jp"))
    return path


def _send(live: Live, *files: Path) -> subprocess.CompletedProcess[str]:
    return live.run("send", "--attempts", "20", _state(live)["mllp"][0], *map(str, files))


def _messages(live: Live, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"http://127.0.0.1:{live.port}/messages", params=query).json()["messages"]
    return found


def _status(live: Live, control_id: str) -> str:
    found = _messages(live, controlId=control_id)
    return found[0]["status"] if found else ""


@pytest.mark.parametrize("name", ["山田太郎", "ヤマダ", "やまだ"])
def test_a_patient_sent_in_iso_2022_jp_is_found_by_kanji_and_by_kana(live: Live, tmp_path: Path, name: str) -> None:
    sent = _send(live, _file(tmp_path, "found", "F1"))
    assert (sent.returncode, sent.stdout[:2]) == (0, "AA"), sent.stdout + sent.stderr
    until(lambda: _status(live, "found") == "applied", 20, "the message to be applied")
    with httpx.Client(base_url=live.base) as http:
        (entry,) = http.get("/Patient", params={"name": name, "identifier": "F1"}).json()["entry"]
    (row,) = _messages(live, controlId="found")
    assert entry["resource"]["birthDate"] == "1950-02-03"
    assert f"Patient/{entry['resource']['id']}" in [resource["reference"] for resource in row["resources"]]
    assert httpx.get(row["links"]["raw"]).content == (tmp_path / "found.hl7").read_bytes()


def test_a_refused_message_is_explained_to_the_sender_and_kept(live: Live, tmp_path: Path) -> None:
    sent = _send(live, _file(tmp_path, "refused", text=ADT.replace("{patient}^^^^PI", "")))
    assert sent.returncode == 1
    assert "PID-3" in sent.stdout
    (row,) = _messages(live, controlId="refused")
    assert row["status"] == "refused"
    shown = live.run("messages", "show", row["id"])
    assert "Patient identifier list" in shown.stdout
    assert "PID|1||«»||山田" in shown.stdout


def _twice(live: Live, value: str) -> list[str]:
    """Make two patients with one id, so that a message about it cannot be applied; return their addresses."""
    identifier = {"system": "urn:renkei:source:HIS.1319999999:patient", "value": value}
    patient = {"resourceType": "Patient", "identifier": [identifier]}
    return [httpx.post(f"{live.base}/Patient", json=patient, headers=FHIR_JSON).headers["location"] for _ in range(2)]


def _failed(live: Live, control_id: str) -> str:
    """Wait until the message has failed; return its id as the operator finds it."""
    until(lambda: _status(live, control_id) == "failed", 20, "the message to fail")
    (row,) = json.loads(live.run("messages", "list", "--control-id", control_id, "--json").stdout)
    id_: str = row["id"]
    assert id_ in live.run("messages", "list").stdout
    return id_


def test_a_failed_message_is_replayed_when_its_cause_is_gone(live: Live, tmp_path: Path) -> None:
    _, second = _twice(live, "W1")
    assert _send(live, _file(tmp_path, "doubtful", "W1")).returncode == 0
    id_ = _failed(live, "doubtful")
    assert "«" in live.run("messages", "show", id_).stdout  # the field is marked
    assert live.run("messages", "replay", id_).returncode == 1  # nothing has changed: it fails again
    assert _messages(live, controlId="doubtful")[0]["attempts"] == 2
    assert httpx.delete(second.partition("/_history")[0]).status_code == 204
    done = live.run("messages", "replay", id_)
    assert done.returncode == 0, done.stdout + done.stderr
    with httpx.Client(base_url=live.base) as http:
        (entry,) = http.get("/Patient", params={"identifier": "W1"}).json()["entry"]
    assert entry["resource"]["birthDate"] == "1950-02-03"


def test_a_failed_message_is_corrected_and_its_original_kept(live: Live, tmp_path: Path) -> None:
    _twice(live, "X1")
    assert _send(live, _file(tmp_path, "failing", "X1")).returncode == 0
    id_ = _failed(live, "failing")
    corrected = tmp_path / "corrected.hl7"
    corrected.write_bytes((tmp_path / "failing.hl7").read_bytes().replace(b"|X1^", b"|X2^"))
    fixed = live.run("messages", "fix", id_, str(corrected))
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    with httpx.Client(base_url=live.base) as http:
        assert http.get("/Patient", params={"identifier": "X2"}).json()["total"] == 1
    (original,) = _messages(live, controlId="failing", status="set-aside")
    assert original["correctedBy"] in fixed.stdout
    assert httpx.get(original["links"]["raw"]).content == (tmp_path / "failing.hl7").read_bytes()


def test_a_failed_message_is_set_aside_with_a_note(live: Live, tmp_path: Path) -> None:
    _twice(live, "Y1")
    assert _send(live, _file(tmp_path, "hopeless", "Y1")).returncode == 0
    id_ = _failed(live, "hopeless")
    assert live.run("messages", "set-aside", id_, "--note", "a test").returncode == 0
    assert "a test" in live.run("messages", "show", id_).stdout
    assert id_ not in live.run("messages", "list").stdout


def test_a_replay_of_everything_makes_no_new_version(live: Live, tmp_path: Path) -> None:
    assert _send(live, _file(tmp_path, "again", "R1")).returncode == 0
    until(lambda: _status(live, "again") == "applied", 20, "the message to be applied")
    done = live.run("messages", "replay", "--status", "applied", "--type", "ADT^A08", "--json")
    assert done.returncode == 0, done.stderr
    with httpx.Client(base_url=live.base) as http:
        (entry,) = http.get("/Patient", params={"identifier": "R1"}).json()["entry"]
    assert entry["resource"]["meta"]["versionId"] == "1"


def test_exported_messages_can_be_sent_again_and_are_known(live: Live, tmp_path: Path) -> None:
    assert _send(live, _file(tmp_path, "exported", "E1")).returncode == 0
    target = tmp_path / "all.mllp"
    chosen = ("--channel", "mllp", "--status", "applied")  # a correction has the control id of its original
    done = live.run("messages", "export", str(target), "--one", "mllp", *chosen)
    assert done.returncode == 0, done.stderr
    before = len(_messages(live, count="1000"))
    assert _send(live, target).returncode == 0
    assert len(_messages(live, count="1000")) == before


def test_totals_report_and_sources_tell_of_what_came(live: Live, tmp_path: Path) -> None:
    assert _send(live, _file(tmp_path, "told", "T1")).returncode == 0
    until(lambda: _status(live, "told") == "applied", 20, "the message to be applied")
    assert "applied" in live.run("messages", "totals").stdout
    assert "HIS.1319999999" in live.run("sources", "list").stdout
    report = live.run("messages", "report", _messages(live, controlId="told")[0]["id"])
    assert "second parser" in report.stdout


def test_health_and_metrics_tell_of_messages(live: Live, tmp_path: Path) -> None:
    assert _send(live, _file(tmp_path, "counted", "C1")).returncode == 0
    root = f"http://127.0.0.1:{live.port}"
    assert httpx.get(f"{root}/health/feeds").json()["status"] == "heard"
    assert 'renkei_messages_answered_total{code="AA"}' in httpx.get(f"{root}/metrics").text
    until(lambda: 'renkei_messages_total{status="applied"} 0' not in httpx.get(f"{root}/metrics").text, 20, "counting")


def test_a_killed_process_for_messages_comes_back_on_the_same_port(live: Live, tmp_path: Path) -> None:
    before = _state(live)
    os.kill(before["feeds"], signal.SIGKILL)
    sent = _send(live, _file(tmp_path, "after", "K1"))  # waits in the backlog of the port
    assert sent.returncode == 0, sent.stdout + sent.stderr
    until(lambda: _state(live)["feeds"] not in (None, before["feeds"]), 30, "a new process")
    assert _state(live)["mllp"] == before["mllp"]
    until(lambda: _status(live, "after") == "applied", 30, "the message to be applied")


def test_a_process_killed_while_the_server_starts_is_started_again(tmp_path: Path) -> None:
    live = _live(tmp_path)
    live.launch()
    try:
        until(lambda: _of_kind(live, "feeds"), 30, "the process for messages", live.failed)
        os.kill(_of_kind(live, "feeds")[0], signal.SIGKILL)
        live.wait()
        assert "was killed while starting" in live.log()
        assert _send(live, _file(tmp_path, "first")).returncode == 0
    finally:
        live.stop()


def _of_kind(live: Live, kind: str) -> list[int]:
    return [pid for pid in live.processes() if f" -m fhir_server {kind} " in program(pid)]


def test_what_was_acknowledged_before_a_stop_is_there_after_the_next_start(tmp_path: Path) -> None:
    live = _live(tmp_path).start()
    try:
        files = [_file(tmp_path, f"stop{number}", f"S{number}") for number in range(40)]
        assert _send(live, *files).returncode == 0
        assert live.child is not None
        live.child.process.send_signal(signal.SIGTERM)
        assert live.child.process.wait(30) == 0
        listed = live.run("messages", "list", "--all", "-n", "100", "--json")  # without a server
        rows = json.loads(listed.stdout)
        assert len(rows) == 40
        done = live.run("messages", "replay", rows[0]["id"], "--json")
        assert json.loads(done.stdout)["statuses"] == {"applied": 1}, done.stderr
        live.start()
        until(lambda: len(_messages(live, status="applied")) == 40, 30, "all to be applied")
        with httpx.Client(base_url=live.base) as http:
            assert http.get("/Patient", params={"_summary": "count"}).json()["total"] == 40
    finally:
        live.stop()


def test_a_port_with_certificates_takes_only_clients_that_have_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    ours, theirs = authority.issue_cert("localhost", "127.0.0.1"), authority.issue_cert("hospital.example")
    data = tmp_path / "data"
    data.mkdir()
    for name, pem in (("server", ours), ("client", theirs)):
        (data / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in pem.cert_chain_pems))
        (data / f"{name}.key").write_bytes(pem.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(data / "ca.pem"))
    (data / "renkei.toml").write_text(
        '[[mllp_port]]\nname = "hospitals"\naddress = "127.0.0.1:0"\ncertificate = "server.pem"\nkey = "server.key"\n'
        'client_authorities = "ca.pem"\n'
    )
    live = _live(tmp_path, RENKEI_MLLP="").start()
    try:
        address = _state(live)["mllp"][0]
        message = str(_file(tmp_path, "secret"))
        secured = ("--tls", "--authorities", str(data / "ca.pem"))
        mine = ("--certificate", str(data / "client.pem"), "--key", str(data / "client.key"))
        assert live.run("send", address, *secured, *mine, message).returncode == 0
        assert live.run("send", address, *secured, message, seconds=60).returncode == 1
        assert live.run("send", "--timeout", "5", address, message, seconds=60).returncode == 1
        assert _messages(live)[0]["certificate"]
    finally:
        live.stop()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("sources/H01.toml", 'facility = "12"\n', "facility"),
        ("sources/H01.toml", 'facilty = "1312345670"\n', "facilty"),
        ("renkei.toml", '[[mllp_port]]\naddress = "127.0.0.1:0"\nspeed = 9\n', "speed"),
        ("renkei.toml", '[[mllp_port]]\naddress = "127.0.0.1:0"\ncertificate = "x"\nkey = "y"\n', "certificate"),
    ],
    ids=["facility", "misspelt", "option", "certificate"],
)
def test_what_is_wrong_in_a_file_is_said_at_the_start(tmp_path: Path, name: str, content: str, says: str) -> None:
    live = _live(tmp_path)
    path = Path(live.environment["RENKEI_DATA"]) / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    done = live.run("serve", seconds=60)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_for_messages_in_use_is_explained(live: Live, tmp_path: Path) -> None:
    done = _live(tmp_path, RENKEI_MLLP=_state(live)["mllp"][0]).run("serve", seconds=30)
    assert done.returncode == 2
    assert "RENKEI_MLLP" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("messages", "show", "nothing"), "no message nothing"),
        (("messages", "replay"), "say which"),
        (("messages", "list", "--since", "soon"), "--since"),
        (("messages", "fix", "nothing"), "no message nothing"),
        (("messages", "export", "out", "--one", "zip"), "--one"),
        (("send", "nowhere", "/etc/hostname"), "host:port"),
        (("send", "127.0.0.1:9", "/etc/hostname"), "MSH-10"),
        (("sources", "template", "../x"), "cannot be a name"),
    ],
    ids=lambda value: "-".join(value).replace("/", "_") if isinstance(value, tuple) else "",
)
def test_failures_of_the_message_commands_are_one_clear_line(live: Live, arguments: tuple[str, ...], says: str) -> None:
    done = live.run(*arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
