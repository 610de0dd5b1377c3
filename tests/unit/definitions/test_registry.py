"""Packages are read safely, kept with their hash, and digested once."""

import os
import time
from pathlib import Path

import pytest

from fhir_server.definitions import obtain, package, registry
from fhir_server.definitions.digest import search_parameter
from fhir_server.definitions.model import Definitions
from fhir_server.definitions.package import PackageError
from tests.unit.definitions.packages import folder, manifest, parameter, tgz


@pytest.fixture
def own_cache(tmp_path: Path, cache: Path, definitions: Definitions) -> Path:
    """A cache of the test's own with the core package in it."""
    made = tmp_path / "cache"
    made.mkdir()
    (made / obtain.CORE_FILE).symlink_to(cache / obtain.CORE_FILE)
    return made


def guide(path: Path, **more: object) -> Path:
    return tgz(path, {"package/package.json": manifest(**more), "package/SearchParameter-nick.json": parameter("nick")})


def test_a_cached_digest_equals_a_fresh_one(own_cache: Path, definitions: Definitions) -> None:
    assert registry.load(own_cache) == definitions
    assert registry.load(own_cache) == definitions
    assert len(list(own_cache.glob("definitions-*.msgpack"))) == 1


def test_a_warm_load_takes_less_than_half_a_second(cache: Path, definitions: Definitions) -> None:
    began = time.thread_time()
    registry.load(cache)
    assert time.thread_time() - began < 0.5


def test_a_damaged_cached_digest_is_made_again(own_cache: Path, definitions: Definitions) -> None:
    registry.load(own_cache)
    (kept,) = own_cache.glob("definitions-*.msgpack")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert registry.load(own_cache) == definitions


def test_old_digests_are_forgotten(own_cache: Path) -> None:
    for number in range(20):
        old = own_cache / f"definitions-{number}.msgpack"
        old.write_bytes(b"")
        os.utime(old, (number, number))
    registry.load(own_cache)
    assert len(list(own_cache.glob("definitions-*.msgpack"))) == registry.KEPT_DIGESTS


def test_packages_are_merged_and_a_changed_package_is_seen(own_cache: Path, tmp_path: Path) -> None:
    path = guide(tmp_path / "guide.tgz")
    codes = {p.code for p in registry.load(own_cache, [path]).parameters_of("Patient")}
    assert {"nick", "birthdate"} <= codes
    tgz(path, {"package/package.json": manifest(), "package/p.json": parameter("moniker")})
    codes = {p.code for p in registry.load(own_cache, [path]).parameters_of("Patient")}
    assert "moniker" in codes
    assert "nick" not in codes


def test_a_folder_is_a_package_too(own_cache: Path, tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain", {"package.json": manifest(), "p.json": parameter("nick")})
    nested = tmp_path / "nested"
    folder(nested / "package", {"package.json": manifest("nested.guide"), "p.json": parameter("moniker")})
    loaded = registry.load(own_cache, [plain, nested])
    assert {"nick", "moniker"} <= {p.code for p in loaded.parameters_of("Patient")}
    assert [p.name for p in loaded.packages] == ["hl7.fhir.r4.core", "test.guide", "nested.guide"]


def test_a_package_cannot_redefine_a_base_type(own_cache: Path, tmp_path: Path, definitions: Definitions) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/Patient"
    rogue = {"resourceType": "StructureDefinition", "url": url, "type": "Patient", "kind": "resource",
             "snapshot": {"element": [{"path": "Patient"}]}}  # fmt: skip
    path = tgz(tmp_path / "rogue.tgz", {"package/package.json": manifest(), "package/sd.json": rogue})
    assert registry.load(own_cache, [path]).structures == definitions.structures


def test_dependencies_are_loaded_first(own_cache: Path, tmp_path: Path) -> None:
    above = guide(tmp_path / "above.tgz", name="above", dependencies={"below": "1.0.x"})
    below = guide(tmp_path / "below.tgz", name="below", version="1.0.7")
    loaded = registry.load(own_cache, [above, below])
    assert [p.name for p in loaded.packages] == ["hl7.fhir.r4.core", "below", "above"]
    assert all(not line.missing for line in registry.describe(loaded))


def test_missing_dependencies_are_listed(own_cache: Path, tmp_path: Path) -> None:
    needs = {"hl7.fhir.r4.core": "4.0.0", "far.away": "2.0.0"}
    loaded = registry.load(own_cache, [guide(tmp_path / "guide.tgz", dependencies=needs)])
    core, line = registry.describe(loaded)
    assert core.missing == ()
    assert line.missing == (
        "test.guide 1.0.0 needs hl7.fhir.r4.core 4.0.0: version 4.0.1 is loaded instead",
        "test.guide 1.0.0 needs far.away 2.0.0: it is not loaded",
    )


def test_an_added_package_is_kept_with_its_hash_and_replaces_another_version(own_cache: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    registry.add(data, guide(tmp_path / "one.tgz"))
    kept = registry.add(data, guide(tmp_path / "two.tgz", version="2.0.0"))
    assert kept.version == "2.0.0"
    (path,) = registry.added(data)
    assert package.sha256(path) == kept.sha256
    assert "nick" in {p.code for p in registry.load(own_cache, registry.added(data)).parameters_of("Patient")}


def test_an_added_folder_is_packed(tmp_path: Path) -> None:
    source = folder(tmp_path / "plain", {"package.json": manifest(), "p.json": parameter("nick")})
    kept = registry.add(tmp_path / "data", source)
    (path,) = registry.added(tmp_path / "data")
    assert package.describe(path) == kept
    assert [name for name, _ in package.files(path)] == ["p.json"]


def test_a_package_changed_after_it_was_added_is_refused(tmp_path: Path) -> None:
    registry.add(tmp_path / "data", guide(tmp_path / "guide.tgz"))
    (path,) = registry.added(tmp_path / "data")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PackageError, match="changed"):
        registry.added(tmp_path / "data")


def test_adding_without_a_dependency_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = guide(tmp_path / "guide.tgz", dependencies={"far.away": "2.0.0"})
    with pytest.raises(PackageError, match=r"test.guide 1.0.0 needs far.away 2.0.0"):
        registry.add(tmp_path / "data", path)
    assert registry.added(tmp_path / "data") == ()
    registry.add(tmp_path / "data", path, allow_missing=True)
    assert len(registry.added(tmp_path / "data")) == 1


@pytest.mark.parametrize("name", ["../outside", "package/../../outside.json", "/etc/outside.json"])
def test_a_package_with_a_file_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = tgz(tmp_path / "bad.tgz", {"package/package.json": manifest(), name: b"{}"})
    with pytest.raises(PackageError, match="outside"):
        registry.add(tmp_path / "data", path)


def test_a_package_whose_name_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="not a package name"):
        registry.add(tmp_path / "data", guide(tmp_path / "guide.tgz", name="../../evil"))


def test_a_folder_with_a_link_leading_outside_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "plain", {"package.json": manifest()})
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (source / "link.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(PackageError, match="link"):
        registry.add(tmp_path / "data", source)


def test_a_package_for_another_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"5\.0\.0"):
        package.describe(tgz(tmp_path / "r5.tgz", {"package/package.json": manifest() | {"fhirVersions": ["5.0.0"]}}))


def test_what_is_not_a_package_is_refused_clearly(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no package at"):
        package.describe(tmp_path / "absent.tgz")
    (tmp_path / "text.tgz").write_text("hello", encoding="utf-8")
    with pytest.raises(PackageError, match="not a readable"):
        package.describe(tmp_path / "text.tgz")
    with pytest.raises(PackageError, match=r"package\.json"):
        package.describe(tgz(tmp_path / "bare.tgz", {"package/p.json": parameter("nick")}))


def test_a_broken_file_is_named(own_cache: Path, tmp_path: Path) -> None:
    path = tgz(tmp_path / "broken.tgz", {"package/package.json": manifest(), "package/oops.json": b'{"a": '})
    with pytest.raises(PackageError, match=r"oops\.json"):
        registry.load(own_cache, [path])


def test_without_the_core_package_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="obtain"):
        registry.load(tmp_path)


def test_further_parameters_make_the_next_generation(definitions: Definitions) -> None:
    extra = search_parameter(parameter("nick"))
    other = search_parameter(parameter("birthdate", url="http://hl7.org/fhir/SearchParameter/individual-birthdate"))
    changed = registry.with_parameters(definitions, [extra, other])
    assert changed.generation == definitions.generation + 1
    assert len(changed.search_parameters) == len(definitions.search_parameters) + 1
    assert {p.expression for p in changed.parameters_of("Patient") if p.code == "birthdate"} == {"Patient.name.text"}
    assert "nick" not in {p.code for p in definitions.parameters_of("Patient")}
