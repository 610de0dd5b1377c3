"""What receives images in a benchmark: the server as a user starts it, DCMTK's storescp, Orthanc."""

import http.client
import json
import os
import time
from pathlib import Path
from typing import Protocol

from bench import orthanc
from bench.processes import Child, free_port
from bench.servers import OurTarget

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class FailedStoreError(Exception):
    """A run did not do what it should."""


class Receiver(Protocol):
    """One that takes images."""

    name: str
    title: str

    @property
    def dicom(self) -> int:
        """The port of its DICOM listener."""
        ...

    def start(self) -> None:
        """Start with an empty store."""
        ...

    def indexed(self) -> int:
        """Return how many images it has, searchable where it has an index."""
        ...

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class Ours:
    """The server as a user starts it."""

    name, title = "ours", "RENKEI"

    def __init__(self, folder: Path, *, nagle: bool) -> None:  # noqa: ARG002  # nothing to turn off
        self.dicom = free_port()
        self.target = OurTarget(folder, 2, 512, {"RENKEI_DICOM": f"127.0.0.1:{self.dicom}"})

    def start(self) -> None:
        """Start with an empty store."""
        self.target.start()
        deadline = time.monotonic() + 60
        while self._health().get("status") != "heard":
            if time.monotonic() > deadline:
                raise FailedStoreError("no DICOM listener")
            time.sleep(0.05)

    def indexed(self) -> int:
        """Return how many images it has."""
        return int(self._health().get("indexed", 0))

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        used = self.target.cpu()
        return used.server + used.database

    def stop(self) -> None:
        """End it."""
        self.target.stop()

    def _health(self) -> dict[str, float | str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.target.port, timeout=5)
        try:
            connection.request("GET", "/health/imaging")
            found: dict[str, float | str] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()


class Storescp:
    """DCMTK's receiver, which only writes files."""

    name, title = "storescp", "STORESCP"

    def __init__(self, folder: Path, *, nagle: bool) -> None:
        self.folder = folder
        self.environment = {**os.environ, **({} if nagle else {"TCP_NODELAY": "1"})}
        self.dicom = free_port()
        self.child: Child | None = None

    def start(self) -> None:
        """Start with an empty store."""
        into = self.folder / "store"
        into.mkdir(parents=True)
        command = ["storescp", "--fork", "+uf", "-aet", self.title, "-od", str(into), str(self.dicom)]
        self.child = Child(command, self.folder / "storescp.log", self.environment)
        self.child.wait_for_port(self.dicom, 10)

    def indexed(self) -> int:
        """Return how many images it has."""
        return len(list((self.folder / "store").iterdir()))

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        assert self.child is not None
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * _TICK_MS  # with the children that ended

    def stop(self) -> None:
        """End it."""
        if self.child is not None:
            self.child.end()


class OrthancReceiver:
    """Orthanc as Debian has it."""

    name, title = "orthanc", "ORTHANC"

    def __init__(self, folder: Path, *, nagle: bool) -> None:
        self.server = orthanc.Orthanc(folder, self.title, nagle=nagle)

    @property
    def dicom(self) -> int:
        """Return the port of its DICOM listener."""
        return self.server.dicom

    def start(self) -> None:
        """Start with an empty store."""
        self.server.start()

    def indexed(self) -> int:
        """Return how many images it has."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request("GET", "/statistics")
            return int(json.loads(connection.getresponse().read())["CountInstances"])
        finally:
            connection.close()

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        return self.server.cpu()

    def stop(self) -> None:
        """End it."""
        self.server.stop()


class Make(Protocol):
    """Makes a receiver; ``nagle``: with the defaults of its socket options."""

    def __call__(self, folder: Path, *, nagle: bool) -> Receiver:
        """Make it, not yet started."""
        ...
