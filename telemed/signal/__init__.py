"""The WebSocket protocol of docs/telemed-protocol.md."""
