"""Signing in: the sign-in site hands over a code, the code becomes a site's token, the token is exchanged for ours.

The verifier (RFC 7636, S256) never leaves this process, so a code that somebody reads on its way is worth nothing.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

import httpx

from cli.api import TIMEOUT_SECONDS, Api
from cli.errors import CliError
from cli.profile import Profile

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # RFC 8693
JWT = "urn:ietf:params:oauth:token-type:jwt"


def sign_in(profile: Profile, email: str, password: str, *, name: str | None = None) -> Api:
    """Sign a person in (or, with a name, up first) and remember the tokens in the profile.

    Raises:
        CliError: the sign-in site refused or cannot be reached.
        ApiError: the exchange was refused.
    """
    verifier = secrets.token_urlsafe(48)
    with _site(profile) as site:
        door = "/api/auth/sign-in/email" if name is None else "/api/auth/sign-up/email"
        who = {"email": email, "password": password} | ({} if name is None else {"name": name})
        _ask(site, door, who)
        code = _ask(site, "/cli/authorize", {"challenge": challenge_of(verifier)})["code"]
    profile.email = email
    return redeem(profile, code, verifier)


def redeem(profile: Profile, code: str, verifier: str) -> Api:
    """Turn the site's code into tokens of ours, kept in the profile.

    Raises:
        CliError: the code is used, too old, or not for this verifier.
        ApiError: the exchange was refused.
    """
    with _site(profile) as site:
        return exchange(profile, _ask(site, "/cli/token", {"code": code, "verifier": verifier})["token"])


def exchange(profile: Profile, subject: str, org_id: str | None = None) -> Api:
    """Trade the site's token for ours.

    Args:
        profile: where the tokens are kept.
        subject: the site's token; it is good for this one exchange.
        org_id: the organization that the token is to be for; None leaves the choice to the API.

    Raises:
        ApiError: refused.
    """
    api = Api(profile)
    chosen = {} if org_id is None else {"organization": org_id}
    api.token(
        {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": JWT, "client_id": "cli", **chosen}
    )
    return api


def challenge_of(verifier: str) -> str:
    """The S256 code challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _site(profile: Profile) -> httpx.Client:
    return httpx.Client(base_url=profile.auth, timeout=TIMEOUT_SECONDS, headers={"Origin": profile.auth})


def _ask(site: httpx.Client, path: str, body: dict[str, str]) -> dict[str, Any]:
    try:
        response = site.post(path, json=body)
        answer = response.json() if response.content else {}
    except (httpx.HTTPError, ValueError) as error:
        raise CliError(f"the sign-in site {site.base_url} cannot be reached ({error})") from error
    if not response.is_success:
        raise CliError(f"sign-in refused: {answer.get('message') or response.status_code}")
    return dict(answer)
