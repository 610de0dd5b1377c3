"""A server as a user starts it, in a process of its own, for tests that use or kill it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from bench.processes import Child, free_port, program, tree

REPOSITORY = Path(__file__).resolve().parents[2]
FHIR_JSON = {"Content-Type": "application/fhir+json"}


class Live:
    """One `renkei serve` with its own data folder and port. Ends only what it started."""

    def __init__(self, folder: Path, workers: int = 2, mongodb_url: str = "", extra: Mapping[str, str] | None = None):
        self.folder = folder
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/fhir"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENKEI_")}
        if "RENKEI_CACHE" in os.environ:
            inherited["RENKEI_CACHE"] = os.environ["RENKEI_CACHE"]
        self.environment = {
            **inherited,
            "RENKEI_DATA": str(folder / "data"),
            "RENKEI_HTTP": f"127.0.0.1:{self.port}",
            "RENKEI_MLLP": "",
            "RENKEI_DICOM": "",
            "RENKEI_IMAGES_UPKEEP": "false",
            "RENKEI_WORKERS": str(workers),
            "RENKEI_MONGODB_CACHE_MB": "256",
            **({"RENKEI_MONGODB_URL": mongodb_url} if mongodb_url else {}),
            **(extra or {}),
        }
        self.child: Child | None = None
        self.started: set[int] = set()

    def start(self, seconds: float = 120) -> "Live":
        """Start and wait until it is ready."""
        self.launch()
        return self.wait(seconds)

    def launch(self) -> None:
        """Start, without waiting."""
        command = [sys.executable, "-m", "fhir_server", "serve"]
        self.child = Child(command, self.folder / "server.log", self.environment)

    def wait(self, seconds: float = 120) -> "Live":
        """Wait until all its processes are ready."""
        until(self.ready, seconds, "the server to be ready", self.failed)
        until(lambda: "Stop: " in self.log(), seconds, "all its processes to be ready", self.failed)
        self.processes()
        return self

    def failed(self) -> str:
        """Return the end of the log if the server has ended, otherwise nothing."""
        assert self.child is not None
        return self.log()[-3000:] if self.child.process.poll() is not None else ""

    def log(self) -> str:
        """Return what the server printed."""
        assert self.child is not None
        return self.child.log.read_text(errors="replace")

    def errors(self) -> str:
        """Return the first errors the server logged."""
        return "\n".join([line for line in self.log().splitlines() if '"level":"error"' in line][:3])

    def ready(self) -> bool:
        """Ask /health/ready."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=5).status_code == 200
        return False

    def processes(self) -> list[int]:
        """Return the processes of this server."""
        assert self.child is not None
        found = tree(self.child.pid)
        self.started.update(found)
        return found

    def mongod(self) -> int:
        """Return its private mongod, once there is one."""
        until(lambda: any(map(_is_mongod, self.processes())), 60, "mongod to be there")
        return min(filter(_is_mongod, self.processes()))

    def workers(self) -> list[int]:
        """Return its HTTP workers: the processes below the supervisor that hold the listening socket."""
        assert self.child is not None
        socket = _listening_inode(self.port)
        below = [pid for pid in self.processes() if pid != self.child.pid and not _is_mongod(pid)]
        return [pid for pid in below if _holds(pid, socket)]

    def run(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a `renkei` command with this server's settings."""
        command = [sys.executable, "-m", "fhir_server", *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds, check=False
        )

    def stop(self) -> None:
        """End it in order; kill what is left of it."""
        if self.child is None:
            return
        with contextlib.suppress(OSError):
            self.processes()
        self.child.end(40)
        for pid in self.started:
            if str(self.folder) in program(pid) or f":{self.port}" in program(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _is_mongod(pid: int) -> bool:
    return "mongod" in program(pid).partition(" ")[0]


def _listening_inode(port: int) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _holds(pid: int, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()) in sockets:
                    return True
    return False


def until(
    true: Callable[[], object], seconds: float, what: str, failed: Callable[[], str] = lambda: ""
) -> None:  # fmt: skip
    """Poll until something is true; fail after the deadline, or at once with what ``failed`` says."""
    deadline = time.monotonic() + seconds
    while not true():
        message = failed()
        assert not message, f"while waiting for {what}: {message}"
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


async def until_async(true: Callable[[], Any], seconds: float, what: str) -> None:
    """Poll in a running loop until something is true; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.02)


def client(live: Live, connections: int = 32, seconds: float = 30) -> httpx.AsyncClient:
    """Return a client of the FHIR base."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    headers = {"Accept": "application/fhir+json"}
    return httpx.AsyncClient(base_url=live.base, limits=limits, timeout=seconds, headers=headers, trust_env=False)


async def total(http: httpx.AsyncClient, question: str) -> int:
    """Return the exact number of matches of a search."""
    join = "&" if "?" in question else "?"
    answer = await http.get(f"{question}{join}_summary=count")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])
