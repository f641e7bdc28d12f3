"""Where an API key with a list of addresses may be used from."""

from __future__ import annotations

import pytest

from shared.identity.models import ApiKey
from shared.platform.ids import OrgId, UserId

ROWS = {
    # name: (networks, address, whether it may)
    "no list": ((), "unknown", True),
    "inside": (("203.0.113.0/24",), "203.0.113.9", True),
    "outside": (("203.0.113.0/24",), "203.0.114.9", False),
    "one of several": (("2001:db8::/32", "203.0.113.9/32"), "203.0.113.9", True),
    "IPv4 as a front of both families writes it": (("203.0.113.0/24",), "::ffff:203.0.113.9", True),
    "the same, outside": (("203.0.113.0/24",), "::ffff:203.0.114.9", False),
    "all of IPv6 holds no IPv4": (("::/0",), "::ffff:203.0.113.9", False),
    "all of IPv4 holds no IPv6": (("0.0.0.0/0",), "2001:db8::7", False),
    "an address that cannot be read": (("0.0.0.0/0", "::/0"), "unknown", False),
    "an address with a zone": (("fe80::/10",), "fe80::1%eth0", True),
}


@pytest.mark.parametrize("name", ROWS)
def test_from_where(name: str) -> None:
    networks, address, may = ROWS[name]
    key = ApiKey(
        id="key_1", org_id=OrgId("org_1"), name="K", prefix="mk_x", hash="h", scopes=(), networks=networks,
        made_by=UserId("usr_1"),
    )  # fmt: skip
    assert key.allows_address(address) is may
