"""What several commands need: consoles, settings, the one failure that is shown to people, a client, a database."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
from rich.console import Console
from rich.markup import escape

from fhir_server.serving.folder import StartError, locked, running_state
from fhir_server.settings import Settings, SettingsError, read
from fhir_server.storage.mongo.embedded import DataFolderInUse, EmbeddedMongod, MongodFailed

DEFAULT_SERVER = "http://127.0.0.1:8080/fhir"
SERVER_HELP = f"FHIR base URL of the running server (default: that of the data folder, else {DEFAULT_SERVER})."
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


class Failure(Exception):
    """The command cannot do its work; the message is shown as it is (rich markup escaped)."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(escape(message))
        self.code = code


def console() -> Console:
    """Return the console for results."""
    return Console(highlight=False)


def errors() -> Console:
    """Return the console for progress and problems."""
    return Console(stderr=True, highlight=False)


def settings_from(flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; flags are those of the command that are not None."""
    try:
        return read(os.environ, flags)
    except SettingsError as error:
        raise Failure(str(error)) from None


def as_served(settings: Settings) -> Settings:
    """Return the settings with the address of the server that runs on the data folder, if one does.

    References that name this server by its URL are indexed by it, so whoever writes indexes must know it.
    """
    state = running_state(settings.data_folder)
    if state is None or settings.public_url:
        return settings
    root = state.base.removesuffix("/fhir")
    scheme, _, address = root.partition("://")
    if scheme == "http" and ":" in address:
        return msgspec.structs.replace(settings, http=address)
    return msgspec.structs.replace(settings, public_url=root)


def server_url(given: str | None) -> str:
    """Return the FHIR base to talk to: as given, else that of the server on the data folder, else the default."""
    if given:
        if not given.startswith(("http://", "https://")):
            raise Failure(f"--server: expected http://… or https://…, got '{given}'")
        return given.rstrip("/")
    with contextlib.suppress(Failure):
        state = running_state(settings_from().data_folder)
        if state is not None:
            return state.base
    return DEFAULT_SERVER


def check_types(types: list[str]) -> None:
    """Refuse what cannot be resource type names."""
    for name in types:
        if not _TYPE.fullmatch(name):
            raise Failure(f"'{name}' is not a resource type; write it as in Patient or Observation")


def unreachable(base: str, error: httpx.HTTPError) -> Failure:
    """Return the failure to show when no server answers."""
    return Failure(f"no answer from {base} ({type(error).__name__}); is it running? Start it with: renkei serve")


def explain(response: httpx.Response) -> str:
    """Return status and diagnostics of an answer that is an error."""
    try:
        issues = msgspec.json.decode(response.content, type=dict[str, Any]).get("issue", [])
        said = "; ".join(str(issue.get("diagnostics", issue.get("code"))) for issue in issues)
    except (msgspec.DecodeError, AttributeError):
        said = response.text[:200]
    return f"{response.status_code} {said}"


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the address of the database: as configured, of the running server, or of a mongod started for this."""
    if settings.mongodb_url:
        yield settings.mongodb_url
        return
    state = running_state(settings.data_folder)
    if state is not None:
        yield state.mongodb_url
        return
    if not Path(settings.data_folder).is_dir():
        raise Failure(f"there is no data folder {settings.data_folder}; set RENKEI_DATA or start a server first")
    try:
        with locked(settings.data_folder):
            mongod = EmbeddedMongod(settings.data_folder, settings.mongodb_cache)
            mongod.start()
            try:
                yield mongod.url
            finally:
                mongod.stop()
    except (StartError, MongodFailed, DataFolderInUse) as error:
        raise Failure(str(error)) from None
