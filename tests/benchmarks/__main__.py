"""`python -m tests.benchmarks [names]`: run benches one after another and print what they found beside what was aimed at."""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import tests.benchmarks
from tests.benchmarks.harness import REGISTRY, ROUNDS, SLICE_SECONDS, Bench, Result, Verdict

ACCEPTED = Path(__file__).parent / "accepted.json"  # the last accepted ratio of each aim
ALARM = 0.15  # a ratio this much worse than the accepted one is reported
_LOCK = Path(tempfile.gettempdir()) / "meridian-benchmarks.lock"
_MARKS = {"met": "\x1b[32mmet\x1b[0m", "missed": "\x1b[31mMISSED\x1b[0m"}


def main() -> int:
    """0 if every check held (aims that are missed are reported, and fail with --enforce); 1 otherwise."""
    options = _parse()
    for module in pkgutil.iter_modules(tests.benchmarks.__path__, "tests.benchmarks."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    if options.list:
        for name, function in sorted(REGISTRY.items()):
            print(f"{name:<28} {(function.__doc__ or '').strip().splitlines()[0]}")
        return 0
    chosen = _choose(options.names)
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    results = []
    with _LOCK.open("w") as lock:
        _take(lock.fileno())
        for name in chosen:
            print(
                f"\n{name}  (load {os.getloadavg()[0]:.2f})  {(REGISTRY[name].__doc__ or '').strip().splitlines()[0]}",
                flush=True,
            )
            run = Bench(name, rounds=options.rounds, slice_seconds=options.slice)
            start = time.monotonic()
            REGISTRY[name](run)
            results.append(run.result)
            _show(run.result, accepted, time.monotonic() - start)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if options.accept:
        _accept(results, accepted)
    return _exit_code([verdict for result in results for verdict in result.verdicts], enforce=options.enforce)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="benches to run, or the beginnings of their names (default: all)")
    parser.add_argument("--list", action="store_true", help="list the benches")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS + 1, help="rounds, the first of which is discarded (default: %(default)s)"
    )
    parser.add_argument(
        "--slice", type=float, default=SLICE_SECONDS, help="seconds of one side in one round (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--accept", action="store_true", help="keep these ratios as the ones to compare with")
    parser.add_argument("--enforce", action="store_true", help="exit with 1 if an aim is missed")
    return parser.parse_args()


def _choose(names: list[str]) -> list[str]:
    if not names:
        return sorted(REGISTRY)
    chosen = [each for each in sorted(REGISTRY) if any(each.startswith(name) for name in names)]
    if not chosen:
        raise SystemExit(f"no bench begins with {', '.join(names)}; there are {', '.join(sorted(REGISTRY))}")
    return chosen


def _take(descriptor: int) -> None:
    """One bench process at a time on a machine: two would measure each other."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another bench is running; waiting for it", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _show(result: Result, accepted: dict[str, float], seconds: float) -> None:
    for name, value in result.figures.items():
        print(f"    {name:<58} {value}")
    for verdict in result.verdicts:
        mark = _MARKS.get(verdict.verdict, verdict.verdict) if sys.stdout.isatty() else verdict.verdict
        numbers = ""
        if verdict.median is not None and verdict.worse is not None and verdict.better is not None:
            numbers = f"median {verdict.median:.3g}, quartiles {verdict.better:.3g} / {verdict.worse:.3g} (worse), n={verdict.rounds}"
        print(f"  {mark:<13} {verdict.aim:<58} {numbers}{verdict.note}{_change(result, verdict, accepted)}")
    print(f"  {seconds:.0f} s", flush=True)


def _change(result: Result, verdict: Verdict, accepted: dict[str, float]) -> str:
    before = accepted.get(f"{result.bench}: {verdict.aim}")
    if before is None or verdict.median is None or not before:
        return ""
    change = verdict.median / before - 1
    worse = change > ALARM if "<=" in verdict.aim else change < -ALARM
    return f"  [{change:+.0%} against the accepted {before:.3g}{': WORSE' if worse else ''}]"


def _accept(results: list[Result], accepted: dict[str, float]) -> None:
    for result in results:
        for verdict in result.verdicts:
            if verdict.median is not None:
                accepted[f"{result.bench}: {verdict.aim}"] = round(verdict.median, 4)
    ACCEPTED.write_text(json.dumps(accepted, indent=1, sort_keys=True) + "\n")


def _exit_code(verdicts: list[Verdict], *, enforce: bool) -> int:
    if any(verdict.verdict == "disqualified" for verdict in verdicts):
        return 1
    return int(enforce and any(verdict.verdict != "met" for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
