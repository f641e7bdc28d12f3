"""The public API as the command line calls it: tokens renewed, waits honoured, problems turned into sentences."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.errors import ApiError, CliError, NotSignedIn, Unreachable
from cli.profile import Profile

TIMEOUT_SECONDS = 30.0
RETRIES = 4
RETRIES_OF_A_BROKEN_LINE = 2
LONGEST_WAIT_SECONDS = 60.0  # a rate window is a minute; what is refused for longer is told at once
RENEW_BEFORE_SECONDS = 30.0
TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path, not a token


class Api:
    """One person's (or one API key's) view of the API."""

    def __init__(self, profile: Profile, api_key: str | None = None) -> None:
        self.profile = profile
        self._api_key = api_key or os.environ.get("MERIDIAN_API_KEY")
        self._http = httpx.Client(base_url=profile.api, timeout=TIMEOUT_SECONDS, headers={"User-Agent": "meridian-cli"})

    def for_seconds(self, seconds: float) -> None:
        """Wait no longer than this for any answer."""
        self._http.timeout = httpx.Timeout(seconds)

    def get(self, path: str, **query: Any) -> Any:
        """The body of a GET."""
        return self.call("GET", path, query=query).json()

    def post(self, path: str, body: object = None, *, once: bool = False) -> Any:
        """The body of a POST, sent with an idempotency key so that a retry does nothing twice.

        Args:
            once: never sent again after a broken line: the route keeps no keys, and doing it twice would be felt.
        """
        headers = {} if once else {"Idempotency-Key": str(uuid.uuid4())}
        return _body(self.call("POST", path, body=body, headers=headers))

    def change(self, method: str, path: str, body: object = None, *, read: bool = True) -> Any:
        """PATCH, PUT or DELETE what is there now: reads its ETag first and sends it as If-Match.

        Args:
            read: false for what never changes, and so has no ETag to read.
        """
        etag = self.call("GET", path).headers.get("etag") if read else None
        return _body(self.call(method, path, body=body, headers={"If-Match": etag} if etag else {}))

    def pages(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
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
            response = self._patiently(method, path, params, body, headers or {})
            if response.status_code not in (429, 503) or attempt == RETRIES:
                break
            if (wait := _wait_seconds(response, attempt)) > LONGEST_WAIT_SECONDS:
                break  # nobody looks on for so long
            time.sleep(wait)
        if response.is_success or response.status_code == 304:
            return response
        raise ApiError.from_body(response.status_code, _body(response))

    def _patiently(
        self, method: str, path: str, params: dict[str, Any], body: object, headers: dict[str, str]
    ) -> httpx.Response:
        """One answer. A line that breaks is tried anew where asking twice does nothing twice."""
        safe = method == "GET" or "Idempotency-Key" in headers or "If-Match" in headers
        for attempt in range(RETRIES_OF_A_BROKEN_LINE + 1):
            try:
                return self._send(method, path, params, body, {**headers, **self._authorization()})
            except Unreachable as error:
                refused = isinstance(error.__cause__, httpx.ConnectError)
                if refused or not safe or attempt == RETRIES_OF_A_BROKEN_LINE:
                    raise
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt raises or returns")

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
        if self._api_key:
            raise CliError("an API key is for one organization: unset MERIDIAN_API_KEY, and `meridian login`")
        with self.profile.locked():
            self.profile.reload()
            renewal = {"grant_type": "refresh_token", "refresh_token": self.profile.refresh_token, "client_id": "cli"}
            self.token({**renewal, "organization": org_id})

    def _authorization(self) -> dict[str, str]:
        if self._api_key:
            return {"Authorization": f"Bearer {self._api_key}"}
        profile = self.profile
        if not profile.access_token:
            raise NotSignedIn(f"nobody is signed in at {profile.api}: run `meridian login`, or set MERIDIAN_API_KEY")
        if profile.access_expires_at - time.time() < RENEW_BEFORE_SECONDS:
            self._renew()
        return {"Authorization": f"Bearer {profile.access_token}"}

    def _renew(self) -> None:
        """A fresh access token. Of several commands at once, one asks, and the others read what it got.

        A refresh token is good once: if two sent the same one, the second would look like a thief and end the sign-in.
        """
        profile = self.profile
        with profile.locked():
            profile.reload()
            if profile.access_expires_at - time.time() >= RENEW_BEFORE_SECONDS:
                return
            if not profile.refresh_token:
                raise NotSignedIn("the sign-in has expired: run `meridian login`")
            try:
                self.token({"grant_type": "refresh_token", "refresh_token": profile.refresh_token, "client_id": "cli"})
            except ApiError as error:
                raise NotSignedIn(f"the sign-in has expired ({error.code}): run `meridian login`") from error

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
            raise Unreachable(
                f"{self.profile.api} cannot be reached ({_told(error)}){_hint(self.profile.api)}"
            ) from error
        except httpx.InvalidURL as error:
            raise CliError(
                f"{self.profile.api!r} is no address of an API ({error}); see --api and MERIDIAN_API"
            ) from error


def _told(error: httpx.HTTPError) -> str:
    """The reason without the machine's numbers; a time-out of httpx has no text of its own."""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def _hint(api: str) -> str:
    here = urlsplit(api).hostname in ("localhost", "127.0.0.1")
    return (
        "; `make run` starts it here"
        if here
        else "; is the address right? It comes from --api, MERIDIAN_API or the profile"
    )


def _wait_seconds(response: httpx.Response, attempt: int) -> float:
    asked = response.headers.get("retry-after", "")
    return float(asked) if asked.isdigit() else float(2**attempt)


def _body(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        return {"detail": response.text[:500]}
