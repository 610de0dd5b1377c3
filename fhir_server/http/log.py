"""Structured logs without patient data: one line a request, buffered; and the ordinary log of the process.

A request is logged by interaction and resource type, never by address, parameters, ids or client.
"""

import asyncio
import logging
import os
import sys
import time
import warnings
from datetime import UTC, datetime

import msgspec

_FLUSH_AFTER = 0.25
_FLUSH_AT = 500

Line = tuple[float, str, str, str | None, int, float, bytes]


class AccessLog:
    """Collects one line a request and writes them together a few times a second, off the request's path."""

    def __init__(self, descriptor: int, *, readable: bool) -> None:
        self._descriptor = descriptor
        self._readable = readable
        self._lines: list[Line] = []
        self._timer: asyncio.TimerHandle | None = None

    def record(
        self, method: str, interaction: str, type_: str | None, status: int, seconds: float, request_id: bytes
    ) -> None:
        """Note one answered request."""
        self._lines.append((time.time(), method, interaction, type_, status, seconds, request_id))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)
        elif len(self._lines) >= _FLUSH_AT:
            self._timer.cancel()
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            shape = _readable if self._readable else _structured
            _write(self._descriptor, b"".join(map(shape, lines)))


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger, process and message; an exception as type and trace, without its message."""
        entry: dict[str, object] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = record.exc_info[0].__name__
            entry["trace"] = _trace(record.exc_info)
        return msgspec.json.encode(entry).decode()


class ReadableFormatter(logging.Formatter):
    """One line for a person; an exception without its message, which could quote a resource."""

    def formatException(self, ei: object) -> str:  # noqa: N802  # logging's name
        """Return the exception's type and where it came from."""
        return f"{ei[0].__name__} at " + " < ".join(_trace(ei)) if isinstance(ei, tuple) and ei[0] else ""


def configure(level: str, format_: str) -> bool:
    """Send the process's log to standard error; return True if it is the readable form."""
    readable = format_ == "console" or (format_ == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ReadableFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s") if readable else JsonFormatter()
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("pymongo", "httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, root.level))
    silence_quoters()
    return readable


def silence_quoters() -> None:
    """Have libraries say nothing that quotes a patient's data: pydicom warns of every odd value with that value."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom\.")


def _trace(exc_info: object) -> list[str]:
    traceback = exc_info[2] if isinstance(exc_info, tuple) else None
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[::-1]


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _structured(line: Line) -> bytes:
    at, method, interaction, type_, status, seconds, request_id = line
    return (
        b'{"time":"%b","level":"info","logger":"request","pid":%d,"method":"%b","interaction":"%b","type":"%b",'
        b'"status":%d,"ms":%.2f,"request_id":"%b"}\n'
        % (
            _timestamp(at).encode(),
            os.getpid(),
            method.encode(),
            interaction.encode(),
            (type_ or "").encode(),
            status,
            seconds * 1000,
            request_id,
        )
    )


def _readable(line: Line) -> bytes:
    at, method, interaction, type_, status, seconds, request_id = line
    clock = datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")
    text = f"{clock} {status} {seconds * 1000:8.1f} ms  {method:6} {interaction} {type_ or ''}  {request_id.decode()}\n"
    return text.encode()


def _write(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return  # nobody reads the log any more, or the disk is full: serving goes on
