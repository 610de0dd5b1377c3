"""What every ``renkei messages`` command does: come to the desk, and show what fails as one line."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from fhir_server.commands.shared import Failure, as_served, database, settings_from
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.desk import Desk, NoSuchMessage, NotPossible
from fhir_server.core.messages import MessageJournal
from fhir_server.serving.folder import running_state
from fhir_server.settings import Settings, SettingsError

_T = TypeVar("_T")


class Office(msgspec.Struct, frozen=True):
    """The desk, and what is behind it.

    ``settled`` tells how many of some messages have which status in the end, waiting so many seconds for a running
    server to apply them; without one they are applied here and now.
    """

    desk: Desk
    journal: MessageJournal
    settings: Settings
    settled: Callable[[Sequence[str], float], Awaitable[dict[str, int]]]


def at_desk(data: str | None, work: Callable[[Office], Awaitable[_T]]) -> _T:
    """Do the work at the desk of this data folder."""
    from fhir_server.commands.messages_database import opened  # loads the whole server: not for who asks for help

    settings = as_served(settings_from({"data": data}))
    state = running_state(settings.data_folder)
    heard = state is not None and state.feeds is not None
    try:
        with database(settings) as url:
            return asyncio.run(opened(settings, url, heard, work))
    except (NoSuchMessage, NotPossible) as error:
        raise Failure(str(error), 1) from None
    except SettingsError as error:
        raise Failure(str(error)) from None
    except StoreUnavailable as error:
        raise Failure(f"the database does not answer: {error}") from None
