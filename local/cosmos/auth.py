"""The master key signature, checked as the service checks it.

https://learn.microsoft.com/rest/api/cosmos-db/access-control-on-cosmosdb-resources
"""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import parse_qs, unquote

from local.cosmos.errors import CosmosError

MAX_SKEW_SECONDS = 15 * 60
_COMMON_START = "type%3Dmaster%26ver%3D1.0%26sig%3D"


class MasterKey:
    """The account's one key."""

    def __init__(self, key: str) -> None:
        """Take the key as base64.

        Raises:
            ValueError: not base64, or empty.
        """
        try:
            self._key = base64.b64decode(key, validate=True)
        except binascii.Error as error:
            raise ValueError("the key must be base64") from error
        if not self._key:
            raise ValueError("the key is empty")

    def signature(self, verb: str, kind: str, link: str, date: str) -> str:
        """The signature of a request; `kind` and `link` as the protocol defines them, `date` as sent."""
        text = f"{verb.lower()}\n{kind}\n{link}\n{date.lower()}\n\n"
        return base64.b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()

    def check(self, header: str, verb: str, kind: str, link: str, date: str, now: float) -> None:
        """Accept or refuse a request.

        Args:
            header: the `authorization` header.
            now: seconds since the epoch.

        Raises:
            CosmosError: 401 for a missing, malformed or wrong signature, 403 when the date is too far off.
        """
        if header[: len(_COMMON_START)] == _COMMON_START:
            # What every SDK sends, told apart without taking the header to pieces.
            expected = self.signature(verb, kind, link, date)
            given = header[len(_COMMON_START) :].replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
            if hmac.compare_digest(expected.encode(), given.encode()) and abs(now - _moment(date)) <= MAX_SKEW_SECONDS:
                return
        self._explain(header, verb, kind, link, date, now)

    def _explain(self, header: str, verb: str, kind: str, link: str, date: str, now: float) -> None:
        """The same check step by step, with a reason for each refusal."""
        if not header:
            raise CosmosError(401, "The request carries no authorization header.")
        fields = _fields(header)
        if fields.get("type") != "master":
            raise CosmosError(
                401, f"Authorization type {fields.get('type', '(none)')!r} is not accepted here; use the master key."
            )
        if fields.get("ver") != "1.0":
            raise CosmosError(401, "The authorization version must be 1.0.")
        moment = _moment(date)
        expected = self.signature(verb, kind, link, date)
        if not hmac.compare_digest(expected.encode(), fields.get("sig", "").encode()):
            payload = f"{verb.lower()}\\n{kind}\\n{link}\\n{date.lower()}\\n\\n"
            raise CosmosError(
                401,
                "The input authorization token can't serve the request: the key is wrong, or another text was signed. "
                f"The server signed '{payload}'.",
            )
        if abs(now - moment) > MAX_SKEW_SECONDS:
            raise CosmosError(
                403,
                f"The authorization token is not valid at the current time: the request is dated {date}, "
                f"the server's clock says {datetime.fromtimestamp(now, UTC):%a, %d %b %Y %H:%M:%S GMT}; "
                f"at most {MAX_SKEW_SECONDS // 60} minutes may lie between.",
            )


@lru_cache(maxsize=16)
def _moment(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        raise CosmosError(401, "The request needs an x-ms-date header with an RFC 1123 date.") from None


def _fields(header: str) -> dict[str, str]:
    # parse_qs would turn the "+" of base64 into a blank.
    return {name: values[0] for name, values in parse_qs(unquote(header).replace("+", "%2B")).items()}
