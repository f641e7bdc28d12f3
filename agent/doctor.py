"""`meridian-agent doctor`: a line for each thing that keeps an agent from working, and what to do about it."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import os
import shutil
import socket
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlsplit

from agent.api import Api, proxy_for
from agent.config import Config
from agent.drivers.base import DriverError
from agent.drivers.cgroup_v2 import CONTROLLERS, place_for_games
from agent.drivers.cgroups import OWN, ROOT, is_v2
from agent.drivers.programs import RUNTIMES, find_runtime
from agent.identity import KEY, Identity, IdentityError, load_key
from agent.lock import held
from agent.owners import AS_AGENT, FIRST, GameUser, why_not
from agent.status import read_status
from agent.storage import ADVICE, DATABASE

_SECONDS: Final = 5.0
_LEAST_DISK_MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    verdict: Literal["ok", "warn", "fail"]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.verdict:<5} {self.subject:<12} {self.text}"


def examine(config: Config, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """All findings. Reads and dials, changes nothing; a check that itself breaks is a failed finding."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _papers(config),
        lambda: _journal(config),
        lambda: _running(config),
        lambda: _rights(config),
        lambda: _programs(config),
        lambda: _disk(config),
        lambda: _limits(),
        lambda: _proxy(config, environment),
        lambda: _api(config, environment),
        lambda: _broker(config),
    )
    found: list[Finding] = []
    for check in checks:
        try:
            found.extend(check())
        except OSError as error:
            found.append(Finding("fail", "doctor", f"a check broke: {error}"))
    return found


def _api_url(config: Config) -> str:
    if config.api_url:
        return config.api_url
    try:
        return Identity(config.path).papers.api_url
    except IdentityError:
        return ""


def _papers(config: Config) -> Iterator[Finding]:
    if not Identity.enrolled(config.path):
        yield Finding("warn", "enrolment", "not enrolled: meridian-agent enroll --token ...")
        return
    try:
        papers = Identity(config.path).papers
        load_key(config.path / KEY)
    except IdentityError as error:
        yield Finding("fail", "enrolment", str(error))
        return
    days = (papers.certificate.not_after.timestamp() - time.time()) / 86400
    node = f"node {papers.name} ({papers.node_id})"
    if days > 0:
        yield Finding("ok", "enrolment", f"{node}, certificate valid for {days:.1f} days")
    else:
        again = "enrol this node again (a token for it, and enroll --force)"
        yield Finding("fail", "enrolment", f"{node}, certificate ended {-days:.1f} days ago: {again}")


def _journal(config: Config) -> Iterator[Finding]:
    path = config.path / DATABASE
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        found = str(error)
    text = " ".join(found.split())
    yield Finding("ok", "journal", "sound") if text == "ok" else Finding("fail", "journal", f"{text}; {ADVICE}")


def _running(config: Config) -> Iterator[Finding]:
    status = read_status(config.path)
    if held(config.path):
        yield Finding("ok", "agent", f"runs, version {status.version if status else 'unknown'}")
    elif Identity.enrolled(config.path):
        yield Finding("warn", "agent", "does not run: systemctl start meridian-agent, or meridian-agent run")
    if status is not None and status.problem:
        yield Finding("warn", "messages", f"{status.link}: {status.problem}")


def _programs(config: Config) -> Iterator[Finding]:
    """What templates ask for, where the games' user can reach it."""
    others = os.geteuid() == 0 and config.game_user != AS_AGENT and not why_not(config.path, config.game_user)
    user, found, missing = GameUser(FIRST, FIRST, alone=True) if others else None, [], []
    for name in RUNTIMES if config.driver == "process" else ():
        try:
            found.append(find_runtime(name, user))
        except DriverError as error:
            missing.append(str(error))
    if found:
        yield Finding("ok", "programs", ", ".join(found))
    for text in missing:
        yield Finding("warn", "programs", f"{text}: templates that need it cannot run here")


def _broker(config: Config) -> Iterator[Finding]:
    """The ports for messages, once a session has told where they are; one that accepts is enough."""
    status = read_status(config.path)
    places = status.broker if status is not None else []
    open_ = 0
    for place in places:
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _SECONDS).close()
        except OSError as error:
            yield Finding("warn", "broker", f"{place} does not accept: {error}")
        else:
            open_ += 1
            yield Finding("ok", "broker", f"{place} accepts")
    if places and not open_:
        yield Finding("fail", "broker", "no way to the messages: open one of these ports outwards")


def _rights(config: Config) -> Iterator[Finding]:
    folder = config.path
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("fail", "folder", f"{folder} cannot be written by user {os.geteuid()}")
    else:
        yield Finding("ok", "folder", f"{folder} can be written")
    if os.geteuid() != 0:
        yield Finding("warn", "user", "not root: games run as this same user, memory and CPU limits need delegation")
    elif config.game_user:
        verdict: Literal["ok", "warn"] = "warn" if config.game_user == AS_AGENT else "ok"
        yield Finding(verdict, "user", f"games run as {config.game_user}, as game_user says")
    elif problem := why_not(folder, config.game_user):
        yield Finding("warn", "user", problem)
    else:
        yield Finding("ok", "user", "each game has a user of its own")


def _disk(config: Config) -> Iterator[Finding]:
    nearest = next(path for path in (config.path, *config.path.parents) if path.exists())
    free = shutil.disk_usage(nearest).free >> 20
    verdict: Literal["ok", "fail"] = "ok" if free >= _LEAST_DISK_MIB else "fail"
    yield Finding(verdict, "disk", f"{free} MiB free in {nearest}, {_LEAST_DISK_MIB} MiB are needed")


def _limits() -> Iterator[Finding]:
    if not is_v2():
        lacking = [] if os.access(ROOT / "memory", os.W_OK) else ["not writable: games are not limited"]
        text = "control groups v1"
    elif place := place_for_games(ROOT, OWN):
        have = (place / "cgroup.controllers").read_text().split()  # the kernel's command line can switch them off
        lacking = [f"no {controller}: that is not limited" for controller in CONTROLLERS if controller not in have]
        text = f"control groups v2, below {place.relative_to(ROOT)}"
    else:
        lacking = ["none was handed to the agent (its unit sees to that): games are not limited"]
        text = "control groups v2"
    yield Finding("warn" if lacking else "ok", "limits", ", ".join((text, *lacking)))


def _proxy(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    parts = urlsplit(_api_url(config) or "https://console")
    proxy = proxy_for(parts.scheme, parts.hostname or "", environment)
    if proxy is None:
        yield Finding("ok", "proxy", "none is set for the control plane")
        return
    try:
        socket.create_connection((proxy.host, proxy.port), _SECONDS).close()
    except OSError as error:
        yield Finding("fail", "proxy", f"calls go through {proxy}, which does not accept: {error}")
        return
    yield Finding("warn", "proxy", f"calls go through {proxy}; messages (AMQP) do not: open the broker's ports")


def _api(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    url = _api_url(config)
    if not url:
        yield Finding("warn", "api", "no address of a control plane is known: --api-url")
        return
    api, parts = Api(url, config.ca_file, environment), urlsplit(url)
    if api.proxy is None:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        way = list(_way(host, port))
        yield from way
        if way[-1].verdict == "fail":
            return
    with contextlib.closing(api.connection(_SECONDS)) as connection:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            hint = "a proxy that opens TLS? give its authority with ca_file"
            yield Finding("fail", "tls", f"the certificate is not trusted ({error.verify_message}): {hint}")
            return
        except (OSError, http.client.HTTPException) as error:
            yield Finding("fail", "tls" if api.proxy is None else "proxy", f"no way to {url}: {error}")
            return
        if isinstance(connection.sock, ssl.SSLSocket):
            issuer = dict(pair[0] for pair in (connection.sock.getpeercert() or {})["issuer"])  # type: ignore[misc]
            text = f"{connection.sock.version()}, certificate by {issuer.get('organizationName', issuer)}"
            yield Finding("ok", "tls", text)
        yield from _clock(connection, url, parts.path)


def _way(host: str, port: int) -> Iterator[Finding]:
    """Whether a name has an address, and the port there accepts; behind a proxy both are the proxy's business."""
    try:
        addresses = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except socket.gaierror as error:
        yield Finding("fail", "dns", f"{host} has no address: {error.strerror}")
        return
    yield Finding("ok", "dns", f"{host} is {', '.join(addresses[:4])}")
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        yield Finding("fail", "port", f"{host}:{port} does not accept: {error}")
        return
    yield Finding("ok", "port", f"{host}:{port} accepts")


def _clock(connection: http.client.HTTPConnection, url: str, path: str) -> Iterator[Finding]:
    try:
        connection.request("GET", f"{path}/healthz")
        response = connection.getresponse()
        date = response.headers.get("Date", "")
        skew = time.time() - email.utils.parsedate_to_datetime(date).timestamp() - 0.5
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield Finding("warn", "clock", f"cannot be compared: {error}")
        return
    verdict: Literal["ok", "warn", "fail"] = "ok" if abs(skew) < 30 else "warn" if abs(skew) < 120 else "fail"
    yield Finding(verdict, "clock", f"{skew:+.0f} s from the control plane's (over 120 s nothing is accepted)")
    yield Finding("ok" if response.status < 500 else "warn", "api", f"{url} answers {response.status}")


def worst(findings: list[Finding]) -> int:
    """The exit code: 1 if anything failed."""
    return int(any(finding.verdict == "fail" for finding in findings))
