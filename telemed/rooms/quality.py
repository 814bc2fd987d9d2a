"""A participant's link over the whole stay: means and worst values of the relay's samples and of what the client reports."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from telemed.ports import Quality


@dataclass(slots=True)
class Summary:
    """Sums; `summary()` makes means of them. Lost shares are 0 to 1, times in ms."""

    seconds: float = 0.0
    samples: int = 0
    sent_lost: float = 0.0
    lost_max: float = 0.0
    received_lost: float = 0.0
    jitter_ms: float = 0.0
    round_trip_ms: float = 0.0
    round_trips: int = 0  # samples that had a round trip
    round_trip_max_ms: float = 0.0
    mos: float = 0.0
    mos_samples: int = 0
    mos_min: float = 0.0
    freezes: float = 0.0
    freeze_seconds: float = 0.0

    def add(self, sample: Quality) -> None:
        """One period of the relay's."""
        self.seconds += sample.seconds
        self.samples += 1
        self.sent_lost += sample.sent_lost
        self.received_lost += sample.received_lost
        self.lost_max = max(self.lost_max, sample.sent_lost, sample.received_lost)
        self.jitter_ms += sample.jitter_ms
        if sample.round_trip_ms:
            self.round_trips += 1
            self.round_trip_ms += sample.round_trip_ms
            self.round_trip_max_ms = max(self.round_trip_max_ms, sample.round_trip_ms)
        if sample.mos:
            self.mos_min = min(self.mos_min, sample.mos) if self.mos_samples else sample.mos
            self.mos_samples += 1
            self.mos += sample.mos

    def report(self, freezes: float, freeze_seconds: float) -> None:
        """What the client saw since its last report."""
        self.freezes += freezes
        self.freeze_seconds += freeze_seconds

    def summary(self) -> dict[str, float]:
        """For the record of the consultation."""
        n, trips, mos = max(self.samples, 1), max(self.round_trips, 1), max(self.mos_samples, 1)
        values = {
            "seconds": self.seconds, "samples": self.samples, "lost": self.sent_lost / n, "lost_max": self.lost_max,
            "received_lost": self.received_lost / n, "jitter_ms": self.jitter_ms / n, "round_trip_ms": self.round_trip_ms / trips,
            "round_trip_max_ms": self.round_trip_max_ms, "mos": self.mos / mos, "mos_min": self.mos_min,
            "freezes": self.freezes, "freeze_seconds": self.freeze_seconds,
        }  # fmt: skip
        return {name: round(value, 4) for name, value in values.items()}

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @staticmethod
    def restore(saved: dict[str, Any]) -> "Summary":
        """From `snapshot()`."""
        names = {f.name for f in fields(Summary)}
        return Summary(**{name: value for name, value in saved.items() if name in names})
