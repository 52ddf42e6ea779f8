"""The command behind `scripts/screenshots`: takes the pictures of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from PIL import Image

from console.scene import playing, wait
from support.browser import missing, running_browser
from support.console import Console
from support.server import ROOT, running_server
from support.web import running_gateway

if TYPE_CHECKING:
    from support.web import RunningGateway

LOOKS: Final = (("", 1280, "light"), ("-dark", 1280, "dark"), ("-narrow", 400, "dark"))
PLACES: Final = {
    "queues": "queues",
    "queue": "queues/sweep.lr/leased",
    "dead": "queues/sweep.dead/dead",
    "push": "queues/sweep.lr/push",
    "message": "queues/sweep.dead/messages/1",
    "server": "server",
    "users": "users",
    "tokens": "tokens",
    "log": "log",
}
USUAL_PATHS: Final = """const plain = window.fetch;
window.fetch = async (path, ...more) => {
    const reply = await plain(path, ...more);
    if (path !== "/status" || !reply.ok) return reply;
    const figures = await reply.json();
    figures.frame_log.directory = "/home/ada/.mqd/data/frames";
    return new Response(JSON.stringify(figures));
};"""
"""Shows a path as a user would have it, and not that of a test."""

DOCUMENTED: Final = (
    "login", "queues", "queues-dark", "queues-narrow", "queue", "queue-narrow", "dead", "create",
    "message", "server", "frames", "users", "tokens", "log",
)  # fmt: skip


def take(console: Console, directory: Path, mark: str) -> None:
    """Take pictures of all places in a window that has been open for a while."""
    page = console.page
    for name, place in PLACES.items():
        console.go(place)
        while page.locator(".loading").count():
            page.wait_for_timeout(50)
        if name == "dead":
            page.get_by_role("button", name="Show message 1", exact=True).click()
        page.wait_for_timeout(1200)
        console.picture(directory / f"console-{name}{mark}.png")
    _take_frames(console, directory, mark)
    console.go("queues")
    page.get_by_role("button", name="Create a queue").click()
    page.wait_for_timeout(500)
    console.picture(directory / f"console-create{mark}.png")
    page.keyboard.press("Escape")


def _take_frames(console: Console, directory: Path, mark: str) -> None:
    """Take a picture of the frames, right below the top of the page."""
    page = console.page
    console.go("server")
    page.get_by_role("list", name="Frames, the latest first").wait_for()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Show the request of").nth(2).click()
    page.locator(".frames").evaluate("each => each.scrollIntoView()")
    page.evaluate("scrollBy(0, -70)")
    page.wait_for_timeout(200)
    console.picture(directory / f"console-frames{mark}.png")


def _pictures(gateway: RunningGateway, browser: Any, directory: Path, seconds: float) -> None:
    windows = [
        (mark, Console(browser, gateway.url, width, scheme, 860)) for mark, width, scheme in LOOKS
    ]
    for mark, console in windows:
        console.page.add_init_script(USUAL_PATHS)
        console.page.goto(console.url)
        console.page.wait_for_timeout(300)
        console.picture(directory / f"console-login{mark}.png")
        console.open()
    wait(seconds)
    for mark, console in windows:
        take(console, directory, mark)


@click.command()
@click.option("--to", "directory", default=str(ROOT / "docs/images"), show_default=True)
@click.option("--seconds", default=90.0, show_default=True, help="How long the plots go back.")
@click.option("--all", "is_all", is_flag=True, help="Each page in each look.")
def main(directory: str, seconds: float, *, is_all: bool) -> None:
    """Take pictures of the console in front of a server with something going on."""
    if missing():
        sys.exit(f"screenshots: {missing()}")
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    with running_server() as server, running_gateway(server) as gateway:
        with playing(gateway), running_browser() as browser:
            _pictures(gateway, browser, place, seconds)
    for file in place.glob("console-*.png"):
        if is_all or file.stem.removeprefix("console-") in DOCUMENTED:
            _make_small(file)
        else:
            file.unlink()


def _make_small(file: Path) -> None:
    """Write a picture with the few colours that it needs."""
    with Image.open(file) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


if __name__ == "__main__":
    main()
