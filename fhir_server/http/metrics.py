"""Counters of all workers in one shared block of memory, and their Prometheus exposition.

Each worker adds to its own slot, so counting takes no lock and no system call; whoever is asked sums all slots.
A worker that is restarted goes on in its predecessor's slot, so counters never run backwards.
"""

import mmap
import time
from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from fhir_server.core.request import Interaction
from fhir_server.http import feed_counters, imaging_counters
from fhir_server.http.board import Board
from fhir_server.http.feed_counters import FeedCounters
from fhir_server.http.imaging_counters import ImagingCounters
from fhir_server.http.process_counters import BOUNDS
from fhir_server.http.shared_block import WORKER_CELLS, block_size

LABELS = (*(interaction.value for interaction in Interaction), "none", "dicomweb", "viewer")

_STATUSES = 6  # status // 100: 0 is "no answer sent"
_ROW = _STATUSES + 1 + len(BOUNDS) + 1  # statuses, sum of seconds, buckets with the last for more
_EXTRA = ("running", "refused", "starts", "started", "resident")
_SLOT = WORKER_CELLS
_STATUS_NAMES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class Counters:
    """The counters of one worker: ``slot`` of a shared block of ``slots``."""

    def __init__(self, memory: mmap.mmap, slot: int, slots: int) -> None:
        self._all = memoryview(memory).cast("d")
        self._base = slot * _SLOT
        self._slots = slots
        self._rows = {label: self._base + place * _ROW for place, label in enumerate(LABELS)}
        self._extra = {name: self._base + len(LABELS) * _ROW + place for place, name in enumerate(_EXTRA)}
        self.feeds = FeedCounters(memory, slots)
        self.imaging = ImagingCounters(memory, slots)
        self.board = Board(memory, slot, slots)
        self.set("running", 0)
        self.add("starts", 1)

    @classmethod
    def alone(cls) -> "Counters":
        """Return counters of a single process."""
        return cls(mmap.mmap(-1, block_size(1)), 0, 1)

    def answered(self, label: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        cells = self._all
        row = self._rows[label]
        cells[row + status // 100] += 1
        row += _STATUSES
        cells[row] += seconds
        cells[row + 1 + bisect_left(BOUNDS, seconds)] += 1

    def add(self, name: str, amount: float) -> None:
        """Add to one of the plain figures."""
        self._all[self._extra[name]] += amount

    def set(self, name: str, value: float) -> None:
        """Set one of the plain figures."""
        self._all[self._extra[name]] = value

    def registry(self) -> CollectorRegistry:
        """Return a registry that exposes the sum of all workers."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Exposition(self._all, self._slots))
        registry.register(_FeedExposition(self.feeds))
        registry.register(_ImagingExposition(self.imaging))
        return registry


class _Exposition(Collector):
    def __init__(self, cells: "memoryview[float]", slots: int) -> None:
        self._cells = cells
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "renkei_requests", "Answered requests by interaction and status class.", labels=("interaction", "status")
        )
        seconds = HistogramMetricFamily(
            "renkei_request_seconds", "Time from the request line to the last byte.", labels=("interaction",)
        )
        for place, label in enumerate(LABELS):
            row = self._summed(place * _ROW, _ROW)
            if not any(row):
                continue
            for status in range(_STATUSES):
                if row[status]:
                    requests.add_metric((label, _STATUS_NAMES[status]), row[status])
            seconds.add_metric((label,), _cumulative(row[_STATUSES + 1 :]), row[_STATUSES])
        yield requests
        yield seconds
        running, refused, starts, _, _ = self._summed(len(LABELS) * _ROW, len(_EXTRA))
        yield GaugeMetricFamily("renkei_requests_running", "Requests in progress.", value=running)
        yield CounterMetricFamily("renkei_requests_refused", "Requests refused because of overload.", value=refused)
        yield CounterMetricFamily("renkei_worker_starts", "Starts of workers, first ones included.", value=starts)
        yield from self._per_worker()

    def _per_worker(self) -> Iterator[Metric]:
        started = GaugeMetricFamily("renkei_worker_start_time_seconds", "Start of the worker.", labels=("worker",))
        resident = GaugeMetricFamily("renkei_worker_resident_bytes", "Memory of the worker.", labels=("worker",))
        for slot in range(self._slots):
            at = slot * _SLOT + len(LABELS) * _ROW
            started.add_metric((str(slot),), self._cells[at + _EXTRA.index("started")])
            resident.add_metric((str(slot),), self._cells[at + _EXTRA.index("resident")])
        yield started
        yield resident

    def _summed(self, start: int, length: int) -> list[float]:
        cells = self._cells
        return [sum(cells[slot * _SLOT + start + i] for slot in range(self._slots)) for i in range(length)]


class _FeedExposition(Collector):
    def __init__(self, feeds: FeedCounters) -> None:
        self._feeds = feeds

    def collect(self) -> Iterator[Metric]:
        feeds = self._feeds
        if not feeds.get("starts"):
            return
        answers = CounterMetricFamily(
            "renkei_messages_answered", "Messages received over MLLP, by acknowledgement code.", labels=("code",)
        )
        for code in feed_counters.ANSWERS:
            answers.add_metric((code,), feeds.get(f"answer:{code}"))
        yield answers
        statuses = CounterMetricFamily(
            "renkei_messages",
            "Messages accepted and journalled, what became of them, and pieces that were no message.",
            labels=("status",),
        )
        for status in feed_counters.STATUSES:
            statuses.add_metric((status,), feeds.get(f"status:{status}"))
        yield statuses
        seconds = HistogramMetricFamily(
            "renkei_message_seconds", "Time from the last byte of a message to its acknowledgement.", labels=()
        )
        seconds.add_metric((), _cumulative(feeds.buckets()), feeds.get("seconds"))
        yield seconds
        for name, text in (("received_bytes", "Bytes of messages received."), ("connected", "Connections taken."),
                           ("starts", "Starts of the process for messages.")):  # fmt: skip
            yield CounterMetricFamily(f"renkei_feeds_{name}", text, value=feeds.get(name))
        lag = max(0.0, time.time() - feeds.get("oldest")) if feeds.get("oldest") else 0.0
        for name, text, value in (
            ("connections", "Open connections.", feeds.get("connections")),
            ("waiting", "Messages stored and not yet applied.", feeds.get("waiting")),
            ("lag_seconds", "Age of the oldest message that is not yet applied.", lag),
            ("resident_bytes", "Memory of the process for messages.", feeds.get("resident")),
        ):
            yield GaugeMetricFamily(f"renkei_feeds_{name}", text, value=value)


class _ImagingExposition(Collector):
    def __init__(self, imaging: ImagingCounters) -> None:
        self._imaging = imaging

    def collect(self) -> Iterator[Metric]:
        imaging = self._imaging
        if not imaging.get("starts"):
            return
        answers = CounterMetricFamily("renkei_images_answered", "C-STORE requests by answer.", labels=("answer",))
        for name in imaging_counters.ANSWERS:
            answers.add_metric((name,), imaging.get(f"answer:{name}"))
        yield answers
        seconds = HistogramMetricFamily(
            "renkei_image_seconds", "Time from the last byte of an object to the answer.", labels=()
        )
        seconds.add_metric((), _cumulative(imaging.buckets()), imaging.get("seconds"))
        yield seconds
        for name, text in (("received_bytes", "Bytes of data sets received."), ("indexed", "Objects indexed."),
                           ("accepted", "Associations accepted."), ("rejected", "Associations rejected."),
                           ("starts", "Starts of the process for images.")):  # fmt: skip
            yield CounterMetricFamily(f"renkei_imaging_{name}", text, value=imaging.get(name))
        for name, text in (("connections", "Open connections."), ("waiting", "Objects kept and not yet indexed.")):
            yield GaugeMetricFamily(f"renkei_imaging_{name}", text, value=imaging.get(name))
        memory = "Memory of the process for images."
        yield GaugeMetricFamily("renkei_imaging_resident_bytes", memory, value=imaging.get("resident"))


def _cumulative(buckets: list[float]) -> list[tuple[str, float]]:
    total = 0.0
    found = []
    for bound, value in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        total += value
        found.append((bound, total))
    return found
