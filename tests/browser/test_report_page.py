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
    assert "no cell is real" in page.locator(".banner").inner_text()


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
    page.locator("#genes-task").select_option("dose")
    page.wait_for_selector("table[aria-label='Genes, task dose']")
    assert page.locator("main img[src=x]").count() == page.locator("main b[onclick]").count() == 0
    assert EVIL in page.locator("#answer").inner_text()


def of_task(page, task):
    """Return the page with the genes of a task."""
    page.locator("#genes-task").select_option(task)
    page.wait_for_selector(f"table[aria-label='Genes, task {task}']")
    return page


def test_the_genes_are_those_of_the_last_task(visit):
    page = visit().page
    assert page.locator("#genes-task").input_value() == list(TASKS)[-1] == "level"
    assert page.locator("table[aria-label='Genes, task level']").is_visible()


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_the_gene_stays_in_sight(visit, width):
    page = visit(viewport={"width": width, "height": 800}).page
    button = page.locator(f"{ROWS} button.gene").nth(3)
    button.scroll_into_view_if_needed()
    before = button.bounding_box()["x"]
    scrolled = button.evaluate(
        """(button) => {
            const scrolls = (box) => getComputedStyle(box).overflowX !== "visible";
            let box = button.closest("table").parentElement;
            while (box.scrollWidth <= box.clientWidth || !scrolls(box)) box = box.parentElement;
            box.scrollLeft = 1e6;
            return box.scrollLeft;
        }"""
    )
    assert scrolled > 100, "there is nothing to scroll"
    assert button.bounding_box()["x"] == before
    covered = """(button) => {
        const { x, y, width, height } = button.getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, y + height / 2) !== button;
    }"""
    assert not button.evaluate(covered)
    background = button.evaluate(
        "(button) => getComputedStyle(button.closest('td')).backgroundColor"
    )
    assert background == "rgb(255, 255, 255)", "what lies below shows through"
    assert page.locator(SEARCH).bounding_box()["x"] >= 0


def test_a_gene_is_found_and_opened(visit):
    page = of_task(visit().page, "dose")
    page.locator(SEARCH).fill("mdm2")
    page.wait_for_function("document.querySelectorAll('#genes-table tbody tr').length === 1")
    assert first_symbol(page) == "MDM2"
    assert f"of {N_GENES:,}" in page.locator("#genes-table .dt-info").inner_text()
    page.locator("button.gene", has_text="MDM2").click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h2").inner_text() == "MDM2"
    assert (
        dialog.locator(".of")
        .inner_text()
        .startswith("ENSG00000000000, task dose, regime last layer; test cells")
    )
    page.wait_for_selector("dialog[open] .chart:nth-of-type(1) svg")
    assert dialog.locator(".chart svg").count() == 2
    tests, tracks = dialog.locator("table").all()
    assert [row.inner_text() for row in tracks.locator("tbody th").all()] == [
        *("wilcoxon", "detection", "attention received", "attention residual", "rollout")
    ]
    assert [row.inner_text() for row in tests.locator("tbody th").all()] == TASKS["dose"]
    said = (
        "mean attention received per cell, over layers and heads [multiples of uniform attention]"
    )
    assert tracks.locator("tbody tr").nth(2).locator("td").last.inner_text() == said
    assert [head.inner_text() for head in tests.locator("thead th").all()] == [
        *("dose (µM)", "log2 fold change", "adjusted p", "n", "n rest")
    ]
    row = tests.locator("tbody tr").first.locator("td")
    assert [cell.inner_text() for cell in row.all()] == ["0.5", "0.01", "480", "960"]
    assert "n = 100 test cells" in dialog.locator("h3", has_text="Attention").inner_text()
    drawn = [text.text_content() for text in dialog.locator(".chart").first.locator("text").all()]
    assert "dose (µM)" in drawn
    assert drawn.count("n = 40") == len(TASKS["dose"])


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
    assert "CDKN1A" in page.locator("dialog[open]").inner_text()
    assert page.locator("dialog[open] .chart svg").count() == 0


def test_a_study_without_attention_has_no_panel_of_it(visit):
    page = visit().page
    page.evaluate(
        """async () => {
            const without = { layers: 0, heads: 0, attention: [], cells: [], regime: null };
            Object.assign(await load("details.level"), without); // of gene_details without heads
        }"""
    )
    for symbol, charts in (("MDM2", 1), ("CDKN1A", 0)):  # no test cell has the latter
        page.locator(SEARCH).fill(symbol)
        page.locator("button.gene", has_text=symbol).click()
        dialog = page.locator("dialog[open]")
        if charts:
            page.wait_for_selector("dialog[open] .chart svg")
        assert dialog.locator(".chart svg").count() == charts
        assert dialog.locator("h3").count() == 1
        for word in ("regime", "null", "undefined"):
            assert word not in dialog.locator(".of").inner_text()
        page.locator("dialog[open] button").first.click()


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
    assert page.locator("figure .files a").first.inner_text() == "figure4_cosine.svg"
    page.locator(f"{ROWS} button.gene").first.click()
    page.wait_for_selector("dialog[open] .chart svg")
    box = page.locator("dialog[open]").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
    assert page.locator("dialog[open]").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert page.evaluate("getComputedStyle(document.querySelector('main p')).fontSize") >= "16px"


def test_verdicts_are_cards_on_a_phone_and_a_table_elsewhere(visit):
    page = visit(viewport={"width": 400, "height": 800}).page
    claims = page.locator(".claims")
    assert claims.evaluate("(box) => box.scrollWidth <= box.clientWidth")
    verdict = claims.locator("td[data-label=verdict]").first
    assert verdict.evaluate("(cell) => getComputedStyle(cell, '::before').content") == '"verdict"'
    display = "(cell) => getComputedStyle(cell).display"
    assert verdict.evaluate(display) == "block"
    assert verdict.bounding_box()["width"] > 300
    cells = claims.locator("tr:has(td)").first.locator("td").all()
    assert {cell.bounding_box()["x"] for cell in cells} == {verdict.bounding_box()["x"]}, "a column"
    assert claims.locator("td.nothing").count() == 1
    assert not claims.locator("td.nothing").is_visible()
    page.emulate_media(media="print")
    assert verdict.evaluate(display) == "table-cell"
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert verdict.evaluate(display) == "table-cell"
    assert claims.locator("td.nothing").is_visible()


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints_its_figures_on_white_and_no_controls(visit, scheme):
    page = visit(color_scheme=scheme).page  # nobody has scrolled to the figure
    page.wait_for_function("document.querySelector('figure img').naturalWidth > 0")
    page.emulate_media(media="print")
    style = page.evaluate(
        """(() => {
            const { backgroundColor, color } = getComputedStyle(document.body);
            return [backgroundColor, color];
        })()"""
    )
    assert style == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
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
