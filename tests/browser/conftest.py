"""A browser and a JupyterLab for the tests of this folder, which are all slow."""

import os
import shutil
from pathlib import Path

import pytest
from lab import CHROMIUM, Lab
from live import faults_of
from playwright.sync_api import sync_playwright

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser_path():
    """The path of an installed Chromium. Without one the tests are skipped, but not in CI, where
    that is a fault."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"no browser is installed: looked for {', '.join(BROWSERS)}")
    return found


@pytest.fixture(scope="module")
def lab(request, browser_path, tmp_path_factory):
    """JupyterLab over a copy of the notebooks; a module's ENVIRONMENT is the server's. It ends with
    its module: playwright holds the event loop until then."""
    # One thread: two of them wait for each other where the browser, or anything else, wants one of
    # two cores.
    folder = tmp_path_factory.mktemp("lab")
    environment = {
        "OMP_NUM_THREADS": "1",
        "RLVR_MY_WORK": str(folder / "my_work"),
        **request.module.ENVIRONMENT,
    }
    with Lab(NOTEBOOKS, folder, browser_path, **environment) as lab:
        yield lab


@pytest.fixture(scope="module")
def chromium(browser_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(chromium, tmp_path_factory):
    """pages(HTML, ...) -> a page opened from disk with the network cut off; console errors are in
    `page.faults`."""
    folder = tmp_path_factory.mktemp("pages")

    def open_page(html: str, width: int = 1440, height: int = 790, **context):
        made = chromium.new_context(
            viewport={"width": width, "height": height}, offline=True, **context
        )
        page, file = made.new_page(), folder / "page.html"
        page.faults = faults_of(page)
        page.on(
            "request",
            lambda asked: page.faults.append(asked.url) if "file:" not in asked.url else None,
        )
        file.write_text(html, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_function(
            "[...document.querySelectorAll('[data-rlvr]')].some(place => place.rlvr)"
        )
        return page

    return open_page
