"""A window of the console: signs in, goes to places, and notices what must not happen."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from support.server import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERIOUS: Final = ("serious", "critical")
_AXE_RUN: Final = """() => axe.run(document, {resultTypes: ["violations"]}).then(found =>
    found.violations.map(each => [each.impact, each.id, each.nodes.map(node => node.html).slice(0, 3)]))"""


class Console:
    """A window of its own, without cookies or storage of others.

    Args:
        browser: Playwright's.
        url: of the gateway.
        width: of the window, in pixels.
        scheme: `light` or `dark`.
    """

    def __init__(
        self, browser: Any, url: str, width: int = 1280, scheme: str = "light", height: int = 800
    ) -> None:
        self.url = url
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            timezone_id="UTC",
            locale="en-GB",
        )
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        """What went wrong in the window: errors, and requests to other hosts."""
        self.expected: tuple[str, ...] = ()
        """Parts of errors that a test brings about."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._judge)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _judge(self, request: Any) -> None:
        if not request.url.startswith((f"{self.url}/", "data:")):
            self.wrong.append(f"a request to another host: {request.url}")

    @contextlib.contextmanager
    def closing(self) -> Iterator[Console]:
        """Close the window after the block, and see that nothing went wrong."""
        try:
            yield self
            wrong = [each for each in self.wrong if not any(part in each for part in self.expected)]
            assert wrong == []
        finally:
            self.context.close()

    def open(self, user: str = "admin", place: str = "") -> Any:
        """Open the console, sign in, and return Playwright's page."""
        self.page.goto(f"{self.url}/{place}")
        self.sign_in(user)
        self.page.get_by_role("navigation", name="Pages").wait_for()
        return self.page

    def sign_in(self, user: str, password: str = PASSWORD) -> None:
        """Fill in the form."""
        self.page.get_by_role("textbox", name="User").fill(user)
        self.page.get_by_role("textbox", name="Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def go(self, *place: str) -> None:
        """Go to a place within the console, without loading the page again."""
        self.page.evaluate("hash => { location.hash = hash }", "#/" + "/".join(place))

    def figure(self, name: str) -> Any:
        """Return the figure with a name, which is right below a page's title."""
        shown = self.page.locator(".figure", has=self.page.get_by_text(name, exact=True))
        return shown.first.locator("dd")

    def serious_violations(self) -> list[Any]:
        """Return what a person who hears or types would stumble over, by axe-core."""
        from axe_playwright_python import base

        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(base.AXE_SCRIPT)
        return [each for each in self.page.evaluate(_AXE_RUN) if each[0] in SERIOUS]

    def is_too_wide(self) -> bool:
        """Tell whether the page has to be scrolled sideways."""
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.page.evaluate(wide))

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Take a picture of the page."""
        self.page.screenshot(path=path, full_page=whole)
