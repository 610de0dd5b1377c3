"""A modality for fault tests: sends its images until each is acknowledged, as a real one does, and remembers which."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx

from adapters.dicom.dataset.meta import FileMeta, split
from adapters.dicom.network.association import AssociationRefused
from adapters.dicom.network.commands import Status
from adapters.dicom.network.connection import AssociationLost, Times
from adapters.dicom.network.offers import EXPLICIT_LITTLE
from adapters.dicom.network.requestor import Proposed, associate
from adapters.dicom.services import store

CT = "1.2.840.10008.5.1.4.1.1.2"
_FAILURES = (AssociationLost, AssociationRefused, OSError, TimeoutError)


class Image(NamedTuple):
    """One image: its meta and the bytes after it."""

    meta: FileMeta
    dataset: bytes

    @classmethod
    def read(cls, path: Path) -> "Image":
        """Read a file."""
        content = path.read_bytes()
        meta, start = split(content)
        return cls(meta, content[start:])


class Ledger:
    """What was acknowledged, and what else was said."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.refused: list[int] = []
        self.lost = 0


async def deliver(address: str, images: Sequence[Image], ledger: Ledger) -> None:
    """Send all, in associations one after the other, each image again until it is acknowledged."""
    waiting = deque(images)
    while waiting:
        try:
            times = Times(artim=20, answer=30)
            async with associate(address, "CT1", "RENKEI", [Proposed(CT, (EXPLICIT_LITTLE,))], times=times) as peer:
                while waiting:
                    image = waiting[0]
                    answer = await store.send(peer, CT, image.meta.sop_instance, EXPLICIT_LITTLE, image.dataset)
                    assert answer is not None
                    if answer.status != Status.SUCCESS:
                        ledger.refused.append(answer.status)
                        await asyncio.sleep(0.05)
                        continue
                    ledger.acknowledged.add(image.meta.sop_instance)
                    waiting.popleft()
        except _FAILURES:
            ledger.lost += 1
            await asyncio.sleep(0.05)


async def fetched(http: httpx.AsyncClient, root: str, uid: str) -> bytes | None:
    """Return a stored object's DICOM file by WADO-RS, None if it is not there."""
    found = await http.get(f"{root}/instances", params={"SOPInstanceUID": uid})
    if found.status_code != 200:
        return None
    (answer,) = found.json()
    study, series = (answer[tag]["Value"][0] for tag in ("0020000D", "0020000E"))
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    got = await http.get(f"{root}/studies/{study}/series/{series}/instances/{uid}", headers=accept)
    if got.status_code != 200:
        return None
    boundary = got.headers["content-type"].partition("boundary=")[2].partition(";")[0].strip('"')
    _, part, _ = got.content.split(f"--{boundary}".encode())
    content = part.partition(b"\r\n\r\n")[2]
    return content.removesuffix(b"\r\n")


async def missing(root: str, images: Sequence[Image], ledger: Ledger) -> list[str]:
    """Return which acknowledged images cannot be had, byte for byte."""
    wrong = []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        for image in images:
            uid = image.meta.sop_instance
            if uid not in ledger.acknowledged:
                continue
            content = await fetched(http, root, uid)
            if content is None:
                wrong.append(f"{uid}: not there")
            elif content[split(content)[1] :] != image.dataset:
                wrong.append(f"{uid}: other bytes")
    return wrong


async def counts(base: str) -> dict[str, int]:
    """Return the number of instances of each ImagingStudy, by Study Instance UID."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        bundle = (await http.get(f"{base}/ImagingStudy", params={"_count": "1000"})).json()
    found = {}
    for entry in bundle.get("entry", ()):
        resource = entry["resource"]
        uid = next(one["value"] for one in resource["identifier"] if one.get("system") == "urn:dicom:uid")
        listed = sum(len(series.get("instance", ())) for series in resource["series"])
        assert listed == resource["numberOfInstances"]
        found[uid.removeprefix("urn:oid:")] = resource["numberOfInstances"]
    return found


async def until_counted(base: str, expected: dict[str, int], seconds: float) -> dict[str, int]:
    """Return the counts once they are as expected, or after so long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    found: dict[str, int] = {}
    while loop.time() < end:
        with contextlib.suppress(httpx.HTTPError):
            found = await counts(base)
        if found == expected:
            break
        await asyncio.sleep(0.1)
    return found
