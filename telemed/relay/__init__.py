"""The media relay: one UDP socket, ICE-lite, DTLS-SRTP, and packets from publisher to subscribers without a task in between."""
