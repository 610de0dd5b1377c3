"""The commands of `renkei` against a running server."""

import gzip
import json
from pathlib import Path

import httpx
import pytest

from tests.data import test_data
from tests.wire.live import Live

NOBODY = '{"resourceType":"Patient","id":"%s","name":[{"family":"Rate"}],"multipleBirthInteger":1}'


def _load(server: Live, folder: Path, *arguments: str) -> tuple[int, str]:
    done = server.run(
        "load", "--rejects", str(folder / "rejects"), "--state", str(folder / "state"), *arguments
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_bundles_lines_resources_and_folders_are_loaded(server: Live, http: httpx.Client, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    lines = "\n".join(NOBODY % f"lines-{number}" for number in range(250))
    (data / "patients.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    (data / "deep" / "one.json").write_text(NOBODY % "single-1")
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": json.loads(NOBODY % "inside-1")}]}
    (data / "bundle.json").write_text(json.dumps(bundle))
    (data / "notes.txt").write_text("not for us")
    code, said = _load(server, tmp_path, str(data))
    assert code == 0, said
    assert "252 resources loaded" in said
    for name in ("lines-249", "single-1", "inside-1"):
        assert http.get(f"/Patient/{name}").status_code == 200
    assert not (tmp_path / "state").exists()


def test_rejects_are_listed_with_place_and_reason_and_the_rest_is_loaded(
    server: Live, http: httpx.Client, tmp_path: Path
) -> None:
    wrong = '{"resourceType":"Patient","id":"wrong-1","gender":"unknowable"}'
    file = tmp_path / "mixed.ndjson"
    file.write_text("\n".join([NOBODY % "mixed-1", wrong, "{not json", NOBODY % "mixed-2"]))
    (tmp_path / "broken.json.gz").write_bytes(b"not gzip")
    code, said = _load(server, tmp_path, str(file), str(tmp_path / "broken.json.gz"))
    assert code == 1
    assert "3 rejected" in said
    rejects = [json.loads(line) for line in (tmp_path / "rejects").read_text().splitlines()]
    reasons = {(Path(reject["file"]).name, reject["place"]): reject["reason"] for reject in rejects}
    assert "gender" in reasons["mixed.ndjson", "line 2"]
    assert "not a FHIR resource" in reasons["mixed.ndjson", "line 3"]
    assert "cannot be read" in reasons["broken.json.gz", ""]
    assert http.get("/Patient/mixed-2").status_code == 200


def test_an_interrupted_load_goes_on_where_it_stopped(server: Live, http: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "many.ndjson"
    file.write_text("\n".join(NOBODY % f"resumed-{number}" for number in range(150)))
    status = file.stat()
    (tmp_path / "state").write_text(json.dumps([str(file), status.st_size, status.st_mtime_ns, 0]) + '\n["cut off')
    code, said = _load(server, tmp_path, str(file))
    assert code == 0
    assert "50 resources loaded" in said
    assert http.get("/Patient/resumed-0").status_code == 404
    assert http.get("/Patient/resumed-149").status_code == 200


def test_files_that_refer_by_search_come_after_those_they_search_for(server: Live, tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:example:load", "value": "7"}]}
    observation = {
        "resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient?identifier=urn:example:load|7"},
    }  # fmt: skip
    for name, resource in (("a-first", observation), ("b-second", patient)):
        entry = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        (tmp_path / f"{name}.json").write_text(json.dumps(bundle))
    code, said = _load(server, tmp_path, str(tmp_path))
    assert code == 0, said


def test_what_was_loaded_can_be_exported_with_the_same_bytes(server: Live, tmp_path: Path) -> None:
    code, said = _load(server, tmp_path, str(next(test_data("fhir/synthea").glob("A*.json.gz"))))
    assert code == 0, said
    done = server.run("export", str(tmp_path / "out"), "-t", "Observation", "--gzip")
    assert done.returncode == 0, done.stderr
    lines = gzip.decompress((tmp_path / "out" / "Observation.ndjson.gz").read_bytes()).splitlines()
    assert len(lines) > 20
    resource = json.loads(lines[0])
    assert lines[0] == httpx.get(f"{server.base}/Observation/{resource['id']}").content


@pytest.mark.parametrize("output", ["table", "json", "ndjson"])
def test_search_shows_what_was_found(server: Live, http: httpx.Client, output: str) -> None:
    http.put("/Patient/shown-1", json={"resourceType": "Patient", "id": "shown-1", "name": [{"family": "山田"}]})
    done = server.run("search", "Patient?_id=shown-1", "-o", output)
    assert done.returncode == 0, done.stderr
    assert "shown-1" in done.stdout
    assert "山田" in done.stdout


def test_a_search_that_is_refused_says_why(server: Live) -> None:
    done = server.run("search", "Patient?nonsense=1")
    assert done.returncode == 1
    assert "400" in done.stderr
    assert "nonsense" in done.stderr


def test_check_finds_all_well_and_reindex_leaves_it_so(server: Live, http: httpx.Client) -> None:
    http.put("/Patient/checked-1", json={"resourceType": "Patient", "id": "checked-1", "birthDate": "1950-01-01"})
    before = server.run("check", "-t", "Patient")
    assert before.returncode == 0, before.stdout + before.stderr
    again = server.run("reindex", "-t", "Patient")
    assert again.returncode == 0, again.stderr
    after = server.run("check", "-t", "Patient", "--json")
    assert after.returncode == 0, after.stdout
    assert json.loads(after.stdout)["problems"] == 0


def test_check_finds_a_wrong_index_and_repairs_it(server: Live, http: httpx.Client) -> None:
    from pymongo import MongoClient

    http.put("/Basic/bent-1", json={"resourceType": "Basic", "id": "bent-1", "code": {"text": "x"}, "created": "2024"})
    url = json.loads((Path(server.environment["RENKEI_DATA"]) / "server.json").read_text())["mongodb_url"]
    with MongoClient[dict[str, object]](url) as client:
        done = client["renkei"]["resource"].update_one({"_id": "Basic/bent-1"}, {"$unset": {"r": ""}})
        assert done.modified_count == 1
    found = server.run("check", "-t", "Basic")
    assert found.returncode == 1
    assert "Basic/bent-1" in found.stdout
    assert "ranges" in found.stdout
    assert server.run("check", "-t", "Basic", "--repair").returncode == 0
    assert server.run("check", "-t", "Basic").returncode == 0


def test_the_core_package_is_listed(server: Live) -> None:
    done = server.run("packages", "list")
    assert done.returncode == 0, done.stderr
    assert "hl7.fhir.r4.core" in done.stdout


@pytest.mark.parametrize("command", ["serve", "load", "export", "search", "packages", "reindex", "check", "send"])
def test_every_command_has_help_with_an_example(server: Live, command: str) -> None:
    done = server.run(command, "--help")
    assert done.returncode == 0
    assert f"renkei {command}" in done.stdout or command == "packages"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("load", "/nowhere"), "no such file"),
        (("load", "--server", "http://127.0.0.1:9", "/etc/hostname"), "no answer"),
        (("search", "--server", "ftp://x", "Patient"), "expected http"),
        (("export", "/proc/x", "-t", "Patient"), "/proc/x"),
        (("export", "out", "-t", "../x"), "not a resource type"),
        (("reindex", "-t", "Patients"), "not resource types"),
        (("packages", "add", "/etc/hostname"), "hostname"),
    ],
)
def test_failures_are_one_clear_line(server: Live, arguments: tuple[str, ...], says: str) -> None:
    done = server.run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
