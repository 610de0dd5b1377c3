"""The two servers of a benchmark: the floor and ours, each with a private mongod of its own."""

import http.client
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pymongo import MongoClient

from bench.processes import Child, cpu_ms, free_port, memory_mb, program, python, tree
from fhir_server.storage.mongo.embedded import EmbeddedMongod

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cpu:
    """CPU milliseconds used so far."""

    server: float
    database: float


class Target:
    """A running server under load."""

    name: str
    database: str

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.child: Child | None = None

    def roots(self) -> list[int]:
        """Return the processes whose trees make up this server."""
        assert self.child is not None
        return [self.child.pid]

    def processes(self) -> list[int]:
        """Return all processes of this server."""
        return [pid for root in self.roots() for pid in tree(root)]

    def mongod_url(self) -> str:
        """Return the connection string of its mongod."""
        for pid in self.processes():
            words = program(pid).split()
            if "mongod" in words[0] if words else False:
                return f"mongodb://{quote(words[words.index('--bind_ip') + 1], safe='')}/?directConnection=true"
        raise RuntimeError("no mongod among the server's processes")

    def cpu(self) -> Cpu:
        """Return the CPU used so far, of server processes and of the database."""
        server = database = 0.0
        for pid in self.processes():
            if "mongod" in program(pid).partition(" ")[0]:
                database += cpu_ms(pid)
            else:
                server += cpu_ms(pid)
        return Cpu(server, database)

    def workers_mb(self) -> list[dict[str, float]]:
        """Return resident memory of the server's own processes in MiB, greatest first."""
        own = [pid for pid in self.processes() if "mongod" not in program(pid).partition(" ")[0]]
        return sorted((memory_mb(pid) for pid in own), key=lambda item: -item["rss"])

    def bytes_on_disk(self) -> Mapping[str, float]:
        """Return data and index bytes of each collection after a checkpoint."""
        with MongoClient[dict[str, object]](self.mongod_url()) as client:
            client.admin.command("fsync")
            database = client[self.database]
            sizes = {}
            for name in database.list_collection_names():
                stats = database.command("collStats", name)
                sizes[f"{name} data"] = float(stats["storageSize"])
                sizes[f"{name} indexes"] = float(stats["totalIndexSize"])
            return sizes

    def stop(self) -> None:
        """End everything that was started."""
        if self.child is not None:
            self.child.end()


class FloorTarget(Target):
    """The floor with its mongod."""

    name = "floor"
    database = "floor"

    def __init__(self, folder: Path, workers: int, cache_mb: int) -> None:
        super().__init__(folder, free_port())
        self.workers = workers
        self.mongod = EmbeddedMongod(folder / "data", cache_mb)

    def start(self) -> None:
        """Start mongod, then the workers."""
        self.mongod.start()
        arguments = ["-m", "bench.floor", "--mongodb", self.mongod.url, "--port", str(self.port)]
        self.child = Child(python(*arguments, "--workers", str(self.workers)), self.folder / "floor.log")
        self.child.wait_for_port(self.port, 30)
        time.sleep(1)  # the workers share the parent's socket: give both time to listen

    def roots(self) -> list[int]:
        """Return the floor's and its mongod's root process."""
        assert self.mongod.pid is not None
        return [*super().roots(), self.mongod.pid]

    def stop(self) -> None:
        """End workers and mongod."""
        super().stop()
        self.mongod.stop()


class OurTarget(Target):
    """The server as a user starts it."""

    name = "ours"
    database = "renkei"

    def __init__(self, folder: Path, workers: int, cache_mb: int, extra: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, free_port())
        self.environment = {
            **os.environ,
            "RENKEI_DATA": str(folder / "data"),
            "RENKEI_HTTP": f"127.0.0.1:{self.port}",
            "RENKEI_MLLP": "",
            "RENKEI_DICOM": "",
            "RENKEI_IMAGES_UPKEEP": "false",
            "RENKEI_WORKERS": str(workers),
            "RENKEI_MONGODB_CACHE_MB": str(cache_mb),
            **(extra or {}),
        }

    def start(self, seconds: float = 180) -> None:
        """Start the server and wait until it is ready; the first start may have to obtain the definitions."""
        self.child = Child(python("-m", "fhir_server", "serve"), self.folder / "ours.log", self.environment)
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self.child.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.child.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def ready(self) -> bool:
        """Ask /health/ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
