"""Processes a benchmark or a test starts, ends and accounts for."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, at = [pid], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found


def cpu_ms(pid: int) -> float:
    """Return user and system CPU milliseconds a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_MS


def memory_mb(pid: int) -> dict[str, float]:
    """Return a process's resident memory in MiB: ``rss``, and ``pss`` with shared pages divided by their sharers."""
    found = {"rss": 0.0, "pss": 0.0}
    for name, key, field in (("status", "VmRSS:", "rss"), ("smaps_rollup", "Pss:", "pss")):
        try:
            for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
                if line.startswith(key):
                    found[field] = int(line.split()[1]) / 1024
        except OSError:
            continue
    return found


def program(pid: int) -> str:
    """Return the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class Child:
    """One started process with its output in a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)
        self.pid = self.process.pid

    def wait_for_port(self, port: int, seconds: float) -> None:
        """Return once something accepts connections on the port; raise with the log's end if it ends first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.process.args!r} did not serve:\n{self.log.read_text()[-3000:]}")

    def end(self, seconds: float = 30) -> None:
        """Ask it to end, then insist."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(how)
                try:
                    self.process.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue


def python(*arguments: str) -> list[str]:
    """Return a command line for this interpreter."""
    return [sys.executable, *arguments]
