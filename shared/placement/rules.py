"""The decision itself. No clock, no network, no randomness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shared.placement.models import Amount, Demand, Node, Placed, Reason, Refused, Verdict
from shared.placement.ports import allocate
from shared.placement.strategy import Strategy

STATES = {
    "drained": "drained: takes nothing new",
    "maintenance": "in maintenance",
    "decommissioned": "decommissioned",
    "enrolling": "has not reported yet",
}
_NAMED = 5  # ports in one sentence
_UNITS = (("memory_mib", "memory", "MiB"), ("cpu_millicores", "CPU", "millicores"), ("disk_mib", "disk", "MiB"))


def place(demand: Demand, nodes: Iterable[Node], strategy: Strategy = Strategy.PACKED) -> Placed | Refused:
    """Choose a node. Equal nodes are told apart by their ids, so the same question has the same answer."""
    verdicts = []
    fitting: list[tuple[tuple[int, str], Node]] = []
    for node in nodes:
        verdict = judge(demand, node)
        if verdict.reasons:
            verdicts.append(verdict)
        else:
            fitting.append((order(node.id, verdict.free, strategy), node))
    if not fitting:
        return Refused(tuple(verdicts))
    _, node = min(fitting, key=lambda pair: pair[0])
    return settle(demand, node)


def order(node_id: str, free: Amount, strategy: Strategy) -> tuple[int, str]:
    """The smallest comes first: least free memory when packing, most when spreading."""
    return (free.memory_mib if strategy is Strategy.PACKED else -free.memory_mib, node_id)


def settle(demand: Demand, node: Node) -> Placed:
    """The placement on a node that `judge` found fit."""
    found = allocate(node, demand.ports)
    if not isinstance(found, tuple):
        raise RuntimeError(f"{node.id} was not judged fit")  # noqa: TRY004  # a broken promise of the caller
    numbers, keys = found
    return Placed(node.id, numbers, keys)


def judge(demand: Demand, node: Node) -> Verdict:
    """Everything that speaks against a node, not only the first thing."""
    free = node.free()
    reasons = [*_unfit(demand, node), *short(demand.amount, free)]
    if len(node.holds) >= node.maximum_servers:
        reasons.append(Reason("too_many_servers", f"holds {len(node.holds)} servers, at most {node.maximum_servers}"))
    if demand.group and any(hold.group == demand.group for hold in node.holds):
        reasons.append(Reason("anti_affinity", f"has a server of the group {demand.group!r} already"))
    if not reasons:
        missing = allocate(node, demand.ports)
        if not isinstance(missing, tuple):
            reasons.append(_foreign(demand, node) or _no_ports(node, [wish.name for wish in missing.wishes]))
    return Verdict(node.id, node.name, tuple(reasons), free)


def short(needs: Amount, free: Amount) -> list[Reason]:
    """What is lacking, with both figures."""
    found = []
    for field, name, unit in _UNITS:
        wanted, there = getattr(needs, field), getattr(free, field)
        if wanted > there:
            text = f"short of {name} by {wanted - there} {unit} (needs {wanted}, has {max(there, 0)} free)"
            found.append(Reason(f"insufficient_{field.split('_')[0]}", text, {"needs": wanted, "free": there}))
    return found


def _unfit(demand: Demand, node: Node) -> list[Reason]:
    reasons = []
    if demand.node_id is not None and demand.node_id != node.id:
        reasons.append(Reason("other_node", "another node was asked for"))
    if node.state in STATES:
        reasons.append(Reason(node.state, STATES[node.state]))
    elif node.state in ("silent", "lost"):
        text = f"silent for {_duration(node.silent_seconds)}"
        reasons.append(Reason("silent", text, {"seconds": round(node.silent_seconds)}))
    for key, value in demand.labels.items():
        if node.labels.get(key) != value:
            has = f"it has {key}={node.labels[key]}" if key in node.labels else f"it has no {key}"
            reasons.append(Reason("label_mismatch", f"label does not match: {key}={value} is wanted, {has}"))
    if not demand.drivers & node.drivers:
        wanted = " or ".join(sorted(demand.drivers))
        reasons.append(Reason("no_driver", f"cannot run the template: needs the driver {wanted}"))
    return reasons


def _foreign(demand: Demand, node: Node) -> Reason | None:
    """That only what is not ours stands in the way; None when there would be no ports without it either."""
    if not node.foreign or not isinstance(allocate(replace(node, foreign=()), demand.ports), tuple):
        return None
    pool = sorted(
        {one.key.short for one in node.foreign if any(low <= one.key.port <= high for low, high in node.port_ranges)}
    )
    more = f" (and {len(pool) - _NAMED} more)" if len(pool) > _NAMED else ""
    what = f"port {pool[0]} is" if len(pool) == 1 else f"ports {', '.join(pool[:_NAMED])}{more} are"
    return Reason("port_taken", f"{what} taken on the node by something else", {"ports": ", ".join(pool)})


def _no_ports(node: Node, names: list[str]) -> Reason:
    ranges = ", ".join(f"{low}-{high}" for low, high in node.port_ranges)
    if not node.port_ranges:
        return Reason("port_pool_empty", "port pool empty: the node has no port ranges")
    what = f"no {len(names)} ports in the asked distances are" if len(names) > 1 else "no port is"
    return Reason("port_pool_empty", f"port pool empty: {what} free in {ranges} for {', '.join(names)}")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
