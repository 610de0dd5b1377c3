"""The state machine of the Upper Layer: events, states and actions (PS3.8 9.2, table 9-10)."""

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.IntEnum):
    """The states of an association, with the standard's numbers."""

    IDLE = 1
    AWAITING_REQUEST = 2  # transport is open, the A-ASSOCIATE-RQ is to come
    AWAITING_RESPONSE = 3  # the local user is to accept or reject
    CONNECTING = 4
    AWAITING_ANSWER = 5  # the peer is to accept or reject
    ESTABLISHED = 6
    RELEASING = 7  # A-RELEASE-RQ sent
    RELEASE_ASKED = 8  # A-RELEASE-RQ received
    COLLISION_REQUESTOR = 9
    COLLISION_ACCEPTOR = 10
    COLLISION_REQUESTOR_ANSWERED = 11
    COLLISION_ACCEPTOR_ANSWERED = 12
    CLOSING = 13


class Event(enum.IntEnum):
    """What happens, with the standard's numbers."""

    ASSOCIATE = 1  # the local user's
    CONNECTED = 2
    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    CONNECTION_TAKEN = 5
    ASSOCIATE_RQ = 6
    ACCEPT = 7  # the local user's
    REJECT = 8  # the local user's
    SEND_DATA = 9  # the local user's
    P_DATA = 10
    RELEASE = 11  # the local user's
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_ANSWER = 14  # the local user's
    ABORT_REQUEST = 15  # the local user's
    ABORT = 16
    CONNECTION_CLOSED = 17
    TIMER_EXPIRED = 18
    INVALID_PDU = 19


class Action(enum.StrEnum):
    """What is done, with the standard's names (PS3.8 tables 9-6 to 9-9)."""

    AE_1 = "AE-1"
    AE_2 = "AE-2"
    AE_3 = "AE-3"
    AE_4 = "AE-4"
    AE_5 = "AE-5"
    AE_6 = "AE-6"
    AE_7 = "AE-7"
    AE_8 = "AE-8"
    DT_1 = "DT-1"
    DT_2 = "DT-2"
    AR_1 = "AR-1"
    AR_2 = "AR-2"
    AR_3 = "AR-3"
    AR_4 = "AR-4"
    AR_5 = "AR-5"
    AR_6 = "AR-6"
    AR_7 = "AR-7"
    AR_8 = "AR-8"
    AR_9 = "AR-9"
    AR_10 = "AR-10"
    AA_1 = "AA-1"
    AA_2 = "AA-2"
    AA_3 = "AA-3"
    AA_4 = "AA-4"
    AA_5 = "AA-5"
    AA_6 = "AA-6"
    AA_7 = "AA-7"
    AA_8 = "AA-8"


#: one row an event, one column a state from 1 to 13; - means that the event cannot come then
_TABLE: Final = """
 1 AE-1 -    -    -    -    -    -    -    -    -     -    -    -
 2 -    -    -    AE-2 -    -    -    -    -    -     -    -    -
 3 -    AA-1 AA-8 -    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 4 -    AA-1 AA-8 -    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 5 AE-5 -    -    -    -    -    -    -    -    -     -    -    -
 6 -    AE-6 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
 7 -    -    AE-7 -    -    -    -    -    -    -     -    -    -
 8 -    -    AE-8 -    -    -    -    -    -    -     -    -    -
 9 -    -    -    -    -    DT-1 -    AR-7 -    -     -    -    -
10 -    AA-1 AA-8 -    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
11 -    -    -    -    -    AR-1 -    -    -    -     -    -    -
12 -    AA-1 AA-8 -    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
13 -    AA-1 AA-8 -    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
14 -    -    -    -    -    -    -    AR-4 AR-9 -     -    AR-4 -
15 -    -    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 -
16 -    AA-2 AA-3 -    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
17 -    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
18 -    AA-2 -    -    -    -    -    -    -    -     -    -    AA-2
19 -    AA-1 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
"""


def transitions() -> Mapping[tuple[Event, State], Action]:
    """Return the table: which action an event brings about in a state."""
    rows = (line.split() for line in _TABLE.strip().splitlines())
    return {
        (Event(int(number)), State(place)): Action(name)
        for number, *names in rows
        for place, name in enumerate(names, 1)
        if name != "-"
    }


#: the state after an action; AE-6 and AR-8 depend on more (9.2.2)
NEXT: Final[Mapping[Action, State]] = {
    Action.AE_1: State.CONNECTING,
    Action.AE_2: State.AWAITING_ANSWER,
    Action.AE_3: State.ESTABLISHED,
    Action.AE_4: State.IDLE,
    Action.AE_5: State.AWAITING_REQUEST,
    Action.AE_6: State.AWAITING_RESPONSE,
    Action.AE_7: State.ESTABLISHED,
    Action.AE_8: State.CLOSING,
    Action.DT_1: State.ESTABLISHED,
    Action.DT_2: State.ESTABLISHED,
    Action.AR_1: State.RELEASING,
    Action.AR_2: State.RELEASE_ASKED,
    Action.AR_3: State.IDLE,
    Action.AR_4: State.CLOSING,
    Action.AR_5: State.IDLE,
    Action.AR_6: State.RELEASING,
    Action.AR_7: State.RELEASE_ASKED,
    Action.AR_9: State.COLLISION_REQUESTOR_ANSWERED,
    Action.AR_10: State.COLLISION_ACCEPTOR_ANSWERED,
    Action.AA_1: State.CLOSING,
    Action.AA_2: State.IDLE,
    Action.AA_3: State.IDLE,
    Action.AA_4: State.IDLE,
    Action.AA_5: State.IDLE,
    Action.AA_6: State.CLOSING,
    Action.AA_7: State.CLOSING,
    Action.AA_8: State.CLOSING,
}
TRANSITIONS: Final = transitions()
