"""A passkey device in software: makes and uses keys as a browser's navigator.credentials would answer, and lies where told to."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Device:
    """origin: what the browser says it is at; rp: what the device signs for, None what it is asked. flags: UP 1, UV 4, BE 8, BS 16."""

    origin: str
    rp: str | None = None
    flags: int = 1 | 4
    count: int = 0
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user: bytes = b""

    def _client_data(self, type: str, challenge: str) -> bytes:
        return json.dumps({"type": type, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _auth_data(self, rp: str, flags: int) -> bytes:
        return hashlib.sha256((self.rp or rp).encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def create(self, options: dict[str, Any]) -> str:
        """RegistrationResponseJSON."""
        self.user = unb64(options["user"]["id"])
        n = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: n.x.to_bytes(32, "big"), -3: n.y.to_bytes(32, "big")})
        data = self._auth_data(options["rp"]["id"], self.flags | 64) + bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        return json.dumps({
            "id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": b64(self._client_data("webauthn.create", options["challenge"])),
                "attestationObject": b64(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            },
        })  # fmt: skip

    def get(self, options: dict[str, Any], *, rise: int = 1) -> str:
        """AuthenticationResponseJSON."""
        self.count += rise
        data, client = self._auth_data(options["rpId"], self.flags), self._client_data("webauthn.get", options["challenge"])
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return json.dumps({
            "id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "clientExtensionResults": {},
            "response": {"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature),
                         "userHandle": b64(self.user)},
        })  # fmt: skip
