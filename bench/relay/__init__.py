"""What the media relay costs, loses, delays and survives: a load generator of its own, and the scenarios of docs/performance.md."""
