"""python -m local.durable.lint PATHS..."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from local.durable.lint.checker import check_settings, check_source, python_files
from local.durable.lint.rules import RULES


def main(arguments: list[str]) -> int:
    """Check files and folders; 1 if anything was found, 2 if a path does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m local.durable.lint",
        description="Reports what a replay cannot stand in orchestrators, and traps of azure-functions-durable.",
        epilog="A line is let off by a comment with the rule and the reason: # durable: allow DUR103 read once at import",
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a file, or a folder of them")
    parser.add_argument("--rules", action="store_true", help="list the rules and stop")
    options = parser.parse_args(arguments)
    if options.rules:
        for code, text in RULES.items():
            print(f"{code}  {text}")
        return 0
    missing = [str(path) for path in options.paths if not path.exists()]
    if missing or not options.paths:
        print(
            f"no such file or folder: {', '.join(missing)}" if missing else "name a file or a folder", file=sys.stderr
        )
        return 2
    found = [
        finding for path in python_files(options.paths) for finding in check_source(path.read_text("utf-8"), str(path))
    ]
    for folder in {parent for path in options.paths for parent in _app_folders(path)}:
        found += check_settings(folder)
    for finding in found:
        print(finding)
    return 1 if found else 0


def _app_folders(path: Path) -> list[Path]:
    return [folder for folder in (path, *path.parents) if (folder / "host.json").exists()][:1]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
