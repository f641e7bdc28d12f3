"""The meter's report for a person with a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}small{color:#666}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}small{color:#999}}
"""


def cost_page(report: Mapping[str, Any]) -> bytes:
    """The report as an HTML page."""
    cost = _table(
        ("Meter", "Quantity", "List price", "US$", ""),
        (
            (
                each["meter"].replace("_", " "),
                f"{each['quantity']:,.10g} {each['unit']}",
                each["price"],
                "" if each["usd"] is None else f"{each['usd']:.6f}",
                each["source"],
            )
            for each in report["cost"]
        ),
    )
    functions = _table(
        ("Function", "Group", "Executions", "Failures", "Seconds", "GB-s if alone", "Log bytes"),
        (
            (
                each["name"],
                each["group"],
                f"{each['executions']:,}",
                f"{each['failures']:,}",
                f"{each['seconds']:,.3f}",
                f"{each['gb_seconds_alone']:,.1f}",
                f"{each['log_bytes']:,}",
            )
            for each in report["functions"]
        ),
    )
    groups = _table(
        ("Group", "GB-s"), ((name, f"{value:,.1f}") for name, value in report["gb_seconds_by_group"].items())
    )
    durable = _table(("Durable", "Count"), ((name, f"{value:,}") for name, value in report["durable"].items()))
    sources = "".join(
        f"<h2>{escape(name)}</h2>{_table(('Counter', 'Value'), _flat(source))}"
        for name, source in report["sources"].items()
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>What Azure would bill</title><style>{_STYLE}</style>
<h1>What Azure would bill: ${report["usd"]:.6f}</h1>
<p>Since {escape(report["since"])}. GB-s are those of one instance for each group of functions that scales together; each call alone
on its own instance would make {report["gb_seconds_alone"]:,.1f} GB-s. <small>Free grants are not deducted.</small></p>
{cost}<h2>Functions</h2>{functions}<h2>Groups</h2>{groups}{"<h2>Durable Functions</h2>" + durable if report["durable"] else ""}{sources}
""".encode()


def _flat(source: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in source.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name} / ")
        else:
            yield f"{prefix}{name}", f"{value:,}" if isinstance(value, int | float) else str(value)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th{' class=n' if index else ''}>{escape(text)}</th>" for index, text in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if index else ''}>{escape(text)}</td>" for index, text in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
