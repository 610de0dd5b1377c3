"""Associations that this end opens: to echo, to send, to report (PS3.8 7.1.1)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence

from adapters.dicom.network.association import Association, AssociationRefused
from adapters.dicom.network.connection import AssociationLost, Times
from adapters.dicom.network.negotiation import numbered, requested_roles
from adapters.dicom.network.offers import Offers
from adapters.dicom.network.pdu import AssociateRequest, Proposed
from adapters.dicom.network.peers import Peer, split_address
from adapters.dicom.network.upper_layer import MAX_LENGTH
from adapters.dicom.network.user_items import UserInformation

_MOST_CONTEXTS = 128


@contextlib.asynccontextmanager
async def associate(
    address: str,
    calling: str,
    called: str,
    contexts: Sequence[Proposed],
    *,
    tls: ssl.SSLContext | None = None,
    offers: Offers | None = None,
    times: Times | None = None,
    max_length: int = MAX_LENGTH,
) -> AsyncIterator[Association]:
    """Open an association to ``address`` (host:port), and release it at the end; abort it after an exception.

    ``offers`` are what the peer may ask of us on it (C-STORE of a C-GET). Raise AssociationRefused, AssociationLost,
    OSError or TimeoutError.
    """
    if not 0 < len(contexts) <= _MOST_CONTEXTS:
        raise ValueError(f"{len(contexts)} presentation contexts; there can be 1 to {_MOST_CONTEXTS}")
    times = times or Times()
    host, port = split_address(address)
    association = Association(offers, times=times, max_length=max_length)
    association.calling, association.called = calling, called
    association.asked = AssociateRequest(
        called=called,
        calling=calling,
        contexts=numbered(contexts),
        user=UserInformation(max_length=max_length, roles=requested_roles(contexts)),
    )
    loop = asyncio.get_running_loop()
    name = host if tls is not None else None
    async with asyncio.timeout(times.artim or None):
        await loop.create_connection(lambda: association.connection, host, port, ssl=tls, server_hostname=name)
        try:
            await association.established()
        except BaseException:
            association.abort("given up")
            association.connection.close_now("given up")
            raise
    try:
        yield association
    except BaseException:
        association.abort("given up")
        raise
    else:
        await association.release()
    finally:
        association.connection.close_now("done")


def client_context(peer: Peer, certificate: str = "", key: str = "") -> ssl.SSLContext | None:
    """Return the TLS settings to call a peer with, None if it is called without; raise OSError or ssl.SSLError."""
    if not peer.tls:
        return None
    context = ssl.create_default_context(cafile=peer.authorities or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(certificate, key or None)
    return context


__all__ = ("AssociationLost", "AssociationRefused", "Proposed", "associate", "client_context")
