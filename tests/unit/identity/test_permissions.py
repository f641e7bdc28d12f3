from __future__ import annotations

from pathlib import Path

import pytest

from shared.identity.permissions import DESCRIPTIONS, ROLE_PERMISSIONS, Permission, Role, table

ROOT = Path(__file__).parents[3]


def test_the_page_is_what_the_code_says() -> None:
    page = (ROOT / "docs/reference/permissions.md").read_text()
    assert page == table(), "write it anew: python -m shared.identity.permissions > docs/reference/permissions.md"


def test_every_permission_says_what_it_lets_one_do() -> None:
    assert list(DESCRIPTIONS) == list(Permission)
    assert len(set(DESCRIPTIONS.values())) == len(Permission)


def test_every_role_has_permissions() -> None:
    assert set(ROLE_PERMISSIONS) == set(Role)
    assert ROLE_PERMISSIONS[Role.OWNER] == set(Permission)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [(Role.VIEWER, Role.OPERATOR), (Role.OPERATOR, Role.ADMIN), (Role.ADMIN, Role.OWNER), (Role.BILLING, Role.OWNER)],
)
def test_a_higher_role_lacks_nothing_of_a_lower_one(lower: Role, higher: Role) -> None:
    assert ROLE_PERMISSIONS[lower] < ROLE_PERMISSIONS[higher]


@pytest.mark.parametrize(
    ("role", "never"),
    [
        (Role.ADMIN, {Permission.ORG_DELETE, Permission.ORG_TRANSFER, Permission.BILLING_MANAGE}),
        (Role.OPERATOR, {Permission.MEMBERS_INVITE, Permission.SERVERS_SECRETS, Permission.SERVERS_DELETE}),
        (Role.BILLING, {Permission.SERVERS_READ, Permission.SERVERS_START, Permission.CONSOLE_READ}),
        (Role.VIEWER, {p for p in Permission if not p.value.endswith(".read")}),
    ],
)
def test_what_a_role_must_never_have(role: Role, never: set[Permission]) -> None:
    assert not ROLE_PERMISSIONS[role] & never
