"""The floor: bare transactions of the same rows and bytes, 32 workflows in each: `python sqlite_side.py FOLDER`."""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from protocol import serve

GROUP = 32
EPISODE = b"x" * 150  # bytes of an episode's events in the engine's own file, on average
database = sqlite3.connect(f"{sys.argv[1]}/floor.db", isolation_level=None)
database.executescript(
    """
    PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
    CREATE TABLE instances (key INTEGER PRIMARY KEY, id TEXT UNIQUE, status INTEGER, updated INTEGER, output TEXT);
    CREATE TABLE history (instance INTEGER, episode INTEGER, at INTEGER, events BLOB, PRIMARY KEY (instance, episode)) WITHOUT ROWID;
    CREATE TABLE tasks (instance INTEGER, task INTEGER, PRIMARY KEY (instance, task)) WITHOUT ROWID;
    """
)
done = 0


def run(seconds: float) -> dict[str, Any]:
    global done
    until = time.perf_counter() + seconds
    first = done
    while time.perf_counter() < until:
        keys = range(done, done + GROUP)
        for episode in range(5):
            database.execute("BEGIN IMMEDIATE")
            if episode == 0:
                database.executemany(
                    "INSERT INTO instances VALUES (?,?,?,?,?)", [(k, f"{k:032x}", 6, 0, None) for k in keys]
                )
            database.executemany("INSERT INTO history VALUES (?,?,?,?)", [(k, episode, 0, EPISODE) for k in keys])
            if episode > 1:
                database.executemany("DELETE FROM tasks WHERE instance=? AND task=?", [(k, episode - 1) for k in keys])
            if 0 < episode < 4:
                database.executemany("INSERT INTO tasks VALUES (?,?)", [(k, episode) for k in keys])
            if episode in (1, 4):
                database.executemany(
                    "UPDATE instances SET status=?, updated=?, output=? WHERE key=?", [(1, 1, "3", k) for k in keys]
                )
            database.execute("COMMIT")
        done += GROUP
    return {"units": done - first}


serve({"run": run})
