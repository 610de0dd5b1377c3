"""What a running server holds: the lock and the state file of its data folder, and its listening socket."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec

STATE_FILE = "server.json"
_LOCK_FILE = "lock"


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


class State(msgspec.Struct, frozen=True):
    """What a running server leaves in its data folder for other commands."""

    pid: int
    base: str
    mongodb_url: str
    mongod_pid: int | None
    workers: tuple[int, ...]
    mllp: tuple[str, ...] = ()  # addresses that hear HL7 v2 messages, as host:port
    feeds: int | None = None  # the process that hears and applies them
    dicom: tuple[str, ...] = ()  # addresses that hear DICOM associations, as host:port
    imaging: int | None = None  # the process that hears them and indexes images


def running_state(data: Path) -> State | None:
    """Return the state of the server running on this data folder, None if there is none."""
    try:
        with (data / _LOCK_FILE).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return msgspec.json.decode((data / STATE_FILE).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    return None


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the data folder for this process; raise StartError if another server has it."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(data / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"the data folder {data} cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(_in_use(data)) from None
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def bound(address: tuple[str, int], setting: str) -> Iterator[socket.socket]:
    """Hold an address to listen on; raise StartError, naming the setting, if it cannot be had."""
    host, port = address
    shown = shown_address(address)
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise StartError(f"cannot listen on {shown} ({setting}): {error.strerror}") from None
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StartError(
                    f"{shown} is in use by another program; stop it or choose another address with {setting}"
                ) from None
            raise StartError(f"cannot listen on {shown} ({setting}): {error.strerror}") from None
        yield listener


def shown_address(address: tuple[str, int]) -> str:
    """Return ``host:port`` or ``[v6]:port``."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_use(data: Path) -> str:
    state = running_state(data)
    who = f" (process {state.pid}, {state.base})" if state else ""
    return f"a server is already running on the data folder {data}{who}; stop it or choose another with RENKEI_DATA"
