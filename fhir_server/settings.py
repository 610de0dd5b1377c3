"""The settings of one server: a frozen value, read once from defaults, a TOML file, the environment and flags."""

import difflib
import ipaddress
import os
import tomllib
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

NAME = "Renkei"
PREFIX = "RENKEI_"
ALLOW_PUBLIC = "yes-anyone-can-read-and-change-everything"
_MEBIBYTE = 1024 * 1024
_ONLY_IN_FILE = ("mllp_port", "dicom_port", "dicom_peer")
_NOT_SETTINGS = ("RENKEI_CONFIG", "RENKEI_TEST_", "RENKEI_BENCH_")


class SettingsError(Exception):
    """A setting is unknown or its value cannot be used; the message names the setting, its source and a remedy."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its default. The environment name is ``RENKEI_`` and the name in capitals.

    ``http`` is ``host:port`` (port 0: any free port). ``public_url`` is what clients use to reach the server if it
    differs from the Host header they send (behind a proxy), without a trailing slash. Sizes ending in ``_mb`` are
    mebibytes, times are seconds. ``concurrency`` is per worker. ``workers`` 0 means one for each core,
    ``mongodb_cache_mb`` 0 a quarter of the machine's memory within 256 and 2048. ``mllp`` are the addresses that hear
    HL7 v2 messages, separated by commas; empty for none. ``mllp_port`` are further ones: tables ``[[mllp_port]]`` in
    renkei.toml with ``address`` and the listener's other options of a port. ``feeds_grade`` is what is done about the
    form of messages where neither port nor source says it. ``dicom`` are the addresses that hear DICOM associations,
    separated by commas, empty for none, under the AE title ``dicom_title``; ``dicom_port`` further ones, tables
    ``[[dicom_port]]`` in renkei.toml, and ``dicom_peer`` the application entities that are known, tables
    ``[[dicom_peer]]``. ``dicom_private_classes`` are SOP Class UIDs that are stored beside the standard's, separated by
    commas. ``images_reserve_mb``: with less room on the disk, images are refused; ``images_upkeep``: the process that
    sees to images runs where no DICOM is heard, too. ``dicomweb_limit_mb`` is the largest body of a STOW-RS request,
    ``dicomweb_origins`` are other origins whose pages may read DICOMweb, with commas.
    ``viewer`` is what opens at /viewer: our own page, or OHIF where it is installed.
    """

    data: str = "data"
    http: str = "127.0.0.1:8080"
    public_url: str = ""
    mllp: str = "127.0.0.1:2575"
    mllp_port: tuple[dict[str, Any], ...] = ()  # TOML tables, parsed by the listener's own types
    feeds_grade: Literal["off", "report", "strict"] = "report"
    dicom: str = "127.0.0.1:11112"
    dicom_title: str = "RENKEI"
    dicom_port: tuple[dict[str, Any], ...] = ()  # TOML tables, parsed by the listener's own types
    dicom_peer: tuple[dict[str, Any], ...] = ()  # likewise
    dicom_private_classes: str = ""
    images_reserve_mb: int = 512
    images_upkeep: bool = True
    dicomweb_limit_mb: int = 4096
    dicomweb_origins: str = ""
    viewer: Literal["own", "ohif"] = "own"
    allow_unprotected_public_access: str = ""
    mongodb_url: str = ""
    mongodb_database: str = "renkei"
    mongodb_cache_mb: int = 0
    workers: int = 0
    timezone: str = "Asia/Tokyo"
    cache: str = "~/.cache/renkei"
    body_limit_mb: int = 50
    body_budget_mb: int = 400
    header_limit_kb: int = 64
    header_count: int = 100
    url_limit_kb: int = 16
    header_timeout: float = 20.0
    body_timeout: float = 60.0
    request_timeout: float = 60.0
    drain_timeout: float = 20.0
    concurrency: int = 256
    refresh_seconds: float = 2.0
    chain_limit: int = 100_000
    page_default: int = 20
    page_limit: int = 1000
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    access_log: bool = True

    @property
    def data_folder(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data).expanduser().absolute()

    @property
    def packages_folder(self) -> Path:
        """Where packages added to this data folder are kept."""
        return self.data_folder / "packages"

    @property
    def sources_folder(self) -> Path:
        """Where sending systems are described, one file each."""
        return self.data_folder / "sources"

    @property
    def blobs_folder(self) -> Path:
        """Where bytes too large for a row of the database are kept."""
        return self.data_folder / "blobs"

    @property
    def origins(self) -> tuple[str, ...]:
        """Other origins whose pages may read DICOMweb."""
        return tuple(part.strip() for part in self.dicomweb_origins.split(",") if part.strip())

    @property
    def images_folder(self) -> Path:
        """Where the bytes of images are kept."""
        return self.data_folder / "images"

    @property
    def thumbnails_folder(self) -> Path:
        """Where thumbnails are kept; it may be deleted at any time."""
        return self.data_folder / "thumbnails"

    @property
    def ohif_folder(self) -> Path:
        """Where the OHIF viewer is installed if it is."""
        return self.data_folder / "viewer" / "ohif"

    @property
    def cache_folder(self) -> Path:
        """The folder of downloaded and digested packages as an absolute path."""
        return Path(self.cache).expanduser().absolute()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return split_address(self.http, "http")

    @property
    def mllp_addresses(self) -> tuple[str, ...]:
        """Every address that hears HL7 v2 messages, as ``host:port``: those of ``mllp`` come first."""
        return _addresses(self.mllp, self.mllp_port)

    @property
    def dicom_addresses(self) -> tuple[str, ...]:
        """Every address that hears DICOM associations, as ``host:port``: those of ``dicom`` come first."""
        return _addresses(self.dicom, self.dicom_port)

    @property
    def mongodb_cache(self) -> int:
        """The cache of the private database in mebibytes, with 0 resolved."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MEBIBYTE
        return self.mongodb_cache_mb or max(256, min(memory // 4, 2048))

    @property
    def worker_count(self) -> int:
        """The number of HTTP workers, with 0 resolved to the number of usable cores."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The zone of dates and times that carry none."""
        return zoneinfo.ZoneInfo(self.timezone)

    @property
    def body_limit(self) -> int:
        """The largest request body in bytes, before and after decompression."""
        return self.body_limit_mb * _MEBIBYTE


def _addresses(plain: str, tables: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:  # tables are TOML
    parts = (part.strip() for part in plain.split(","))
    return (*(part for part in parts if part), *(str(table.get("address", "")) for table in tables))


def split_address(text: str, name: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{name}: expected host:port such as 127.0.0.1:8080, got '{text}'")
    return host.strip("[]"), int(port)


def read(
    environment: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,  # flags come parsed, of any type
) -> Settings:
    """Return the settings: defaults, then the file, then the environment, then the flags that are not None."""
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    from_environment = _environment(environment)
    data = given.get("data", from_environment.get("data"))
    merged: dict[str, Any] = _file(environment.get("RENKEI_CONFIG", ""), data)  # values of any TOML type
    merged.update(from_environment)
    merged.update(given)
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error))) from None
    _check(settings)
    return settings


def _environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}  # text, or what was parsed from it
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(_NOT_SETTINGS):
            continue
        name = variable.removeprefix(PREFIX).lower()
        _known(name, f"environment variable {variable}", lambda near: PREFIX + near.upper())
        if name in _ONLY_IN_FILE:
            raise SettingsError(f"environment variable {variable}: {name} can only be set in renkei.toml")
        found[name] = value
    return found


def _file(config: str, data: str | None) -> dict[str, Any]:
    path = Path(config).expanduser() if config else Path(data or Settings().data).expanduser() / "renkei.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if config:
            raise SettingsError(f"RENKEI_CONFIG: no file at {path}") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    for name in content:
        _known(name, f"key '{name}' in {path}", lambda near: f"'{near}'")
    return content


def _known(name: str, source: str, spell: Any) -> None:  # spell: str -> str
    fields = Settings.__struct_fields__
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
        hint = f"; did you mean {spell(near[0])}?" if near else f"; known: {', '.join(fields)}"
        raise SettingsError(f"{source}: no such setting{hint}")


def _explain(message: str) -> str:
    """Turn msgspec's ``Expected `int`, got `str` - at `$.workers``` into a line about the setting."""
    what, _, where = message.partition(" - at `$.")
    name = where.rstrip("`").split("[")[0]
    return f"{name or 'settings'}: {what}" + (f" (RENKEI_{name.upper()}, {name} in renkei.toml)" if name else "")


def _check(settings: Settings) -> None:
    host, _ = settings.address
    if settings.allow_unprotected_public_access not in ("", ALLOW_PUBLIC):
        raise SettingsError(f"allow_unprotected_public_access: the only value is '{ALLOW_PUBLIC}'")
    if not is_loopback(host) and settings.allow_unprotected_public_access != ALLOW_PUBLIC:
        raise SettingsError(
            f"http: {settings.http} is reachable from other machines and this version has no access control: "
            f"use 127.0.0.1, or set RENKEI_ALLOW_UNPROTECTED_PUBLIC_ACCESS={ALLOW_PUBLIC}"
        )
    try:
        zoneinfo.ZoneInfo(settings.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise SettingsError(
            f"timezone: '{settings.timezone}' is not a time zone name such as Asia/Tokyo or UTC"
        ) from None
    if settings.mongodb_url and not settings.mongodb_url.startswith(("mongodb://", "mongodb+srv://")):
        raise SettingsError("mongodb_url: expected mongodb://… or mongodb+srv://…")
    if not settings.mongodb_database or set(settings.mongodb_database) & set('/\\. "$*<>:|?'):
        raise SettingsError(f"mongodb_database: '{settings.mongodb_database}' is not a database name")
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        raise SettingsError("public_url: expected http://… or https://…")
    _check_listeners(settings, "mllp", settings.mllp_addresses, settings.mllp_port)
    _check_listeners(settings, "dicom", settings.dicom_addresses, settings.dicom_port)
    _check_numbers(settings)


def _check_listeners(settings: Settings, setting: str, addresses: Sequence[str], given: Sequence[Any]) -> None:
    """Check the addresses of ``setting`` and of its tables, which are TOML and come last."""
    tables: list[dict[str, Any]] = [{}] * (len(addresses) - len(given))  # TOML tables
    for address, table in zip(addresses, [*tables, *given], strict=True):
        name = f"{setting}_port: address" if table else setting
        host, port = split_address(address, name)
        if port and addresses.count(address) > 1:
            raise SettingsError(f"{name}: {address} is given twice")
        if bool(table.get("certificate")) != bool(table.get("key")):
            raise SettingsError(f"{setting}_port: {address}: certificate and key belong together")
        certain = table.get("certificate") and table.get("client_authorities")
        if not is_loopback(host) and not certain and settings.allow_unprotected_public_access != ALLOW_PUBLIC:
            raise SettingsError(
                f"{name}: {address} is reachable from other machines: let it ask for certificates (a table "
                f"[[{setting}_port]] in renkei.toml with certificate, key and client_authorities), use 127.0.0.1, or "
                f"set RENKEI_ALLOW_UNPROTECTED_PUBLIC_ACCESS={ALLOW_PUBLIC}"
            )


def _check_numbers(settings: Settings) -> None:
    zero_is_fine = {"workers", "mongodb_cache_mb"}
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least = 0 if name in zero_is_fine else 1 if isinstance(value, int) else 0.01
        if value < least:
            raise SettingsError(f"{name}: {value} is too small, the least is {least}")
    if settings.workers > 256:
        raise SettingsError(f"workers: {settings.workers} is too many, the most is 256")
    if settings.page_default > settings.page_limit:
        raise SettingsError(f"page_default: {settings.page_default} is over page_limit {settings.page_limit}")


def is_loopback(host: str) -> bool:
    """Tell whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
