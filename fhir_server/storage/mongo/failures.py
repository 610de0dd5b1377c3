"""Which MongoDB errors mean: not now. They become :class:`~fhir_server.core.change.StoreUnavailable`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from fhir_server.core.change import StoreUnavailable

DUPLICATE_KEY = 11000
SNAPSHOT_GONE = frozenset({239, 246})  # SnapshotTooOld, SnapshotUnavailable
TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"

_NOT_NOW = frozenset({
    6, 7, 89, 9001,  # host, network
    50, 262,  # time limit
    64, 79, 91, 100,  # write concern, shutdown
    112, 251,  # conflict, transaction gone
    134, 189, 202, 211, 222, 244, 246, 290,  # replication state, limits, transaction too large for cache
    10107, 11600, 11602, 13435, 13436,  # not primary, interrupted
    14031,  # out of disk space
    39, 8, 1,  # file stream, unknown and internal errors: what a full or broken disk looks like
})  # fmt: skip


def not_now(error: PyMongoError) -> bool:
    """Return whether a later attempt may succeed without anyone changing the program."""
    if isinstance(error, ConnectionFailure | ServerSelectionTimeoutError | NetworkTimeout | ExecutionTimeout):
        return True
    if isinstance(error, WaitQueueTimeoutError | WriteConcernError):
        return True
    if error.has_error_label(TRANSIENT) or error.has_error_label("RetryableWriteError"):
        return True
    if isinstance(error, BulkWriteError):
        details = error.details
        codes = {found.get("code") for found in details.get("writeErrors", ())}
        return bool(details.get("writeConcernErrors")) or bool(codes & _NOT_NOW)
    if isinstance(error, OperationFailure):
        return error.code in _NOT_NOW
    return isinstance(error, InvalidOperation) and "after close" in str(error)


class DatabaseFailed(Exception):
    """The database refused what it should have taken: a fault of this program. It quotes no data."""


def unavailable(error: PyMongoError) -> StoreUnavailable:
    """Return the contract's error."""
    return StoreUnavailable(f"the database cannot serve now ({_kind(error)})")


def plain(error: PyMongoError) -> StoreUnavailable | DatabaseFailed:
    """Return an error that says what kind it is and nothing else: MongoDB's own messages quote whole documents."""
    return unavailable(error) if not_now(error) else DatabaseFailed(_kind(error))


def _kind(error: PyMongoError) -> str:
    codes = {getattr(error, "code", None)}
    if isinstance(error, BulkWriteError):
        codes = {found.get("code") for found in error.details.get("writeErrors", ())}
    return " ".join([type(error).__name__, *(str(code) for code in codes if code)])


@contextmanager
def translated() -> Iterator[None]:
    """Turn database failures into the contract's, without the data they quote; what was cancelled is.

    PyMongo sends with asyncio.wait_for, which in Python 3.11 loses a cancellation that comes when it has just sent: a
    job that is cancelled once would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except PyMongoError as error:
        raise plain(error) from None
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
