"""Application entities that this server knows: who may do what, and where they are (PS3.8 7.1.1, PS3.15 B)."""

import enum
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec


class Right(enum.StrEnum):
    """What a peer may do here. C-ECHO needs none."""

    STORE = "store"
    QUERY = "query"
    RETRIEVE = "retrieve"
    WORKLIST = "worklist"
    STEP = "step"  # modality performed procedure steps
    COMMIT = "commit"  # storage commitment


class Peer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One application entity, as a table ``[[dicom_peer]]`` of the settings gives it.

    ``address`` is ``host:port`` where it listens: for C-MOVE to it and reports of storage commitment. ``hosts`` are
    the addresses or networks (10.1.0.0/16) it calls from, empty for any; ``certificate`` the SHA-256 of the one it
    must show (hex). ``charset`` is the Specific Character Set that its texts really have, whatever they say; empty:
    what they say. ``tls``: it is called with TLS, and must show a certificate that ``authorities`` (a PEM file)
    vouch for. ``reports``: those of storage commitment come on an association of their own, or on the one on which it
    was asked for, while that is open.
    """

    title: str
    address: str = ""
    hosts: tuple[str, ...] = ()
    rights: tuple[Right, ...] = tuple(Right)
    certificate: str = ""
    charset: str = ""
    tls: bool = False
    authorities: str = ""
    associations: int = 0  # at the same time, 0: as many as the port takes
    reports: Literal["new", "same"] = "new"

    def __post_init__(self) -> None:
        if not is_title(self.title):
            raise ValueError(f"title: '{self.title}' is no AE title (1 to 16 letters, no backslash)")
        for host in self.hosts:
            ipaddress.ip_network(host, strict=False)
        if self.address:
            split_address(self.address)

    def calls_from(self, address: str, certificate: str) -> bool:
        """Tell whether this may be the one who calls from an address (without port) with a certificate."""
        if self.certificate and self.certificate.replace(":", "").lower() != certificate.lower():
            return False
        if not self.hosts:
            return True
        try:
            caller = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped:
            caller = caller.ipv4_mapped
        return any(caller in ipaddress.ip_network(host, strict=False) for host in self.hosts)

    def may(self, right: Right | None) -> bool:
        """Tell whether it has a right; None is what everyone may."""
        return right is None or right in self.rights


class Peers:
    """The table of application entities. Titles are told apart by case, as the standard does."""

    def __init__(self, known: Iterable[Peer] = ()) -> None:
        self._known: dict[str, list[Peer]] = {}
        for peer in known:
            self._known.setdefault(peer.title, []).append(peer)

    @property
    def all(self) -> Sequence[Peer]:
        """Every entry."""
        return [peer for peers in self._known.values() for peer in peers]

    def destination(self, title: str) -> Peer | None:
        """Return the one of this title that can be called."""
        return next((peer for peer in self._known.get(title.strip(), ()) if peer.address), None)

    def caller(self, title: str, address: str, certificate: str = "", *, unknown: bool = False) -> Peer | None:
        """Return who calls; ``unknown``: one of a title that is not in the table may do everything, as anyone."""
        entries = self._known.get(title, ())
        found = next((peer for peer in entries if peer.calls_from(address, certificate)), None)
        if found is None and unknown and not entries and is_title(title):
            return Peer(title=title)
        return found


def is_title(text: str) -> bool:
    """Tell whether a text can be an AE title (PS3.5 6.2, VR AE)."""
    return 0 < len(text.strip(" ")) <= 16 and all(" " <= letter <= "~" and letter != "\\" for letter in text)


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; raise ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected host:port such as 127.0.0.1:11112, got '{address}'")
    return host.strip("[]"), int(port)
