"""Measurements that check every answer: `make bench` (docs/performance.md says what they gave and where)."""
