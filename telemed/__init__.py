"""Telemedicine: signalling and media relay, usable without health_hub. Nothing of it is built yet (README.md, "What works")."""
