"""Signing in: an account at the sign-in server, its short token exchanged for ours."""

from __future__ import annotations

import httpx

from cli.api import TIMEOUT_SECONDS, Api
from cli.errors import CliError
from cli.profile import Profile

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # RFC 8693
JWT = "urn:ietf:params:oauth:token-type:jwt"


def sign_in(profile: Profile, email: str, password: str, *, name: str | None = None) -> Api:
    """Sign a person in (or, with a name, up first) and remember the tokens in the profile.

    Raises:
        CliError: the sign-in server refused or cannot be reached.
        ApiError: the exchange was refused.
    """
    with httpx.Client(base_url=profile.auth, timeout=TIMEOUT_SECONDS, headers={"Origin": profile.auth}) as auth:
        if name is not None:
            _ask(auth, "POST", "/api/auth/sign-up/email", {"email": email, "password": password, "name": name})
        else:
            _ask(auth, "POST", "/api/auth/sign-in/email", {"email": email, "password": password})
        subject = _ask(auth, "GET", "/api/auth/token")["token"]
    api = Api(profile)
    api.token({"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": JWT, "client_id": "cli"})
    profile.email = email
    profile.save()
    return api


def _ask(auth: httpx.Client, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, str]:
    try:
        response = auth.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise CliError(f"the sign-in server {auth.base_url} cannot be reached ({error})") from error
    answer = response.json() if response.content else {}
    if not response.is_success:
        raise CliError(f"sign-in refused: {answer.get('message') or response.status_code}")
    return dict(answer)
