"""A real headless Chromium, driven by Playwright; who has none is told what is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)


def missing() -> str:
    """Say what is missing for a browser; empty where nothing is."""
    try:
        import playwright.sync_api  # noqa: F401  it may not be there
    except ImportError:
        return "there is no Playwright: install the extra, pip install 'mqd[test]'"
    if _executable() is None:
        return "there is no Chromium: on Debian, apt install chromium"
    return ""


def _executable() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def running_browser() -> Iterator[Any]:
    """Run a browser until the block ends."""
    from playwright.sync_api import sync_playwright

    arguments = list(_ARGUMENTS)
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_executable(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()
