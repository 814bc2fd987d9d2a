"""What a person does in the pages of a running hub, in a browser without JavaScript: signs in, chooses, agrees."""

from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urljoin

import httpx

from health_hub.demo.accounts import password
from tests.web.browser import Form, Page


class Person:
    """login: of the demo. facility, patient: what is chosen where the pages ask."""

    def __init__(self, issuer: str, login: str, facility: str = "", patient: str = "", search: str = "") -> None:
        self.issuer, self.login, self.search = issuer, login, search
        self.chosen = {"/auth/facility": {"organization": facility}, "/auth/patient": {"patient": patient}}
        self.http = httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.http.close()

    def agree(self, url: str) -> str:
        """From an authorization request to the URL where the application hears the answer."""
        answers = {"/sign-in": {"login": self.login, "password": password(self.login)}, "/auth/consent": {"answer": "allow"}} | self.chosen
        response = self.http.get(url)
        for _ in range(20):
            where: str = urljoin(str(response.url), response.headers.get("location", ""))
            if response.is_redirect:
                if not where.startswith(f"{self.issuer}/"):
                    return where
                response = self.http.get(where)
                continue
            path = response.url.path
            assert response.status_code == 200, response.text
            assert path in answers, f"asked at {path}"
            if path == "/auth/patient" and "q" not in response.url.params:
                response = self.http.get(str(response.url.copy_set_param("q", self.search)))
                continue
            # The patient picker has two forms: one to search, one with the patients found.
            page, answer = Page(response), answers[path]
            picks = [f for f in page.forms if ("patient", answer.get("patient")) in f.buttons]
            response = self._send(str(response.url), picks[0] if picks else page.form(path), answer)
        raise AssertionError(f"went round at {response.url}")

    def _send(self, at: str, form: Form, values: dict[str, str]) -> httpx.Response:
        sent = [(k, v) for k, v in form.fields if k not in values] + list(values.items())
        headers = {"origin": self.issuer, "sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
        return self.http.post(urljoin(at, form.action), content=urlencode(sent), headers=headers)
