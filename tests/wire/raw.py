"""Bytes on a socket, for requests that no client library would send."""

import socket
from typing import Any, Self

import msgspec

from tests.wire.live import Live


class Raw:
    """One connection to a server."""

    def __init__(self, live: Live, seconds: float = 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", live.port), timeout=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; a server that has closed already is no failure, its answer is what counts."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers in lower case, body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += self._more()
        return int(first.split()[1]), headers, body

    def closed(self) -> bool:
        """Wait until the server closes the connection."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> bytes:
        piece = self.socket.recv(65536)
        assert piece, "the server closed the connection without an answer"
        return piece


def outcome(body: bytes) -> dict[str, Any]:
    """Return the body, which must be an OperationOutcome with a reason."""
    decoded: dict[str, Any] = msgspec.json.decode(body)
    assert decoded["resourceType"] == "OperationOutcome"
    assert decoded["issue"][0]["diagnostics"]
    return decoded
