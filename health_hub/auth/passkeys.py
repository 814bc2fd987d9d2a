"""Passkeys (W3C Web Authentication, level 3): a key in the person's device signs, unlocked by a finger, a face or a PIN.

Record kinds owned here: "passkey" (id SHA-256 of the credential's id, ref "account/" + id) and "challenge" (id SHA-256 of the
challenge, 5 minutes, taken by the one answer it gets; {"browser", "account", "purpose"}).
"""

import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json_dict
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from health_hub.auth.accounts import Accounts
from health_hub.auth.cookies import digest
from health_hub.auth.ids import possible
from health_hub.auth.model import Account
from health_hub.store.records import Conflict, Put, Record, Take, now
from health_hub.store.store import Store

CHALLENGE_SECONDS = 300
PER_ACCOUNT = 20
NAME_MAX = 60
ANSWER_MAX = 32_768  # characters of JSON; a real one has about 1,000
_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.EDDSA, COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]  # fmt: skip


class PasskeyError(Exception):
    """An answer that is not right; the text is for the trail and names no secret."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """As its owner sees it. made, used: seconds since 1970 UTC, used 0 never; synced: kept in the cloud of the device's maker."""

    id: str
    name: str
    made: int
    used: int
    synced: bool


class Passkeys:
    """One a process. The relying party is the issuer's host, which browsers take only as a name: there are none on an IP address."""

    def __init__(self, store: Store, accounts: Accounts, issuer: str) -> None:
        self._records, self._accounts, self._origin = store.records, accounts, issuer
        self._rp_id = urlsplit(issuer).hostname or ""

    @property
    def possible(self) -> bool:
        """Whether browsers would make passkeys for this issuer at all."""
        return bool(self._rp_id) and ":" not in self._rp_id and not self._rp_id.replace(".", "").isdigit()

    async def registration(self, account: Account, browser: str) -> dict[str, Any]:
        """PublicKeyCredentialCreationOptionsJSON for navigator.credentials.create. browser: value of its cookie. Raises PasskeyError."""
        there = await self._records.find("passkey", f"account/{account.id}")
        if len(there) >= PER_ACCOUNT:
            raise PasskeyError(f"an account has at most {PER_ACCOUNT} passkeys")
        options = generate_registration_options(
            rp_id=self._rp_id, rp_name="Health Hub", user_name=account.login, user_id=account.id.encode(),
            user_display_name=account.name or account.login, timeout=CHALLENGE_SECONDS * 1000, supported_pub_key_algs=_ALGORITHMS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(r.data["credential"])) for r in there],
        )  # fmt: skip
        await self._challenge(options.challenge, browser, account.id, "create")
        return options_to_json_dict(options)

    async def register(self, account: Account, browser: str, answer: str, name: str) -> Passkey:
        """answer: RegistrationResponseJSON; name: what the person calls it. Raises PasskeyError."""
        challenge, credential = await self._asked(answer, browser, "create", account.id)
        try:
            made = verify_registration_response(
                credential=credential, expected_challenge=challenge, expected_rp_id=self._rp_id, expected_origin=self._origin,
                require_user_verification=True, supported_pub_key_algs=_ALGORITHMS,
            )  # fmt: skip
        except Exception as e:  # hostile CBOR and JSON fail in many ways, each of them a refusal
            raise PasskeyError(f"registration: {type(e).__name__}") from None
        id = bytes_to_base64url(made.credential_id)
        name = "".join(c for c in name if c.isprintable()).strip()[:NAME_MAX] or "Passkey"
        data = {
            "account": account.id, "credential": id, "key": bytes_to_base64url(made.credential_public_key), "count": made.sign_count,
            "name": name, "made": int(time.time()), "used": 0, "synced": made.credential_backed_up,
        }  # fmt: skip
        try:
            await self._records.change([Put("passkey", digest(id), data, version=0, refs=(f"account/{account.id}",))])
        except Conflict:
            raise PasskeyError("this credential is registered already") from None
        return _passkey(await self._records.get("passkey", digest(id)))

    async def authentication(self, browser: str) -> dict[str, Any]:
        """PublicKeyCredentialRequestOptionsJSON for navigator.credentials.get; any account's: the device knows whose."""
        options = generate_authentication_options(
            rp_id=self._rp_id, timeout=CHALLENGE_SECONDS * 1000, user_verification=UserVerificationRequirement.REQUIRED
        )
        await self._challenge(options.challenge, browser, "", "get")
        return options_to_json_dict(options)

    async def authenticate(self, browser: str, answer: str) -> Account:
        """answer: AuthenticationResponseJSON. Raises PasskeyError; the account may be disabled."""
        challenge, credential = await self._asked(answer, browser, "get", "")
        id = credential.get("id")
        record = await self._records.get("passkey", digest(id)) if isinstance(id, str) else None
        if record is None:
            raise PasskeyError("unknown credential")
        data = record.data
        try:
            shown = verify_authentication_response(
                credential=credential, expected_challenge=challenge, expected_rp_id=self._rp_id, expected_origin=self._origin,
                credential_public_key=base64url_to_bytes(data["key"]), credential_current_sign_count=data["count"],
                require_user_verification=True,
            )  # fmt: skip
            handle = credential["response"].get("userHandle")
            if not handle or not hmac.compare_digest(base64url_to_bytes(handle), data["account"].encode()):
                raise PasskeyError("another user's handle")
        except PasskeyError:
            raise
        except Exception as e:
            # A counter that did not rise speaks of a copied key (WebAuthn 6.1.1).
            what = "signature counter did not rise" if "sign count" in str(e) else type(e).__name__
            raise PasskeyError(f"authentication: {what}") from None
        account = await self._accounts.get(data["account"])
        if account is None:
            raise PasskeyError("no such account")
        used = {**data, "count": shown.new_sign_count, "used": int(time.time()), "synced": shown.credential_backed_up}
        try:
            await self._records.change([Put("passkey", record.id, used, version=record.version, refs=(f"account/{account.id}",))])
        except Conflict:
            raise PasskeyError("used twice at once") from None
        return account

    async def rename(self, account: Account, id: str, name: str) -> bool:
        record = await self._own(account, id)
        name = "".join(c for c in name if c.isprintable()).strip()[:NAME_MAX]
        if record is None or not name:
            return False
        data = {**record.data, "name": name}
        try:
            await self._records.change([Put("passkey", record.id, data, version=record.version, refs=(f"account/{account.id}",))])
        except Conflict:
            return False
        return True

    async def remove(self, account: Account, id: str) -> bool:
        record = await self._own(account, id)
        if record is not None:
            await self._records.change([Take("passkey", record.id)])
        return record is not None

    async def list(self, account: Account) -> Sequence[Passkey]:
        """The newest first."""
        found = [_passkey(r) for r in await self._records.find("passkey", f"account/{account.id}")]
        return sorted(found, key=lambda p: -p.made)

    async def _own(self, account: Account, id: str) -> Record | None:
        record = await self._records.get("passkey", id) if possible(id) else None
        return record if record and record.data["account"] == account.id else None

    async def _challenge(self, challenge: bytes, browser: str, account: str, purpose: Literal["create", "get"]) -> None:
        if not browser:
            raise PasskeyError("no browser cookie")
        data = {"browser": digest(browser), "account": account, "purpose": purpose}
        id = digest(bytes_to_base64url(challenge))
        await self._records.put("challenge", id, data, version=0, expires=now() + CHALLENGE_SECONDS * 1000)

    async def _asked(self, answer: str, browser: str, purpose: str, account: str) -> tuple[bytes, dict[str, Any]]:
        """The challenge an answer is to, which has now been answered, and the answer as JSON."""
        try:
            if len(answer) > ANSWER_MAX:
                raise ValueError("too long")
            credential = json.loads(answer)
            client_data = json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))
            text = client_data["challenge"].rstrip("=")
            record = await self._records.take("challenge", digest(text))
            challenge = base64url_to_bytes(text)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise PasskeyError("not an answer of WebAuthn") from None
        if record is None:
            raise PasskeyError("no such challenge, or answered before")
        asked = record.data
        same = bool(browser) and hmac.compare_digest(asked["browser"], digest(browser))
        if not same or asked["purpose"] != purpose or asked["account"] != account:
            raise PasskeyError("a challenge for another browser, purpose or account")
        return challenge, credential


def _passkey(record: Record | None) -> Passkey:
    if record is None:
        raise PasskeyError("no such passkey")
    d = record.data
    return Passkey(record.id, d["name"], d["made"], d["used"], d["synced"])
