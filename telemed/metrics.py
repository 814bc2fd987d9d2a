"""Counts of what signalling does, as Prometheus text (exposition format 0.0.4)."""

from collections import Counter
from collections.abc import Iterable, Mapping

HELP = {
    "telemed_rooms": ("gauge", "open rooms by state"),
    "telemed_participants": ("gauge", "participants by role and way of coming"),
    "telemed_connections": ("gauge", "WebSocket connections, by whether they have said hello"),
    "telemed_hellos_total": ("counter", "hellos by what became of them"),
    "telemed_messages_total": ("counter", "messages of clients by type"),
    "telemed_errors_total": ("counter", "errors told to clients by code"),
    "telemed_closes_total": ("counter", "connections closed by the relay, by code"),
    "telemed_http_total": ("counter", "WHIP and WHEP requests by way, method and status"),
    "telemed_recordings": ("gauge", "recordings that are not ended"),
    "telemed_relay": ("gauge", "what the media relay says of its load"),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters; gauges are read when asked."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Labels]] = Counter()

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        self._counts[name, tuple(labels.items())] += 1

    def text(self, gauges: Iterable[tuple[str, Mapping[str, str], float]]) -> str:
        """Everything, with the given gauges."""
        values: dict[str, list[tuple[Labels, float]]] = {}
        for (name, labels), count in self._counts.items():
            values.setdefault(name, []).append((labels, count))
        for name, given, value in gauges:
            values.setdefault(name, []).append((tuple(given.items()), value))
        lines = []
        for name, (kind, help) in HELP.items():
            lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
            for labels, value in sorted(values.get(name, [])):
                inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
                lines.append(f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:g}")
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
