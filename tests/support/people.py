"""People for tests: signed up at the real sign-in server, signed in through the real exchange.

ann = Person.sign_up(house, "ann")                 # an account at the sign-in site, no organization yet
api = ann.found_organization("Ann's servers")      # an API client for the organization she owns
api.get("/v1/organization").json()
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests

from tests.support.house import HouseForTests

PASSWORD = "correct horse battery staple"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
PATIENCE = 30.0


class ApiClient:
    """Calls the API with one bearer credential: an access token for one organization, or an API key."""

    def __init__(self, base: str, credential: str | None, organization: str | None = None) -> None:
        self.base, self.credential, self.organization = base, credential, organization
        self._session = requests.Session()

    def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> requests.Response:
        """One request; a POST gets a fresh `Idempotency-Key` unless one is given."""
        sent = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        if self.credential:
            sent["Authorization"] = f"Bearer {self.credential}"
        sent.update(headers or {})
        if body is not None:
            options["data"] = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        return self._session.request(method, self.base + path, headers=sent, timeout=PATIENCE, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET."""
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        """POST."""
        return self.call("POST", path, body, **options)

    def change(self, method: str, path: str, body: Any = None, *, etag: str | None = None) -> requests.Response:
        """PATCH, PUT or DELETE with `If-Match`; without an ETag given, the one that a GET of the path tells."""
        etag = etag or self.get(path).headers.get("ETag", "*")
        return self.call(method, path, body, headers={"If-Match": etag})

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()


@dataclass
class Person:
    """One person with an account at the sign-in site; the browser's cookies are in `browser`."""

    house: HouseForTests
    email: str
    user_id: str
    browser: requests.Session = field(default_factory=requests.Session)

    @classmethod
    def sign_up(cls, house: HouseForTests, name: str, email: str | None = None) -> Self:
        """A new account. The address is not verified until `verify_email`."""
        email = email or f"{name.lower()}-{uuid.uuid4().hex[:8]}@example.com"
        browser = requests.Session()
        reply = browser.post(
            f"{house.auth}/api/auth/sign-up/email",
            json={"email": email, "password": PASSWORD, "name": name},
            headers={"Origin": house.auth},
            timeout=PATIENCE,
        )
        assert reply.status_code == 200, reply.text
        return cls(house, email, reply.json()["user"]["id"], browser)

    def sign_in(self) -> Person:
        """The same person at another browser: a session of its own."""
        browser = requests.Session()
        reply = browser.post(
            f"{self.house.auth}/api/auth/sign-in/email",
            json={"email": self.email, "password": PASSWORD},
            headers={"Origin": self.house.auth},
            timeout=PATIENCE,
        )
        assert reply.status_code == 200, reply.text
        return Person(self.house, self.email, self.user_id, browser)

    def verify_email(self) -> None:
        """Follow the link in the confirmation mail."""
        links = [mail["url"] for mail in outbox(self.house) if mail["to"] == self.email]
        reply = self.browser.get(links[-1], allow_redirects=False, timeout=PATIENCE)
        assert reply.status_code < 400, reply.text

    def site_token(self) -> str:
        """A token of the sign-in site, good for one exchange."""
        reply = self.browser.get(f"{self.house.auth}/api/auth/token", timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["token"])

    def exchange(self, organization: str | None = None, *, token: str | None = None, **form: str) -> requests.Response:
        """The raw reply of a token exchange."""
        fields = {
            "grant_type": EXCHANGE,
            "subject_token": token or self.site_token(),
            "subject_token_type": JWT_TYPE,
            **({"organization": organization} if organization else {}),
            **form,
        }
        return requests.post(f"{self.house.api}/v1/auth/token", data=fields, timeout=PATIENCE)

    def client(self, organization: str | None = None) -> ApiClient:
        """An API client for one organization (None: the person's only or preferred one, or none yet)."""
        reply = self.exchange(organization)
        assert reply.status_code == 200, reply.text
        body = reply.json()
        return ApiClient(self.house.api, body["access_token"], body.get("organization"))

    def found_organization(self, name: str) -> ApiClient:
        """Create an organization and return a client bound to it, as its owner."""
        bare = self.client()
        reply = bare.post("/v1/organizations", {"name": name})
        assert reply.status_code == 201, reply.text
        bare.close()
        return self.client(reply.json()["id"])


def outbox(house: HouseForTests) -> list[dict[str, Any]]:
    """The mails that the sign-in site has sent, oldest first."""
    path = Path(house.folder) / "auth" / "outbox.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
