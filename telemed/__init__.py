"""Telemedicine: signalling and media relay, usable without health_hub."""
