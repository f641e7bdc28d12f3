"""The data explorer, driven in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from azure.cosmos import CosmosClient, PartitionKey
from playwright.sync_api import Page, expect, sync_playwright

from tests.contract.cosmos.conftest import endpoint
from tests.contract.cosmos.target import KEY
from tests.support.processes import Part

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.local_only,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    with endpoint(tmp_path_factory.mktemp("explorer")) as part:
        with CosmosClient(f"http://localhost:{part.port}", KEY) as client:
            database = client.create_database("meridian")
            servers = database.create_container("tenants", PartitionKey("/org_id"))
            database.create_container("activity", PartitionKey(["/org_id", "/month"]), default_ttl=3600)
            for number in range(60):
                servers.create_item(
                    {
                        "id": f"srv_{number:03}",
                        "org_id": f"org_{number % 3}",
                        "type": "server",
                        "name": f"Dedicated server {number} <b>&",
                        "state": ("running", "stopped")[number % 2],
                        "players": number % 17,
                        "ports": [27015 + number],
                    }
                )
        yield part


@pytest.fixture
def page(part: Part, tmp_path: Path) -> Iterator[Page]:
    """The page, opened with its key; any error in its scripts fails the test."""
    errors: list[Any] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=QUIET, viewport={"width": 1280, "height": 800}
        )
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"http://localhost:{part.port}/#key={quote(KEY, safe='')}")
        yield page
        browser.close()
    assert not errors


def choose(page: Page, name: str = "tenants") -> None:
    page.get_by_role("button", name=name).click()
    expect(page.locator("#outcome")).to_contain_text("RU")


def test_the_key_leaves_the_address_and_the_containers_are_listed(page: Page) -> None:
    expect(page.get_by_role("heading", name="meridian")).to_be_visible()
    expect(page.get_by_role("button", name="activity")).to_contain_text("/org_id, /month")
    assert "key" not in page.url


def test_items_pages_and_costs(page: Page) -> None:
    choose(page)
    expect(page.locator("#rows tbody tr")).to_have_count(50)
    expect(page.locator("#outcome")).to_contain_text("50 rows, more to come")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#rows tbody tr")).to_have_count(60)
    page.get_by_role("tab", name="Costs").click()
    expect(page.locator("#costs")).to_contain_text("query")
    page.get_by_role("tab", name="Settings").click()
    expect(page.locator("#settings")).to_contain_text('"/org_id"')


def test_a_query_within_a_partition_and_one_over_all(page: Page) -> None:
    choose(page)
    page.get_by_label("Query").fill("SELECT c.name, c.players FROM c WHERE c.state = 'running' ORDER BY c.players DESC")
    page.get_by_label("Partition key").fill("org_1")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#rows tbody tr")).to_have_count(10)
    page.get_by_label("Partition key").fill("")
    page.get_by_label("Query").fill("SELECT c.org_id, COUNT(1) AS servers FROM c GROUP BY c.org_id")
    page.get_by_label("Query").press("Control+Enter")
    expect(page.locator("#rows tbody tr")).to_have_count(3)
    page.get_by_label("Query").fill("SELECT * FROM c WHERE c.order = 1")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#outcome")).to_contain_text("reserved word")


def test_an_item_is_edited_in_the_version_that_was_seen(page: Page, part: Part) -> None:
    choose(page)
    page.locator("#rows tbody tr").nth(3).click()
    expect(page.locator("#item-title")).to_have_text("srv_003")
    body = page.locator("#body")
    body.fill(body.input_value().replace('"stopped"', '"edited"'))
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#item-outcome")).to_contain_text("Saved")
    with CosmosClient(f"http://localhost:{part.port}", KEY) as client:
        container = client.get_database_client("meridian").get_container_client("tenants")
        item = container.read_item("srv_003", "org_0")
        assert item["state"] == "edited"
        container.replace_item("srv_003", {**item, "state": "changed behind its back"})
    body.fill(body.input_value().replace('"edited"', '"lost"'))
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#item-outcome")).to_contain_text("pre-condition")


def test_an_item_is_made_and_deleted(page: Page) -> None:
    choose(page)
    page.get_by_role("button", name="New item").click()
    page.locator("#body").fill('{"id": "new", "org_id": "org_ü", "name": "New"}')
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#item-outcome")).to_contain_text("Saved")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#item")).to_be_hidden()


def test_without_a_key_it_asks_for_one(page: Page, part: Part) -> None:
    expect(page.get_by_role("button", name="tenants")).to_be_visible()  # else it may write the key down after this
    page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    page.goto(f"http://localhost:{part.port}/")
    page.get_by_label("Account key").fill("d3Jvbmc=")
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#login-outcome")).to_contain_text("key is wrong")
    page.get_by_label("Account key").fill(KEY)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("button", name="tenants")).to_be_visible()


@pytest.mark.parametrize(
    ("case", "path", "headers", "status", "content_type"),
    [
        ("a browser", "/", {"Accept": "text/html,*/*"}, 200, "text/html; charset=utf-8"),
        ("an unsigned client", "/", {"Accept": "application/json"}, 401, "application/json"),
        ("a badly signed one", "/", {"Accept": "text/html", "authorization": "x"}, 401, "application/json"),
        ("its script", "/_explorer/app.js", {}, 200, "text/javascript; charset=utf-8"),
        ("a file that it has not", "/_explorer/..%2f__main__.py", {}, 404, "application/json"),
        ("data", "/dbs", {"Accept": "text/html"}, 401, "application/json"),
    ],
)
def test_who_gets_the_page(
    part: Part, case: str, path: str, headers: dict[str, str], status: int, content_type: str
) -> None:
    assert part.port is not None
    connection = HTTPConnection("127.0.0.1", part.port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("content-type")) == (status, content_type), case
    if content_type.startswith("text/html"):
        assert "default-src 'none'" in (answer.getheader("content-security-policy") or "")
    connection.close()
