"""A real browser: Chromium as Debian has it, driven by Playwright."""

import shutil

import pytest
from made_report import make_report


@pytest.fixture(scope="session")
def chromium():
    """Return a browser, or skip."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """Return the page of a made-up report."""
    return make_report(tmp_path_factory.mktemp("made up ü"))


class Visit:
    """A page that is open, with what the browser said and asked for."""

    def __init__(self, context, path):
        self.said, self.asked = [], []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#genes-table[aria-busy=false]")


@pytest.fixture
def visit(chromium, report):
    """Return a function that opens the report, with the options of a browser's context."""
    contexts = []

    def opened(path=report, **options):
        contexts.append(
            chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        )
        return Visit(contexts[-1], path)

    yield opened
    for context in contexts:
        context.close()
