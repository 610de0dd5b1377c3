"""`renkei serve` as a process: settings, signals, second starts, crashes of its parts, slow clients."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.wire.live import Live, until
from tests.wire.raw import Raw


def _gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    live = Live(tmp_path).start()
    try:
        everyone = live.processes()
        assert len(everyone) == 4  # supervisor, two workers, mongod
        assert live.child is not None
        live.child.process.send_signal(number)
        assert live.child.process.wait(30) == 0
        assert _gone(everyone[1:])
        assert live.log().rstrip().endswith("stopped")
    finally:
        live.stop()


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    live = Live(tmp_path, workers=1).start()
    try:
        assert live.child is not None
        with Raw(live) as raw:
            body = b'{"resourceType":"Patient"}'
            head = b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Type: application/fhir+json\r\n"
            raw.send(head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body))
            assert raw.socket.recv(100).startswith(b"HTTP/1.1 100")
            live.child.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in live.log(), 10, "the server to begin stopping")
            raw.send(body)
            assert raw.answer()[0] == 201
            assert raw.closed()
        assert live.child.process.wait(30) == 0
    finally:
        live.stop()


def test_a_second_start_on_the_same_folder_says_so_and_a_later_start_keeps_the_data(tmp_path: Path) -> None:
    live = Live(tmp_path).start()
    try:
        location = httpx.post(f"{live.base}/Patient", json={"resourceType": "Patient"}, headers=_JSON).headers[
            "location"
        ]
        second = live.run("serve", "--http", "127.0.0.1:0", seconds=30)
        assert second.returncode == 2
        assert "already running" in second.stderr
        assert live.base in second.stderr
        assert live.child is not None
        live.child.end()
        before = time.monotonic()
        live.start()
        assert time.monotonic() - before < 5 * _SLOW
        assert httpx.get(location).status_code == 200
    finally:
        live.stop()


def test_two_servers_with_different_settings_run_side_by_side(tmp_path: Path) -> None:
    one = Live(tmp_path / "one", workers=1)
    two = Live(tmp_path / "two", workers=1, extra={"RENKEI_BODY_LIMIT_MB": "1"})
    try:
        one.start()
        two.start()
        location = httpx.post(f"{one.base}/Patient", json={"resourceType": "Patient"}, headers=_JSON).headers[
            "location"
        ]
        assert httpx.get(location).status_code == 200
        assert httpx.get(location.replace(one.base, two.base)).status_code == 404
        large = b'{"resourceType":"Patient","id":"' + b" " * 2_000_000 + b'"}'
        assert httpx.post(f"{two.base}/Patient", content=large, headers=_JSON).status_code == 413
        assert httpx.post(f"{one.base}/Patient", content=large, headers=_JSON).status_code == 422
    finally:
        one.stop()
        two.stop()


def test_a_killed_supervisor_leaves_no_workers_and_the_next_start_works(tmp_path: Path) -> None:
    live = Live(tmp_path).start()
    try:
        workers = live.workers()
        assert len(workers) == 2
        assert live.child is not None
        os.kill(live.child.pid, signal.SIGKILL)
        live.child.process.wait(10)
        until(lambda: _gone(workers), 30, "the workers to end")
        live.start()
    finally:
        live.stop()


def test_a_killed_worker_and_a_killed_mongod_come_back(tmp_path: Path) -> None:
    live = Live(tmp_path).start()
    try:
        victim, mongod = live.workers()[0], live.mongod()
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in live.workers() and len(live.workers()) == 2, 90, "a new worker")
        os.kill(mongod, signal.SIGKILL)
        until(lambda: "mongod is back" in live.log(), 60, "a new mongod")
        until(live.ready, 90, "the server to be ready again")
        assert live.mongod() != mongod
    finally:
        live.stop()


def test_the_second_signal_hurries(tmp_path: Path) -> None:
    live = Live(tmp_path, workers=1, extra={"RENKEI_DRAIN_TIMEOUT": "60"}).start()
    try:
        assert live.child is not None
        with Raw(live) as raw:
            raw.send(b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            assert raw.socket.recv(100).startswith(b"HTTP/1.1 100")
            live.child.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in live.log(), 10, "the server to begin stopping")
            live.child.process.send_signal(signal.SIGTERM)
            assert live.child.process.wait(20) == 0
    finally:
        live.stop()


def test_slow_clients_are_let_go_with_408(tmp_path: Path) -> None:
    limits = {"RENKEI_HEADER_TIMEOUT": "1", "RENKEI_BODY_TIMEOUT": "1"}
    live = Live(tmp_path, workers=1, extra=limits).start()
    try:
        with Raw(live) as slow_header, Raw(live) as slow_body, Raw(live) as silent:
            slow_header.send(b"GET /fhir/Pat")
            slow_body.send(b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            assert slow_header.answer()[0] == 408
            assert slow_body.answer()[0] == 408
            assert silent.closed()
        assert httpx.get(f"{live.base}/Patient").status_code == 200
    finally:
        live.stop()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"RENKEI_WORKRES": "2"}, "RENKEI_WORKERS"),
        ({"RENKEI_WORKERS": "two"}, "workers"),
        ({"RENKEI_HTTP": "0.0.0.0:0"}, "ALLOW_UNPROTECTED_PUBLIC_ACCESS"),
        ({"RENKEI_HTTP": "127.0.0.1"}, "host:port"),
        ({"RENKEI_TIMEZONE": "Asia/Tokio"}, "Asia/Tokyo"),
        ({"RENKEI_MLLP": "0.0.0.0:2575"}, "client_authorities"),
        ({"RENKEI_DATA": "/proc/nowhere"}, "data folder"),
    ],
)
def test_settings_that_cannot_be_are_explained(tmp_path: Path, environment: dict[str, str], says: str) -> None:
    result = Live(tmp_path, extra=environment).run("serve", seconds=30)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_an_address_in_use_is_explained(server: Live, tmp_path: Path) -> None:
    result = Live(tmp_path, extra={"RENKEI_HTTP": f"127.0.0.1:{server.port}"}).run("serve", seconds=30)
    assert result.returncode == 2
    assert "in use by another program" in result.stderr


_JSON = {"Content-Type": "application/fhir+json"}
_SLOW = 3  # the promise is for an idle machine; tests share theirs
