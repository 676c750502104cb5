"""The page in a real browser, opened from disk."""

import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from made_report import EVIL, N_GENES, TASKS

ROWS = "#genes-table tbody tr"
SEARCH = "#genes-table input[type=search]"
MS_PER_KEY = 200
MAX_BYTES = 10_000_000  # that a reader loads


def scrolled(page):
    """Scroll through the whole page, so that all charts are drawn."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for y in range(0, height, 600):
        page.evaluate(f"window.scrollTo(0, {y})")
        page.wait_for_timeout(30)
    page.locator("figure .explore summary").click()
    page.wait_for_selector("figure .chart svg")
    return page


def first_symbol(page):
    return page.locator(f"{ROWS} button.gene").first.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_disk_without_an_error_or_a_request(visit, scheme):
    opened = visit(color_scheme=scheme)
    page = scrolled(opened.page)
    page.locator(f"{ROWS} button.gene").first.click()
    page.wait_for_selector("dialog[open] .chart svg")
    assert opened.said == []
    assert {url.split(":")[0] for url in opened.asked} <= {"file", "data", "blob"}
    assert page.title().startswith("made up"), "a name from a file ran as code"
    assert page.locator(".banner").inner_text() == "Simulated data: no cell is real."


def test_all_that_a_reader_of_twenty_thousand_genes_loads_is_light(visit):
    opened = visit()
    page = scrolled(opened.page)
    for task in TASKS:
        page.locator("#genes-task").select_option(task)
        page.wait_for_selector(f"table[aria-label='Genes, task {task}']")
        page.locator(f"{ROWS} button.gene").first.click()
        page.wait_for_selector("dialog[open] .chart svg")
        page.keyboard.press("Escape")
    files = {unquote(urlsplit(url).path) for url in opened.asked if url.startswith("file:")}
    seen = {"index.html", "vega.js", "details.dose.js", "details.level.js"}
    assert {Path(path).name for path in files} > seen
    assert sum(Path(path).stat().st_size for path in files) < MAX_BYTES


def test_what_files_say_stays_text(visit):
    page = scrolled(visit().page)
    page.locator(SEARCH).fill("onerror")
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 1")
    assert first_symbol(page).startswith("<img src=x")
    page.locator(f"{ROWS} button.gene").click()
    assert page.locator("dialog[open] h2").inner_text().startswith("<img src=x")
    page.keyboard.press("Escape")
    page.locator("#genes-task").select_option("level")
    page.wait_for_selector("table[aria-label='Genes, task level']")
    assert page.locator("main img[src=x]").count() == page.locator("main b[onclick]").count() == 0
    assert EVIL in page.locator("#answer").inner_text()


def test_a_gene_is_found_and_opened(visit):
    page = visit().page
    page.locator(SEARCH).fill("mdm2")
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 1")
    assert first_symbol(page) == "MDM2"
    assert f"of {N_GENES:,}" in page.locator("#genes-table .dt-info").inner_text()
    page.locator("button.gene", has_text="MDM2").click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h2").inner_text() == "MDM2"
    assert dialog.locator(".of").inner_text().startswith("ENSG00000000000, task dose; test cells")
    page.wait_for_selector("dialog[open] .chart:nth-of-type(1) svg")
    assert dialog.locator(".chart svg").count() == 2
    tracks, tests = dialog.locator("table").all()
    assert [row.inner_text() for row in tracks.locator("tbody th").all()] == [
        *("wilcoxon", "detection", "attention received", "attention residual", "rollout")
    ]
    assert [row.inner_text() for row in tests.locator("tbody th").all()] == TASKS["dose"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("null", "–"),
        ("0", "0"),
        ("1234.56", "1,235"),
        ("0.0123", "0.0123"),
        ("-5.4e-21", "-5.40e-21"),
    ],
)
def test_numbers_are_short(visit, value, text):
    assert visit().page.evaluate(f"shownNumber({value})") == text


def test_a_gene_without_attention_says_so(visit):
    page = visit().page
    page.locator(SEARCH).fill("CDKN1A")
    page.locator("button.gene", has_text="CDKN1A").click()
    assert "No test cell has it" in page.locator("dialog[open]").inner_text()
    assert page.locator("dialog[open] .chart svg").count() == 0


def test_sorting_leaves_what_is_missing_at_the_end(visit):
    page = visit().page
    heading = page.locator("#genes-table th").last  # of a baseline
    rows = "[...document.querySelectorAll('#genes-table tbody tr')]"
    ranks = f"{rows}.map(row => row.cells[row.cells.length - 1].innerText)"
    for order, first in (("ascending", 1), ("descending", None)):
        heading.click()
        page.wait_for_selector(f"#genes-table th[aria-sort={order}]")
        values = [int(value.replace(",", "")) for value in page.evaluate(ranks)]
        assert values == sorted(values, reverse=order == "descending")
        if first:
            assert values[0] <= 20
        else:
            assert values[0] > N_GENES * 0.85
    last = "genes.table.page('last').draw(false)"
    page.evaluate(last)
    assert page.evaluate(ranks)[-1] == "–"


def test_only_a_gene_set_is_shown(visit):
    page = visit().page
    page.locator("#genes-set").select_option(label="p53")
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 2")
    assert {b.inner_text() for b in page.locator(f"{ROWS} button.gene").all()} == {"MDM2", "CDKN1A"}
    page.locator("#genes-set").select_option(label="all genes")
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 25")


def test_the_keyboard_is_enough(visit):
    page = visit().page
    page.locator(SEARCH).focus()
    page.keyboard.type("MDM2")
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 1")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('button.gene')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("document.activeElement.innerText") == "Close"
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.innerText") == "MDM2", "focus is where it was"


def test_it_fits_a_phone(visit):
    page = scrolled(visit(viewport={"width": 400, "height": 800}).page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator(f"{ROWS} button.gene").first.click()
    page.wait_for_selector("dialog[open] .chart svg")
    box = page.locator("dialog[open]").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
    assert page.evaluate("getComputedStyle(document.querySelector('main p')).fontSize") >= "16px"


def test_charts_follow_the_reader_into_the_dark(visit):
    page = scrolled(visit(color_scheme="light").page)
    label = "getComputedStyle(document.querySelector('figure .chart svg text')).fill"
    light = page.evaluate(label)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{label} !== '{light}'")
    assert page.evaluate("document.documentElement.classList.contains('dark')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = scrolled(visit(color_scheme=scheme).page)
    page.evaluate("window.scrollTo(0, 0)")
    for opened in (False, True):
        if opened:
            page.locator(f"{ROWS} button.gene").first.click()
            page.wait_for_selector("dialog[open] .chart svg")
        found = axe.run(page).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in serious]


def test_twenty_thousand_genes_are_searched_as_fast_as_one_types(visit):
    page = visit().page
    page.locator(SEARCH).focus()
    took = []
    for key in "gene19999":
        started = time.perf_counter()
        page.keyboard.press(key)
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        took.append(1000 * (time.perf_counter() - started))
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 1")
    print("ms per key:", [round(t) for t in took])
    assert sorted(took)[len(took) // 2] < MS_PER_KEY


def test_it_prints_its_figures_and_no_controls(visit, tmp_path):
    page = scrolled(visit().page)
    page.emulate_media(media="print")
    assert page.locator("figure .sheet img").bounding_box()["width"] > 100
    assert not page.locator("figure .explore").is_visible()
    assert not page.locator("#genes-table").is_visible()
    assert page.pdf()[:5] == b"%PDF-"


def test_without_a_script_the_figures_are_there(visit, chromium, report):
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(report.as_uri())
    assert page.locator("figure .sheet img").bounding_box()["width"] > 100
    assert not page.locator("figure .explore").is_visible()
    assert "needs JavaScript" in page.locator("noscript").first.inner_text()
