"""What a part of the house is, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """One process of the house.

    Attributes:
        name: the word shown before each of its lines.
        command: program and arguments.
        port: TCP port on loopback that accepts once the part is ready; None for a part that has none.
        ready_path: a path on that port which answers 200 to GET once the part is ready, if an open port is too little.
        port_option: the option by which a person chooses another port.
        env: variables added to ours.
        addresses: rows of the start-up table: (what it is for, where it answers).
        needs: names of the parts that must be ready before this one starts.
        once: a job that ends by itself with code 0 (a bootstrap), rather than a service.
        optional: a job that the house can do without: its failure is told, and not tried again.
        farewell: a command to run once the part has been stopped.
        quiet: what it says while it starts and stops is in its log alone, unless it fails.
    """

    name: str
    command: tuple[str, ...]
    port: int | None = None
    ready_path: str = ""
    port_option: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    once: bool = False
    optional: bool = False
    farewell: tuple[str, ...] = ()
    quiet: bool = False


def start_order(parts: tuple[Part, ...]) -> tuple[tuple[Part, ...], ...]:
    """The parts in waves: each wave needs only parts of the waves before it.

    Raises:
        ValueError: a part needs one that is not there, or parts need each other in a circle.
    """
    names = {part.name for part in parts}
    for part in parts:
        if missing := set(part.needs) - names:
            raise ValueError(f"{part.name} needs {', '.join(sorted(missing))}, which is not part of the house")
    waves: list[tuple[Part, ...]] = []
    done: set[str] = set()
    rest = parts
    while rest:
        wave = tuple(part for part in rest if done.issuperset(part.needs))
        if not wave:
            raise ValueError(f"{', '.join(part.name for part in rest)} need each other in a circle")
        waves.append(wave)
        done |= {part.name for part in wave}
        rest = tuple(part for part in rest if part.name not in done)
    return tuple(waves)


def restart_delay(deaths: int, fraction: float) -> float:
    """Seconds before restart number `deaths`: 0.5 s doubling to 30 s, with half of it left to chance.

    Args:
        deaths: how often the part has died in a row (1 or more).
        fraction: a random number in [0, 1), so that parts which died together do not come back together.
    """
    ceiling = min(30.0, 0.5 * 2.0 ** min(deaths - 1, 10))
    return ceiling * (0.5 + 0.5 * fraction)
