"""Three mongod of the product's own binary as one replica set, for tests that kill its primary."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from bench.processes import Child, free_port
from fhir_server.storage.mongo.embedded import find_mongod
from tests.wire.live import until

Client = MongoClient[dict[str, Any]]


class ReplicaSet:
    """A three-member replica set on loopback."""

    def __init__(self, folder: Path, cache_gb: float = 0.25) -> None:
        self.folder = folder
        self.cache_gb = cache_gb
        self.ports = [free_port() for _ in range(3)]
        self.members: dict[int, Child] = {}

    @property
    def url(self) -> str:
        """The connection string."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"mongodb://{hosts}/?replicaSet=three"

    def start(self) -> "ReplicaSet":
        """Start the members and wait for a primary."""
        for port in self.ports:
            self.start_member(port)
        with self._direct(self.ports[0]) as mongo:
            members = [{"_id": at, "host": f"127.0.0.1:{port}"} for at, port in enumerate(self.ports)]
            settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
            mongo.admin.command("replSetInitiate", {"_id": "three", "members": members, "settings": settings})
        until(lambda: self.primary() is not None, 60, "a primary")
        return self

    def start_member(self, port: int) -> None:
        """Start (again) the member on a port."""
        folder = self.folder / str(port)
        (folder / "db").mkdir(parents=True, exist_ok=True)
        command = [
            str(find_mongod()), "--dbpath", str(folder / "db"), "--port", str(port), "--bind_ip", "127.0.0.1",
            "--nounixsocket", "--replSet", "three", "--wiredTigerCacheSizeGB", str(self.cache_gb),
            "--oplogSize", "200", "--setParameter", "diagnosticDataCollectionEnabled=false",
        ]  # fmt: skip
        self.members[port] = Child(command, folder / "mongod.log")
        self.members[port].wait_for_port(port, 60)

    def primary(self) -> int | None:
        """Return the port of the primary, if there is one."""
        for port in self.ports:
            try:
                with self._direct(port) as mongo:
                    if mongo.admin.command("hello").get("isWritablePrimary"):
                        return port
            except PyMongoError:
                continue
        return None

    def kill_primary(self) -> int:
        """Kill the primary with SIGKILL and return its port."""
        deadline = time.monotonic() + 30
        while (port := self.primary()) is None:
            assert time.monotonic() < deadline, "no primary to kill"
        child = self.members[port]
        os.kill(child.pid, signal.SIGKILL)
        child.process.wait(10)
        return port

    def stop(self) -> None:
        """End all members."""
        for child in self.members.values():
            child.process.kill()
            child.process.wait(10)

    @staticmethod
    def _direct(port: int) -> Client:
        return Client(f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=1000)
