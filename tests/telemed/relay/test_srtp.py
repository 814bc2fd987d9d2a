"""libsrtp in place against pylibsrtp's public calls: private names that the relay leans on still do the same."""

import pytest
from pylibsrtp import Policy, Session

from telemed.relay import srtp
from telemed.relay.dtls import Certificate, Dtls, DtlsError

PACKET = bytes.fromhex("8060000100000002deadbeef") + b"sound"


@pytest.mark.parametrize("profile", srtp.PROFILES, ids=lambda p: p.name.decode())
def test_what_is_protected_in_place_opens_by_the_public_call_and_back(profile: srtp.Profile) -> None:
    material = bytes(range(2 * (profile.key + profile.salt)))
    rx, _ = srtp.derive(profile, material, True)
    _, tx = srtp.derive(profile, material, False)
    key = material[: profile.key] + material[2 * profile.key : 2 * profile.key + profile.salt]
    public = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile.libsrtp))
    buffer = bytearray(2048)
    buffer[: len(PACKET)] = PACKET
    length = srtp.ffi.new("int *", len(PACKET))
    assert srtp.lib.srtp_protect(tx.pointer, srtp.ffi.from_buffer(buffer), length) == 0
    sealed = bytes(buffer[: length[0]])
    assert PACKET[12:] not in sealed
    assert public.unprotect(sealed) == PACKET
    assert srtp.lib.srtp_unprotect(rx.pointer, srtp.ffi.from_buffer(buffer), length) == 0
    assert bytes(buffer[: length[0]]) == PACKET


def _pair(fingerprint: str | None = None) -> tuple[Dtls, Dtls]:
    certificates = Certificate(), Certificate()
    to_client: list[bytes] = []
    to_server: list[bytes] = []
    names = [tuple(c.fingerprint.split(" ", 1)) for c in certificates]
    client = Dtls(certificates[0], [names[1]], False, to_server.append)  # type: ignore[list-item]
    server = Dtls(certificates[1], [("sha-256", fingerprint) if fingerprint else names[0]], True, to_client.append)  # type: ignore[list-item]
    client.start()
    for _ in range(20):
        for datagram in to_server[:]:
            to_server.remove(datagram)
            server.receive(datagram)
        for datagram in to_client[:]:
            to_client.remove(datagram)
            client.receive(datagram)
    return client, server


def test_a_handshake_gives_both_the_same_keys() -> None:
    client, server = _pair()
    assert client.connected
    assert server.connected
    assert client.tx is not None
    assert server.rx is not None
    buffer = bytearray(2048)
    buffer[: len(PACKET)] = PACKET
    length = srtp.ffi.new("int *", len(PACKET))
    assert srtp.lib.srtp_protect(client.tx.pointer, srtp.ffi.from_buffer(buffer), length) == 0
    assert srtp.lib.srtp_unprotect(server.rx.pointer, srtp.ffi.from_buffer(buffer), length) == 0
    assert bytes(buffer[: length[0]]) == PACKET


def test_a_certificate_that_the_offer_does_not_name_is_refused() -> None:
    with pytest.raises(DtlsError, match="not the one"):
        _pair(":".join(["AA"] * 32))
