"""Why signing in did not succeed, in the words of our pages."""

from health_hub.auth.signin import Reason, Refused
from health_hub.web import times
from health_hub.web.texts import Language, text

_KEYS: dict[Reason, str] = {
    "credentials": "sign-in.wrong",
    "code": "sign-in.wrong-code",
    "busy": "sign-in.busy",
    "expired": "sign-in.expired",
    "passkey": "sign-in.passkey.failed",
    "facility": "facility.wrong",
    "step-up": "again.lead",
    "external": "sign-in.external.refused",
    "unlinked": "sign-in.external.unlinked",
}


def told(refused: Refused | None, lang: Language) -> str:
    """`""` for None."""
    if refused is None:
        return ""
    if refused.reason == "wait":
        return text("sign-in.wait", lang, time=times.duration(refused.seconds, lang))
    return text(_KEYS[refused.reason], lang)
