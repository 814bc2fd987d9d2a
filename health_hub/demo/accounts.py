"""Demo sign-ins for each role and demo applications; their passwords are printed for all to see, so none guards anything real."""

from dataclasses import replace
from typing import NamedTuple

from health_hub.auth.accounts import AccountError, Accounts
from health_hub.auth.clients import hashed
from health_hub.auth.model import Client, Role
from health_hub.auth.passwords import Passwords
from health_hub.demo.care import MOTHER, NURSE
from health_hub.store.records import Conflict
from health_hub.store.store import Store


class DemoSignIn(NamedTuple):
    role: Role
    login: str
    password: str
    note: str


class _Demo(NamedTuple):
    role: Role
    login: str
    name: str
    fhir_user: str | None
    organizations: tuple[str, ...]
    note: str


_PHONE = "lần đầu hỏi mã của ứng dụng xác thực / asks for an authenticator application"
ACCOUNTS = (
    _Demo("patient", "benhnhan.demo", "Nguyễn Quang Hùng", "Patient/bn-015", (), "hồ sơ bn-015 / record bn-015"),
    _Demo("carer", "me.demo", "Trần Thị Hương", f"RelatedPerson/{MOTHER}", (), "mẹ của bn-003 / mother of bn-003"),
    _Demo("practitioner", "bacsi.demo", "BS. Dương Công Bảo", "Practitioner/bs-01", (), "hai cơ sở / two: bvdk-tinh, ttyt-dai-tu"),
    _Demo("practitioner", "bacsi.xa.demo", "BS. Trần Thùy Hương", "Practitioner/bs-12", (), "trạm y tế Tân Cương / commune station"),
    _Demo("nurse", "dieuduong.demo", "ĐD. Hoàng Thị Thu", f"Practitioner/{NURSE}", (), "bvdk-tinh"),
    _Demo("operator", "vanhanh.demo", "Vận hành (mẫu)", None, ("Organization/bvdk-tinh",), "bvdk-tinh"),
    _Demo("auditor", "kiemtra.demo", "Kiểm tra (mẫu)", None, (), _PHONE),
    _Demo("administrator", "quantri.demo", "Quản trị (mẫu)", None, (), _PHONE),
)


class DemoClient(NamedTuple):
    """`secret` is printed as well."""

    client: Client
    secret: str


_SYSTEM = "system/*.cruds"
CLIENTS = (
    DemoClient(
        Client("demo-province", "Tỉnh (mẫu) / province", ("client_credentials",), "client_secret_basic", scope=_SYSTEM),
        "chi-de-dung-thu-tinh",
    ),
    DemoClient(
        Client(
            "demo-his", "HIS bệnh viện (mẫu) / a hospital's system", ("client_credentials",), "client_secret_basic", scope=_SYSTEM,
            organization="Organization/bvdk-tinh",
        ),
        "chi-de-dung-thu-his",
    ),
    DemoClient(
        Client(
            "demo-app", "Ứng dụng mẫu / an application", ("authorization_code", "refresh_token"), "none",
            scope="openid fhirUser launch launch/patient offline_access online_access patient/*.cruds user/*.cruds",
            redirect_uris=("http://127.0.0.1/callback", "http://localhost/callback"), post_logout_redirect_uris=("http://127.0.0.1/bye",),
        ),
        "",
    ),
)  # fmt: skip


async def demo_clients(store: Store) -> list[DemoClient]:
    """Make those that are not there."""
    for client, secret in CLIENTS:
        kept = replace(client, secret=hashed(secret) if secret else "")
        try:
            await store.records.put("client", client.id, kept.data(), version=0)
        except Conflict:
            continue
    return list(CLIENTS)


def password(login: str) -> str:
    """Passes the policy, and says what it is."""
    return f"chi-de-dung-thu-cho-biet-{login.removesuffix('.demo').replace('.', '-')}"


async def demo_accounts(store: Store) -> list[DemoSignIn]:
    """Make those that are not there; an account that is there stays as it was left, its password too. For printing."""
    accounts, passwords = Accounts(store), Passwords(store)
    try:
        for demo in ACCOUNTS:
            account = await accounts.by_login(demo.login)
            if account is None:
                try:
                    account = await accounts.add(
                        demo.login, demo.role, name=demo.name, fhir_user=demo.fhir_user, organizations=demo.organizations
                    )
                except AccountError:  # another worker was faster
                    account = await accounts.by_login(demo.login)
            if account is not None and account.role == "carer" and account.patient is None:
                account = await accounts.bind(account.id)  # made before accounts were bound
            if account is not None and not await passwords.present(account):
                await passwords.set(account, password(demo.login))
    finally:
        passwords.close()
    return [DemoSignIn(d.role, d.login, password(d.login), d.note) for d in ACCOUNTS]
