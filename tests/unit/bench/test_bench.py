"""The benchmark's own arithmetic: multiplied data, request files, verdicts, the figures in the documentation."""

import json
import re
from pathlib import Path

import httpx
import pytest

from bench import report
from bench.data import invented_bundle, renew
from bench.load import Request, read_frames, request, write_frames
from tests.wire.judge import judge

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def test_copies_of_a_bundle_share_no_id_and_keep_their_references() -> None:
    raw = json.dumps(invented_bundle(1)).encode()
    one, two = renew(raw, 1), renew(raw, 2)
    assert renew(raw, 1) == one
    assert not set(_UUID.findall(one)) & set(_UUID.findall(two))
    bundle = json.loads(one)
    patient = bundle["entry"][0]["fullUrl"]
    subjects = {entry["resource"]["subject"]["reference"] for entry in bundle["entry"][1:]}
    assert subjects == {patient}


def test_request_files_give_back_what_was_written(tmp_path: Path) -> None:
    wanted = [request("GET", "/fhir/Patient/1"), Request(b"\x00\r\n\r\n", 3), request("POST", "/fhir", b"{}", weight=5)]
    write_frames(tmp_path / "requests", wanted)
    assert read_frames(tmp_path / "requests") == wanted


@pytest.mark.parametrize(("value", "said"), [(0.9, "aim met"), (0.7, "met"), (0.59, "MISSED")])
def test_a_ratio_is_judged_by_bar_and_aim(value: float, said: str) -> None:
    assert report.verdict(value, 0.6, 0.85) == said


@pytest.mark.parametrize(("value", "said"), [(100, "aim met"), (200, "met"), (251, "MISSED")])
def test_a_size_is_judged_by_bar_and_aim(value: float, said: str) -> None:
    assert report.verdict(value, 250, 150, less_is_better=True) == said


def test_figures_are_replaced_and_the_text_around_them_stays(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("# Title\n\nbefore\n\n", encoding="utf-8")
    report.write(path, "old figures")
    path.write_text(path.read_text(encoding="utf-8") + "after\n", encoding="utf-8")
    report.write(path, "new figures")
    text = path.read_text(encoding="utf-8")
    assert "old figures" not in text
    assert text.index("before") < text.index("new figures") < text.index("after")


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, b'{"resourceType":"OperationOutcome","issue":[{}]}', {}),
        (503, b'{"resourceType":"OperationOutcome","issue":[{}]}', {}),
        (400, b'{"resourceType":"Bundle"}', {}),
        (400, b"<Bundle xmlns='http://hl7.org/fhir'/>", {"content-type": "application/fhir+xml"}),
    ],
)
def test_the_judge_of_the_fuzz_tests_sees_a_bad_answer(status: int, body: bytes, headers: dict[str, str]) -> None:
    asked = httpx.Request("GET", "http://x/fhir/Patient")
    with pytest.raises(AssertionError):
        judge(httpx.Response(status, content=body, headers=headers, request=asked))
