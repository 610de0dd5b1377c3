"""Bytes by content, in memory and in a folder."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.core.messages import BlobStore
from fhir_server.storage.blobs import LocalBlobs, MemoryBlobs


@pytest.fixture(params=["memory", "local"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MemoryBlobs() if request.param == "memory" else LocalBlobs(tmp_path / "a" / "blobs")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@given(content=st.binary(max_size=200))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_what_was_put_is_found_by_the_hash_of_its_content(blobs: BlobStore, content: bytes) -> None:
    address = await blobs.put(content)
    assert address.startswith("sha256:")
    assert await blobs.get(address) == content
    assert await blobs.put(content) == address


@pytest.mark.parametrize("address", ["sha256:" + "0" * 64, "", "sha256:../../etc/passwd", "md5:00"])
async def test_what_was_not_put_is_a_key_error(blobs: BlobStore, address: str) -> None:
    with pytest.raises(KeyError):
        await blobs.get(address)


async def test_the_same_bytes_are_one_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    await blobs.put(b"content")
    await blobs.put(b"content")
    (file,) = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_a_file_that_is_not_what_its_name_says_is_not_given_out_and_is_replaced(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    address = await blobs.put(b"content")
    (file,) = files(tmp_path)
    file.write_bytes(b"cont")
    with pytest.raises(KeyError):
        await blobs.get(address)
    assert await blobs.put(b"content") == address
    assert await blobs.get(address) == b"content"


async def test_a_failed_write_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fhir_server.storage.blobs.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        await LocalBlobs(tmp_path).put(b"content")
    assert not files(tmp_path)
