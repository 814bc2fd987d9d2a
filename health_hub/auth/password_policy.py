"""Which passwords are refused: too short, too long, breached or commonplace ones, those made of what is known about the person.

Strength is zxcvbn's estimate of the guesses it takes, with its lists of breached passwords, what is known of the person and
Vietnamese words, all without their marks. No rule about kinds of characters and no end by date (NIST SP 800-63B 3.1.1.2).
"""

import asyncio
import re
import threading
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from zxcvbn import zxcvbn

from health_hub.auth.passwords import LENGTH_MAX
from health_hub.auth.vietnamese_words import PASSWORDS, SYLLABLES

LENGTH_MIN = 10  # characters, NFC
GUESSES = 10**10  # zxcvbn's highest mark; at 21 ms each, the cost of one Argon2id here, 7 years of a core
# zxcvbn's time grows with the square of the length and is at most 31 ms at 72 (measured); what is strong so far stays strong.
LOOKED_AT = 72
# Telephone numbers, citizen numbers (CCCD, 12 digits; CMND, 9), BHYT numbers and dates: found in any leaked list of persons.
_NUMBERS = re.compile(
    r"(?:\+?84|0)\d{9}|\d{12}|\d{9,10}|(?:0?[1-9]|[12]\d|3[01])[./-]?(?:0?[1-9]|1[0-2])[./-]?(?:19|20)\d\d"
    r"|(?:19|20)\d\d[./-]?(?:0[1-9]|1[0-2])[./-]?(?:0[1-9]|[12]\d|3[01])"
)
WORDS = [*PASSWORDS, *SYLLABLES]
_one = threading.Lock()  # zxcvbn keeps the words it is given in a global


class Text(NamedTuple):
    vi: str
    en: str


SHORT = Text(f"Mật khẩu cần ít nhất {LENGTH_MIN} ký tự.", f"A password has at least {LENGTH_MIN} characters.")
LONG = Text(f"Mật khẩu dài nhất là {LENGTH_MAX} ký tự.", f"A password has at most {LENGTH_MAX} characters.")
NUMBERS = Text(
    "Mật khẩu không được chỉ là số điện thoại, số căn cước, ngày sinh hay dãy số.",
    "A password is more than a telephone number, a citizen number, a date or other digits.",
)
PERSONAL = Text(
    "Mật khẩu chứa tên, tên đăng nhập hoặc ngày sinh của bạn nên dễ đoán.",
    "The password holds your name, login or date of birth and is easy to guess.",
)
COMMON = Text(
    "Mật khẩu này dễ đoán hoặc đã từng bị lộ. Hãy ghép vài từ không liên quan với nhau.",
    "This password is easy to guess or has been in a breach. Put a few unrelated words together.",
)


def plain(text: str) -> str:
    """Lower case without Vietnamese marks."""
    text = unicodedata.normalize("NFD", text.casefold()).replace("đ", "d")
    return "".join(c for c in text if not unicodedata.combining(c))


def _known(about: Iterable[str]) -> list[str]:
    """Forms in which what is known of a person stands in passwords: words, joined words, initials, dates in several orders."""
    out: list[str] = []
    for text in about:
        whole = plain(text[:200])
        words = re.findall(r"[^\W_]+", whole)
        out += [whole, "".join(words), *(w for w in words if len(w) > 1)]
        if len(words) > 1:
            out += ["".join(words[1:]), words[-1] + words[0], "".join(w[0] for w in words)]
        if date := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", whole):
            y, m, d = date.groups()
            out += [y, d + m + y, d + m + y[2:], y + m + d, f"{int(d)}{int(m)}{y}", d + m]
    return list(dict.fromkeys(w for w in out if len(w) > 2))


def refusal_now(password: str, about: Iterable[str] = ()) -> Text | None:
    """See `refusal`; up to 60 ms."""
    password = unicodedata.normalize("NFC", password[: 4 * LENGTH_MAX])
    if len(password) < LENGTH_MIN:
        return SHORT
    if len(password) > LENGTH_MAX:
        return LONG
    looked_at = plain(password)[:LOOKED_AT]
    rest = _NUMBERS.sub("", looked_at)
    if not re.search(r"[^\d\W_]", rest):
        return NUMBERS
    if _guesses(rest) < GUESSES:
        return COMMON
    # What is known of the person, and the marks between, add nothing to what must be guessed.
    unknown = rest
    for word in sorted(_known(about), key=len, reverse=True):
        unknown = unknown.replace(word, "")
    return PERSONAL if unknown != rest and _guesses(re.sub(r"[\W_]+", "", unknown)) < GUESSES else None


async def refusal(password: str, about: Iterable[str] = ()) -> Text | None:
    """Why a password may not be used; None when it may. about: login, name, date of birth (YYYY-MM-DD), identifiers of the person."""
    return await asyncio.to_thread(refusal_now, password, tuple(about))


def _guesses(text: str) -> float:
    if not text:
        return 1
    with _one:
        return float(zxcvbn(text, user_inputs=WORDS)["guesses"])
