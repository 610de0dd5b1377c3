"""What an adapter is given at run time: the door, and the ports. It knows nothing of who is behind them."""

from datetime import tzinfo

import msgspec

from fhir_server.core.messages import BlobStore, MessageJournal
from fhir_server.core.ports import Clock, IdSource
from fhir_server.core.request import Handle
from fhir_server.core.tables import Tables


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """``handle`` is the door, ``tables`` hold rows beside the resources.

    ``base`` is the server's FHIR base URL; ``zone`` that of times which carry none.
    """

    handle: Handle
    tables: Tables
    journal: MessageJournal
    blobs: BlobStore
    clock: Clock
    ids: IdSource
    zone: tzinfo
    base: str
