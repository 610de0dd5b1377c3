"""Messages in hand."""

from adapters.ingest.lanes import Queue
from adapters.ingest.work import Work
from adapters.sources import Source
from fhir_server.core.messages import Channel, Message, Origin


def work(number: int, lane: str = "a", size: int = 1) -> Work:
    message = Message(
        id=f"m{number}", source="his", origin=Origin(Channel.MLLP), received=0, sequence=number, raw=b"x" * size,
        hash="", lane=lane,
    )  # fmt: skip
    return Work(message, Source(name="his"))


def filled(*works: Work) -> Queue:
    queue = Queue()
    assert all(queue.add(one) for one in works)
    return queue


def ids(works: list[Work]) -> list[str]:
    return [one.message.id for one in works]


def test_messages_come_by_sequence_each_once() -> None:
    queue = filled(work(3), work(1), work(2))
    assert not queue.add(work(2))
    assert ids(queue.head(9, 9)) == ["m1", "m2", "m3"]
    assert "m2" in queue
    assert (len(queue), queue.bytes) == (3, 3)


def test_the_front_is_bounded_in_number_and_bytes_but_never_empty() -> None:
    queue = filled(work(1, size=10), work(2), work(3))
    assert ids(queue.head(2, 100)) == ["m1", "m2"]
    assert ids(queue.head(9, 5)) == ["m1"]


def test_lanes_and_messages_in_flight_are_passed_over() -> None:
    queue = filled(work(1, "a"), work(2, "b"), work(3, "a"), work(4, "c"))
    assert ids(queue.head(9, 99, {"a"}, {"m1"})) == ["m2", "m4"]
    assert ids(queue.head(1, 99, {"a", "b"})) == ["m4"]


def test_a_message_without_a_lane_passes_nobody() -> None:
    queue = filled(work(1, "a"), work(2, ""), work(3, "b"))
    assert ids(queue.head(9, 99, {"a"})) == ["m3"]
    assert ids(queue.head(9, 99)) == ["m1", "m2", "m3"]


def test_what_is_taken_out_is_gone() -> None:
    queue = filled(work(1), work(2, size=5))
    queue.remove(["m1", "m9"])
    assert (ids(queue.head(9, 99)), queue.bytes) == (["m2"], 5)
    queue.clear()
    assert (len(queue), queue.bytes, queue.head(9, 99)) == (0, 0, [])
