"""What of the authorization server signing in needs, with what it would tell the trail kept."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from health_hub.auth.accounts import Accounts
from health_hub.auth.audit import AuthEvent
from health_hub.auth.model import Account
from health_hub.auth.sessions import Sessions
from health_hub.auth.signin import Caller, Facility, SignedIn, SignIn
from health_hub.settings import Settings
from health_hub.store.store import Store

PASSWORD = "ruộng bậc thang mùa nước đổ"
ISSUER = "http://localhost:18300"


@dataclass(frozen=True)
class Place:
    reference: str
    name: str = ""


@dataclass
class Hub:
    store: Store
    settings: Settings
    issuer: str = ISSUER
    events: list[AuthEvent] = field(default_factory=list)
    places: tuple[Place, ...] = ()

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.store)
        self.sessions = Sessions(self.store, self.settings, self.accounts)

    async def audit(self, event: AuthEvent) -> None:
        self.events.append(event)

    @property
    def facilities(self) -> Callable[[Account], Awaitable[Sequence[Facility]]]:
        async def found(account: Account) -> Sequence[Facility]:
            return self.places

        return found


def hub(store: Store, **settings: object) -> tuple[Hub, SignIn]:
    h = Hub(store, Settings.load({}, **settings))
    return h, SignIn(h)


def caller(address: str = "203.0.113.7", *, browser: str = "browser-1" * 5, **more: str | None) -> Caller:
    return Caller(address, "Mozilla/5.0 (Linux; Android 14) Chrome/130 Mobile", browser, **more)


async def person(h: Hub, s: SignIn, login: str = "bs.lan", role: str = "practitioner") -> Account:
    refs = {"practitioner": "Practitioner/bs-01", "nurse": "Practitioner/bs-02", "patient": "Patient/bn-001", "carer": "RelatedPerson/r"}
    account = await h.accounts.add(login, role, fhir_user=refs.get(role))  # type: ignore[arg-type]
    await s.passwords.set(account, PASSWORD)
    return account


async def signed_in(s: SignIn, login: str = "bs.lan", **more: str | None) -> SignedIn:
    done = await s.begin(login, PASSWORD, caller(**more))
    assert isinstance(done, SignedIn)
    return done
