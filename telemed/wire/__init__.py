"""Bytes on the wire, parsed and built without I/O: STUN, RTP, RTCP, SDP and what payloads say of themselves."""
