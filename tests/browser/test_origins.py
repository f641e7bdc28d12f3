"""Two browsers on two origins: sign-in pages of two sites call one API, and a third page may not.

Chromium decides here, not we: what CORS and preflight forbid, no page of a foreign origin gets to see.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.house import HouseForTests
from tests.support.people import PASSWORD, Person
from tests.support.processes import Part, free_port

CHROMIUM = Path("/usr/bin/chromium")


@dataclass
class World:
    house: HouseForTests
    cart: str  # a second site, trusted
    evil: str  # a page of nobody we know
    browser: Browser


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if not CHROMIUM.exists():
        pytest.fail("chromium is missing: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    port = free_port()
    cart = f"http://localhost:{port}"
    house = HouseForTests(folder, "cosmos", "auth", "host")
    trusted = json.loads(house.settings()["MERIDIAN_TRUSTED_ISSUERS"])
    entry = {"issuer": cart, "jwks_uri": f"{cart}/api/auth/jwks", "clients": ["cart"], "origins": [cart]}
    house._settings.update(
        MERIDIAN_TRUSTED_ISSUERS=json.dumps([*trusted, entry]), MERIDIAN_CORS_ORIGINS=f"{house.auth},{cart}"
    )
    site = Part.module(
        "local.auth",
        *("--port", str(port), "--data", str(folder / "cart"), "--client", "cart", "--api", house.api),
        log=folder / "cart.log",
        port=port,
    )
    (folder / "evil").mkdir()
    (folder / "evil" / "index.html").write_text("<!doctype html><title>evil</title>")
    pages = partial(SimpleHTTPRequestHandler, directory=str(folder / "evil"))
    foreign = ThreadingHTTPServer(("127.0.0.1", 0), pages)
    threading.Thread(target=foreign.serve_forever, daemon=True).start()
    evil = f"http://localhost:{foreign.server_port}"
    with house, site, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield World(house, cart, evil, browser)
        browser.close()
    foreign.shutdown()
    foreign.server_close()


def opened(world: World, address: str) -> Page:
    """A page of a fresh browser profile."""
    page = world.browser.new_context().new_page()
    page.goto(address)
    return page


def sign_up(page: Page, name: str) -> None:
    page.get_by_role("button", name="Sign up").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("E-mail").fill(f"{name.lower()}-{secrets.token_hex(4)}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("#submit").click()
    expect(page.get_by_role("heading", name=f"Hello, {name}")).to_be_visible(timeout=30_000)


def call(page: Page, url: str, **options: object) -> dict[str, object]:
    """What a script of the page gets when it calls: a status, or the browser's refusal."""
    script = """async ([url, options]) => {
        try {
            const reply = await fetch(url, options);
            return { status: reply.status, etag: reply.headers.get("ETag"), id: reply.headers.get("X-Request-Id") };
        } catch (error) { return { refused: String(error) }; }
    }"""
    return dict(page.evaluate(script, [url, options]))


def test_people_sign_up_on_two_sites_and_work_on_one_api(world: World) -> None:
    for address, name in ((world.house.auth, "Ann"), (world.cart, "Ben")):
        page = opened(world, address)
        sign_up(page, name)
        page.get_by_label("Found an organization").fill(f"{name}'s servers")
        page.get_by_role("button", name="Found it").click()
        here = page.locator("#organizations li.here")
        expect(here).to_contain_text(f"{name}'s servers", timeout=30_000)
        expect(here).to_contain_text("owner")
        page.reload()
        expect(page.locator("#organizations li.here")).to_contain_text(f"{name}'s servers", timeout=30_000)
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#credentials")).to_be_visible()
        page.context.close()


def test_the_browser_lets_a_known_page_read_and_change(world: World) -> None:
    page = opened(world, world.house.auth)
    plain = call(page, f"{world.house.api}/healthz")
    assert plain["status"] == 200
    assert plain["id"]  # an exposed header
    changed = call(
        page,
        f"{world.house.api}/v1/organization",
        method="PATCH",
        headers={"Authorization": "Bearer x.y.z", "If-Match": '"1"', "Content-Type": "application/json"},
        body="{}",
    )
    assert changed["status"] == 401  # preflight passed: the refusal is ours, and the page may read it
    page.context.close()


def test_the_browser_keeps_a_foreign_page_out(world: World) -> None:
    page = opened(world, world.evil)
    assert "refused" in call(page, f"{world.house.api}/healthz")
    headers = {"Authorization": "Bearer x.y.z", "Idempotency-Key": "12345678"}
    assert "refused" in call(page, f"{world.house.api}/v1/organizations", method="POST", headers=headers)
    assert "refused" in call(page, f"{world.house.auth}/api/auth/token", credentials="include")
    page.context.close()


def test_a_site_cannot_spend_another_sites_token(world: World) -> None:
    panel = opened(world, world.house.auth)
    sign_up(panel, "Cay")
    token = panel.evaluate("async () => (await (await fetch('/api/auth/token')).json()).token")
    cart = opened(world, world.cart)
    form = (
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange"
        f"&subject_token_type=urn:ietf:params:oauth:token-type:jwt&subject_token={token}"
    )
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    exchange = f"{world.house.api}/v1/auth/token"
    assert call(cart, exchange, method="POST", headers=kind, body=form)["status"] == 400
    assert call(panel, exchange, method="POST", headers=kind, body=form)["status"] == 200  # it was not used up
    for page in (panel, cart):
        page.context.close()


def test_an_invitation_is_accepted_by_its_link(world: World) -> None:
    owner = Person.sign_up(world.house, "Eve").found_organization("Eve's servers")
    invited = owner.post("/v1/invitations", {"email": "somebody@example.com", "role": "operator"}).json()
    page = opened(world, f"{world.house.auth}/?invitation={invited['token']}")
    sign_up(page, "Fay")
    expect(page.locator("#invitation-list")).to_contain_text("Eve's servers (operator)")
    page.get_by_role("button", name="Accept").click()
    here = page.locator("#organizations li.here")
    expect(here).to_contain_text("Eve's servers", timeout=30_000)
    expect(here).to_contain_text("operator")
    assert "invitation" not in page.url
    page.context.close()


def test_a_command_line_gets_its_code_only_after_a_click(world: World) -> None:
    got: list[str] = []

    class Callback(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # of RFC 7636, appendix B
    page = opened(world, f"{world.house.auth}/cli?challenge={challenge}&port={listener.server_port}&state=abc")
    sign_up(page, "Dan")
    assert got == []
    page.get_by_role("button", name="Allow the command line").click()
    page.wait_for_url(f"http://127.0.0.1:{listener.server_port}/callback**", timeout=30_000)
    assert got[0].startswith("/callback?code=")
    assert "state=abc" in got[0]
    page.context.close()
    listener.shutdown()
    listener.server_close()
