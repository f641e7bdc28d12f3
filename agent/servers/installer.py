"""Installing a server: run the steps once for all servers that have the same, then lay the result out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.drivers.group import Groups
from agent.owners import GameUser, builder_of
from agent.servers.errors import StepFailed
from agent.servers.steps import Work, describe, perform
from agent.servers.store import ContentStore, Image, Mark, Owner, mark_of, read_image
from agent.servers.tools import TAIL_LINES
from agent.servers.workshop import Workshop
from shared.messaging.codec import to_wire
from shared.messaging.server_install import Install

if TYPE_CHECKING:
    from agent.servers.scripts import ScriptRunner

INSTALLED: Final = "installed.json"  # beside the server's folder: which image was laid out, and what is not as it says
Progress = Callable[[int, str], None]  # percent, and what is being done


@dataclass(frozen=True, slots=True)
class Installed:
    """What an install did. `reused` says that the node had it already."""

    key: str
    generation: int
    reused: bool


class Installer:
    """Installs servers under `folder`; one run for equal steps at a time."""

    def __init__(
        self,
        folder: Path,
        builder: Callable[[], GameUser | None] = lambda: None,
        groups: Groups | None = None,
        scripts: ScriptRunner | None = None,
        contact: str = "",
    ) -> None:
        """Args:
        folder: the agent's.
        builder: whom the programs of steps run as; None is ourselves.
        groups: what bounds them.
        scripts: what runs install scripts, where the driver is containers.
        contact: whom those can turn to from whom files are fetched.
        """
        self._builder, self._groups, self._scripts, self._contact = builder, groups, scripts, contact
        self._work = folder / "work"
        for left in self._work.glob("*"):  # what a killed agent left half done; its programs may run on
            Workshop(left, builder_of(left / "files"), groups).abandon()
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        self._work.chmod(0o711)  # programs of steps run as other users, in folders below
        shutil.rmtree(folder / "cache", ignore_errors=True)  # of releases that let all builds share one
        self.store = ContentStore(folder / "store")
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.preparing: asyncio.Future[None] | None = (
            None  # the next server's files are laid out; no install waits for it
        )

    async def install(
        self, install: Install, home: Path, owner: Owner | None, progress: Progress, output: deque[str] | None = None
    ) -> Installed:
        """Bring the files of `install` into `home/files`; what the game made of its own there stays.

        Args:
            install: the steps and what may be written.
            home: the server's own place; `files` is the game's folder, our record stands beside it.
            owner: the user and group that the game runs as.
            progress: told of percent and what is being done.
            output: gets the last lines of what ran.

        Raises:
            StepFailed: a step failed; what was installed before is untouched.
        """
        heard = deque(maxlen=TAIL_LINES) if output is None else output
        image, reused = await self._image(install, progress, heard)
        progress(95, "lay out the files")
        try:
            await asyncio.to_thread(self._lay, image, install, home, owner)
        except FileNotFoundError:  # somebody has taken a content out of the store
            self.store.doubt(image)
            image, reused = await self._image(install, progress, heard)
            await asyncio.to_thread(self._lay, image, install, home, owner)
        self.preparing = asyncio.get_running_loop().run_in_executor(None, self.store.prepare, image, owner)
        return Installed(image.key, install.generation, reused)

    async def _image(self, install: Install, progress: Progress, output: deque[str]) -> tuple[Image, bool]:
        """What the steps make, and whether it was there already."""
        key = image_key(install)
        async with self._locks[key]:
            image = None if install.fresh else await asyncio.to_thread(self.store.find, key)
            return (image, True) if image else (await self._build(install, key, progress, output), False)

    async def _build(self, install: Install, key: str, progress: Progress, output: deque[str]) -> Image:
        shop = Workshop(self._work / key, self._user(), self._groups)
        try:
            await asyncio.to_thread(shop.open)
            for index, step in enumerate(install.steps):
                share, what = 90 / len(install.steps), describe(step)

                def tell(percent: int, index: int = index, what: str = what, share: float = share) -> None:
                    progress(int((index + percent / 100) * share), what)

                tell(0)
                seconds = install.step_seconds
                await perform(step, Work(shop, seconds, output.append, tell, self._scripts, self._contact))
            progress(90, "check and keep the files")
            return await asyncio.to_thread(self.store.ingest, shop.files, key)
        except StepFailed as error:
            if not error.output:
                error.output = tuple(output)
            raise
        finally:
            shop.close()

    def _user(self) -> GameUser | None:
        try:
            return self._builder()
        except KeyError as error:
            raise StepFailed("no_such_user", f"game_user: {error.args[0]}") from None

    def _lay(self, image: Image, install: Install, home: Path, owner: Owner | None) -> None:
        files, record = home / "files", home / INSTALLED
        files.mkdir(parents=True, exist_ok=True)
        before = _laid_before(home)
        keep = frozenset(path for path in before if _changed(files / path, before[path]))
        for path in before.keys() - {entry.path for entry in image.files} - keep:
            (files / path).unlink(missing_ok=True)
        own = self.store.lay(image, files, install.writable, owner, keep) | {path: before[path] for path in keep}
        listing = _listing(home, image.key)
        self.store.share(image, listing)
        temporary = record.with_suffix(".new")
        temporary.write_text(json.dumps({"key": image.key, "generation": install.generation, "files": own}))
        temporary.rename(record)
        for old in home.glob(_listing(home, "*").name):
            if old != listing:
                old.unlink()


def image_key(install: Install) -> str:
    """The name of what these steps make: equal steps have equal names."""
    steps = json.dumps(to_wire(install.steps), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(steps.encode()).hexdigest()[:40]


def installed_generation(home: Path) -> int:
    """Which generation is laid out in a server's place; 0 for none."""
    try:
        return int(json.loads((home / INSTALLED).read_bytes())["generation"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0


def _listing(home: Path, key: str) -> Path:
    """The image's list of files, as the store has it: a link, so that the record of each server stays small."""
    return home / f"image-{key}.json"


def _laid_before(home: Path) -> dict[str, Mark]:
    """What an earlier install laid out, with the marks that it had then."""
    try:
        record = json.loads((home / INSTALLED).read_bytes())
        image = read_image(_listing(home, record["key"]))
        shared = {entry.path: entry.mark for entry in image.files} if image is not None else {}
        return shared | dict(record["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _changed(path: Path, mark: Mark) -> bool:
    """Whether the game (or a member) has written to an installed file since."""
    try:
        return mark_of(path) != list(mark)
    except FileNotFoundError:
        return False
