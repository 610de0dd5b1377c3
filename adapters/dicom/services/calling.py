"""Associations that services open to peers: objects that are moved, reports of storage commitment."""

import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from adapters.dicom.network.association import Association, AssociationRefused
from adapters.dicom.network.connection import AssociationLost, Times
from adapters.dicom.network.peers import Peer
from adapters.dicom.network.requestor import Proposed, associate, client_context

#: what opening and using an association can fail with
FAILURES = (AssociationLost, AssociationRefused, OSError, TimeoutError, ssl.SSLError)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Calls peers under our AE title; ``certificate`` and ``key`` are files that are shown to those called with TLS."""

    title: str
    certificate: str = ""
    key: str = ""
    times: Times = Times()

    def call(self, peer: Peer, contexts: Sequence[Proposed]) -> AbstractAsyncContextManager[Association]:
        """Open an association; entering it raises one of ``FAILURES``."""
        tls = client_context(peer, self.certificate, self.key)
        return associate(peer.address, self.title, peer.title, contexts, tls=tls, times=self.times)
