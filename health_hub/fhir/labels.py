"""Sensitive security labels: which they are, and the bits that stand for them (R4 security-labels.html; v3-ActCode, v3-Confidentiality)."""

from collections.abc import Iterable
from typing import Any

# The policies of v3-ActCode's InformationSensitivityPolicy that are about a condition or a circumstance of a person, and the two
# confidentiality codes above `normal`. Their order is stored in databases: new ones go to the end, there is room for 63.
SENSITIVE = (
    "HIV", "PSY", "ETH", "SUD", "SEX", "SDV", "STD", "TBOO", "GDIS", "SCA", "BH", "MH", "COGN", "DVD", "EMOTDIS", "PSYTHPN", "VIO",
    "PREGNANT", "SICKLE", "OPIOIDUD", "ALC", "DRGIS", "LIVARG", "R", "V",
)  # fmt: skip
BITS = {code: 1 << n for n, code in enumerate(SENSITIVE)}
EVERY = (1 << len(SENSITIVE)) - 1


def bits_of(codes: Iterable[str]) -> int:
    """The bits of those codes that are sensitive."""
    out = 0
    for code in codes:
        out |= BITS.get(code, 0)
    return out


def bits(resource: dict[str, Any]) -> int:
    """The sensitive labels of a resource as a whole: its `meta.security`."""
    meta = resource.get("meta")
    security = meta.get("security") if isinstance(meta, dict) else None
    if not isinstance(security, list):
        return 0
    return bits_of(str(coding.get("code")) for coding in security if isinstance(coding, dict))
