"""Orthanc from Debian beside us. Its listeners bind every interface, so it runs where there is only loopback.

A benchmark that wants it runs itself again inside a network namespace of its own (:func:`run_apart`): its servers,
databases and load generators are in there too.
"""

import fcntl
import json
import os
import runpy
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.processes import Child, cpu_ms, free_port, python, tree
from bench.servers import REPOSITORY

PROGRAM = Path("/usr/sbin/Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
APART = "RENKEI_BENCH_APART"
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def missing() -> str:
    """Say why Orthanc cannot be measured here; nothing if it can."""
    if not PROGRAM.exists() or not PLUGIN.exists():
        return "Orthanc and its DICOMweb plug-in are not installed (Debian: orthanc, orthanc-dicomweb)"
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "Orthanc listens on every interface; only root can give it a network of its own (unshare)"
    return ""


def is_apart() -> bool:
    """Tell if this process runs in a network namespace made by :func:`run_apart`."""
    return APART in os.environ


def run_apart(module: str, arguments: Sequence[str]) -> int:
    """Run a module of ours in a network namespace that has nothing but loopback; return its exit status."""
    command = ["unshare", "--net", *python("-m", "bench.orthanc", module, *arguments)]
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, APART: "1"}, check=False).returncode


class Orthanc:
    """A running Orthanc with an empty store. ``nagle``: its DICOM connections delay small messages, as by default."""

    def __init__(self, folder: Path, title: str = "ORTHANC", *, nagle: bool = False) -> None:
        assert is_apart(), "only inside run_apart"
        self.folder = folder
        self.title = title
        self.nagle = nagle
        self.port = free_port()
        self.dicom = free_port()
        self.child: Child | None = None

    def start(self) -> None:
        """Start it and wait until both ports are open."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "bench",
            "StorageDirectory": str(self.folder / "store"),
            "IndexDirectory": str(self.folder / "store"),
            "StorageCompression": False,
            "HttpPort": self.port,
            "DicomPort": self.dicom,
            "DicomAet": self.title,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "HttpThreadsCount": 50,
            "KeepAlive": True,
            "TcpNoDelay": True,
            "OverwriteInstances": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(settings))
        environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
        if not self.nagle:
            environment["TCP_NODELAY"] = "1"
        self.child = Child([str(PROGRAM), str(path)], self.folder / "orthanc.log", environment)
        for port in (self.port, self.dicom):
            self.child.wait_for_port(port, 30)

    def cpu(self) -> float:
        """Return the CPU milliseconds used so far."""
        assert self.child is not None
        return sum(cpu_ms(pid) for pid in tree(self.child.pid))

    def stop(self) -> None:
        """End it."""
        if self.child is not None:
            self.child.end()


def _bring_up_loopback() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP_AND_RUNNING))


def main() -> None:
    """Run the module named first with the arguments that follow, inside the namespace."""
    assert is_apart()
    _bring_up_loopback()
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
