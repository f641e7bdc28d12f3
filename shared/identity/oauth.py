"""The names of OAuth's grants and token types that the exchange knows (RFC 8693, 3), and how long our tokens live."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
SUBJECT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
LIFE: Final = timedelta(minutes=10)
