"""The public API as the command line calls it: tokens renewed, waits honoured, problems turned into sentences."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from cli.errors import ApiError, CliError
from cli.profile import Profile

TIMEOUT_SECONDS = 30.0
RETRIES = 4
LONGEST_WAIT_SECONDS = 30.0
RENEW_BEFORE_SECONDS = 30.0
TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path, not a token


class Api:
    """One person's (or one API key's) view of the API."""

    def __init__(self, profile: Profile, api_key: str | None = None) -> None:
        self.profile = profile
        self._api_key = api_key or os.environ.get("MERIDIAN_API_KEY")
        self._http = httpx.Client(base_url=profile.api, timeout=TIMEOUT_SECONDS, headers={"User-Agent": "meridian-cli"})

    def get(self, path: str, **query: object) -> Any:
        """The body of a GET."""
        return self.call("GET", path, query=query).json()

    def post(self, path: str, body: object = None) -> Any:
        """The body of a POST, sent with an idempotency key so that a retry does nothing twice."""
        return _body(self.call("POST", path, body=body, headers={"Idempotency-Key": str(uuid.uuid4())}))

    def change(self, method: str, path: str, body: object = None) -> Any:
        """PATCH, PUT or DELETE what is there now: reads its ETag first and sends it as If-Match."""
        current = self.call("GET", path)
        headers = {"If-Match": current.headers["etag"]} if "etag" in current.headers else {}
        return _body(self.call(method, path, body=body, headers=headers))

    def pages(self, path: str, limit: int | None = None, **query: object) -> Iterator[dict[str, Any]]:
        """All items of a list, page after page, until `limit`."""
        count = 0
        page = self.get(path, **query)
        while True:
            for item in page["items"]:
                yield item
                count += 1
                if limit is not None and count >= limit:
                    return
            if not page.get("next"):
                return
            page = self.get(page["next"])

    def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, object] | None = None,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One request; 429 and 503 are waited for, an expired token is renewed once.

        Raises:
            ApiError: the API refused.
            CliError: it cannot be reached, or nobody is signed in.
        """
        params = {key: value for key, value in (query or {}).items() if value is not None}
        for attempt in range(RETRIES + 1):
            response = self._send(method, path, params, body, {**(headers or {}), **self._authorization()})
            if response.status_code not in (429, 503) or attempt == RETRIES:
                break
            time.sleep(_wait_seconds(response, attempt))
        if response.is_success or response.status_code == 304:
            return response
        raise ApiError.from_body(response.status_code, _body(response))

    def token(self, form: dict[str, str]) -> None:
        """Ask the token endpoint and keep what it answers in the profile."""
        response = self._send("POST", TOKEN_PATH, {}, None, {}, form)
        body = _body(response)
        if not response.is_success:
            raise ApiError.from_body(response.status_code, body)
        self.profile.access_token = body["access_token"]
        self.profile.access_expires_at = time.time() + float(body["expires_in"])
        self.profile.refresh_token = body.get("refresh_token") or ""
        self.profile.org_id = body.get("organization") or ""
        self.profile.save()

    def for_organization(self, org_id: str) -> None:
        """Change to a token for another organization of the same person."""
        renewal = {"grant_type": "refresh_token", "refresh_token": self.profile.refresh_token, "client_id": "cli"}
        self.token({**renewal, "organization": org_id})

    def _authorization(self) -> dict[str, str]:
        if self._api_key:
            return {"Authorization": f"Bearer {self._api_key}"}
        profile = self.profile
        if not profile.access_token:
            raise CliError("nobody is signed in: run `meridian login`, or set MERIDIAN_API_KEY")
        if profile.access_expires_at - time.time() < RENEW_BEFORE_SECONDS:
            if not profile.refresh_token:
                raise CliError("the sign-in has expired: run `meridian login`")
            try:
                self.token({"grant_type": "refresh_token", "refresh_token": profile.refresh_token, "client_id": "cli"})
            except ApiError as error:
                raise CliError(f"the sign-in has expired ({error.code}): run `meridian login`") from error
        return {"Authorization": f"Bearer {profile.access_token}"}

    def _send(
        self,
        method: str,
        path: str,
        params: dict[str, Any],
        body: object,
        headers: dict[str, str],
        form: dict[str, str] | None = None,
    ) -> httpx.Response:
        try:
            return self._http.request(method, path, params=params or None, json=body, data=form, headers=headers)
        except httpx.HTTPError as error:
            raise CliError(
                f"{self.profile.api} cannot be reached ({error}); is it running? `make run` starts it here"
            ) from error


def _wait_seconds(response: httpx.Response, attempt: int) -> float:
    asked = response.headers.get("retry-after", "")
    seconds = float(asked) if asked.isdigit() else float(2**attempt)
    return min(seconds, LONGEST_WAIT_SECONDS)


def _body(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        return {"detail": response.text[:500]}
