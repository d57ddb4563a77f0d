"""Debian's Chromium without a window, driven by Playwright; and what a person's eyes would measure on a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3 (AA)
_QUIET = (
    "--no-sandbox",  # tests may run as root, and the pages are ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_MEASURE = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    if (!element) return [1, 1, 1];
    const colour = rgba(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(element.parentElement));
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (!text.length || !element.checkVisibility() || element.disabled || element.closest("svg, .skip")) continue;
    const under = ground(element);
    const [one, other] = [luminance(over(rgba(getComputedStyle(element).color), under)), luminance(under)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([Math.round(ratio * 100) / 100, text[0].data.trim()]);
  }
  return found;
}"""


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser that asks nobody but the pages it is told to."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: run make test-programs"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


def contrast_of(page: Page) -> list[tuple[float, str]]:
    """The contrast of each text that is seen with what is behind it, and the text."""
    found = page.evaluate(_MEASURE)
    assert len(found) > 20
    return [(ratio, text) for ratio, text in found]
