"""DTLS-SRTP (RFC 5764) on datagrams handed in and out: the handshake, the peer's fingerprint, keys, and data for SCTP."""

import datetime
import hmac
import os
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from telemed.relay import srtp

CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
)
DIGESTS: Final[dict[str, type[hashes.HashAlgorithm]]] = {"sha-256": hashes.SHA256, "sha-384": hashes.SHA384, "sha-512": hashes.SHA512}
# Fits the smallest path that WebRTC assumes, with SCTP and DTLS records around it.
MTU: Final = 1200
CERTIFICATE_DAYS: Final = 30
MAX_RECORDS: Final = 64  # taken of one datagram; a browser sends one, and 1,800 bytes hold fewer than these


class DtlsError(Exception):
    """The handshake failed or the peer is not who its offer says; the text goes to the log."""


class Certificate:
    """A self-signed key of this relay process and the OpenSSL context that all its sessions share (a context each costs 90 KB)."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, os.urandom(8).hex())])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS)).sign(key, hashes.SHA256())
        )
        self.expires = certificate.not_valid_after_utc
        self.fingerprint = "sha-256 " + certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        context = SSL.Context(SSL.DTLS_METHOD)
        # A renegotiation could show another certificate than the one whose fingerprint was compared.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        # Self-signed on both sides: what counts is the fingerprint in the offer, compared after the handshake.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_cipher_list(CIPHERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_tlsext_use_srtp(b":".join(p.name for p in srtp.PROFILES))
        self.context = context


class Dtls:
    """One association. `send` gets datagrams for the peer; the owner calls `receive` and, while `timeout()` is not None, `expired`."""

    __slots__ = ("_fingerprints", "_send", "_ssl", "connected", "ended", "rx", "server", "tx")

    def __init__(
        self, certificate: Certificate, fingerprints: list[tuple[str, str]], server: bool, send: Callable[[bytes], None]
    ) -> None:
        self._fingerprints = fingerprints
        self.server = server
        self._send = send
        self._ssl: SSL.Connection | None = SSL.Connection(certificate.context)
        self._ssl.set_ciphertext_mtu(MTU)
        self.connected = False
        self.ended = False  # the peer said goodbye, or broke the association
        self.rx: srtp.Keys | None = None
        self.tx: srtp.Keys | None = None
        if server:
            self._ssl.set_accept_state()
        else:
            self._ssl.set_connect_state()

    def start(self) -> None:
        """A client's first flight; nothing for a server. Raises DtlsError."""
        if not self.server:
            self._handshake()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take a datagram: what the peer sent through DTLS in it, a record each. `ended` says whether anything can follow.

        Raises DtlsError when the handshake fails, after which this object is dead.
        """
        if self._ssl is None or self.ended:
            return []
        try:
            self._ssl.bio_write(datagram)
        except SSL.Error:
            return []
        if not self.connected:
            self._handshake()
            if not self.connected:
                return []
        found: list[bytes] = []
        try:
            # The last record of a handshake may have data behind it in its datagram, and data more data.
            for _ in range(MAX_RECORDS):
                found.append(self._ssl.recv(65536))
        except SSL.WantReadError:
            pass  # all read; records that do not decrypt are anyone's and dropped by OpenSSL (RFC 6347 4.1.2.7)
        except SSL.Error:
            self.ended = True  # close_notify, or a fatal alert under the session's keys
        self._flush()
        return [data for data in found if data]

    def send(self, data: bytes) -> None:
        """Data for the peer. Nothing happens before the handshake is done or after `close`."""
        if self._ssl is None or not self.connected:
            return
        try:
            self._ssl.send(data)
        except SSL.Error:
            return
        self._flush()

    def timeout(self) -> float | None:
        """Seconds until the last flight is sent again; None when nothing waits."""
        return self._ssl.DTLSv1_get_timeout() if self._ssl is not None else None

    def expired(self) -> None:
        """The timeout passed. Raises DtlsError when OpenSSL gives up."""
        if self._ssl is None:
            return
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as e:
            raise DtlsError("no answer to the handshake") from e
        self._flush()

    def close(self) -> None:
        """Say goodbye (close_notify) and free the association."""
        if self._ssl is None:
            return
        if self.connected:
            try:
                self._ssl.shutdown()
            except SSL.Error:
                pass
            self._flush()
        self._ssl = None
        self.connected = False

    def _handshake(self) -> None:
        assert self._ssl is not None
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as e:
            self._flush()
            raise DtlsError(f"handshake refused: {e}") from e
        self._flush()
        self._check_peer()
        self._take_keys()
        self.connected = True

    def _check_peer(self) -> None:
        """RFC 8122 6.2: the certificate matches every fingerprint of a hash we know, and there is at least one."""
        assert self._ssl is not None
        peer = self._ssl.get_peer_certificate(as_cryptography=True)
        if peer is None:
            raise DtlsError("the peer showed no certificate")
        der = peer.public_bytes(Encoding.DER)
        known = 0
        for algorithm, value in self._fingerprints:
            digest = DIGESTS.get(algorithm.lower())
            if digest is None:
                continue
            known += 1
            h = hashes.Hash(digest())
            h.update(der)
            if not hmac.compare_digest(h.finalize().hex(":").upper(), value.upper()):
                raise DtlsError("the peer's certificate is not the one its offer names")
        if not known:
            raise DtlsError("no fingerprint of a hash that is supported")

    def _take_keys(self) -> None:
        assert self._ssl is not None
        name = self._ssl.get_selected_srtp_profile()
        profile = next((p for p in srtp.PROFILES if p.name == name), None)
        if profile is None:
            raise DtlsError("no SRTP profile in common")
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (profile.key + profile.salt))
        self.rx, self.tx = srtp.derive(profile, material, self.server)

    def _flush(self) -> None:
        """Datagrams that OpenSSL wrote. Its memory BIO joins them, so they are cut apart again at record borders."""
        assert self._ssl is not None
        while True:
            try:
                out: bytes = self._ssl.bio_read(65536)
            except SSL.Error:
                return
            start = end = 0
            while end + 13 <= len(out):
                size = 13 + int.from_bytes(out[end + 11 : end + 13])
                if end > start and end + size - start > MTU:
                    self._send(out[start:end])
                    start = end
                end += size
            if start < len(out):
                self._send(out[start:])
