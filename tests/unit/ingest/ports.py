"""In-memory ports for tests of receiving."""

import hashlib


class SteppingClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class NumberedIds:
    """Ids in order."""

    def __init__(self) -> None:
        self.last = 0

    def new_id(self) -> str:
        self.last += 1
        return f"00000000-0000-4000-8000-{self.last:012d}"


class Memory:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        address = "sha256:" + hashlib.sha256(content).hexdigest()
        self.kept[address] = content
        return address

    async def get(self, address: str) -> bytes:
        return self.kept[address]
