"""What every process of the server does: learn its place and settings, wait for the database, leave in order.

The supervisor speaks to it through standard input (a line of settings, a line with the database's address; the end of
the stream means the supervisor is gone and the process must go too) and hears its state on standard output.
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from fhir_server.core.change import StoreUnavailable
from fhir_server.settings import Settings
from fhir_server.storage.mongo.store import MongoStore

_RETRY_SECONDS = 0.5


def read_settings() -> Settings:
    """Return the settings that the supervisor sent; from now on Ctrl-C is the supervisor's to see to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)


def read_address() -> str:
    """Wait for the database's address; empty if there will be none."""
    gc.collect()
    gc.freeze()  # the definitions live as long as the process: the collector need not look at them again
    gc.set_threshold(100_000, 20, 50)  # a transaction makes many objects and few cycles
    say("compiled")
    return sys.stdin.buffer.readline().decode().strip()


def stop_event(drain_timeout: float) -> asyncio.Event:
    """Return what is set when the process is to leave: told so, or its supervisor gone."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    threading.Thread(target=_watch_supervisor, args=(drain_timeout,), daemon=True).start()
    return stopping


async def prepared(store: MongoStore, stopping: asyncio.Event) -> bool:
    """Create what the store needs, waiting for a database that does not answer yet; False if told to stop."""
    while not stopping.is_set():
        try:
            await store.prepare()
        except StoreUnavailable as error:
            say("waiting", str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS):
                    await stopping.wait()
        else:
            return True
    return False


def say(state: str, problem: str = "") -> None:
    """Tell the supervisor: ``compiled``, ``waiting``, ``ready`` or ``failed``."""
    line = json.dumps({"state": state, "problem": problem})
    with contextlib.suppress(OSError):
        os.write(1, line.encode() + b"\n")


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _watch_supervisor(drain_timeout: float) -> None:
    """Leave when the supervisor is gone, however busy the event loop is."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(drain_timeout)
    os._exit(1)
