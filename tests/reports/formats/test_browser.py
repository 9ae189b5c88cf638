"""The page in a real browser: its plot, filters, sorting and links, by mouse and by keyboard, without a request."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.reports.answered import world
from tests.reports.factory import failed
from tests.reports.page import data
from tunefront import reports

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
LABELS = {"full": 0.85, "houlsby:bottleneck=8": 0.84, "ia3": 0.8, "features": 0.7, "lora": 0.83}
TASKS = ("dir:d/sst2", "dir:d/trec")
SIZES = {"desktop": (1400, 900), "phone": (390, 844)}


@dataclass
class Seen:
    """A page with what the browser complained about and asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two backbones, of which one has more training rows."""
    folder = tmp_path_factory.mktemp("browser")
    records = [*world(folder, LABELS, TASKS, draws=range(6), spread=0.01)]
    records += world(folder, LABELS, TASKS, draws=range(2), spread=0.01, backbone="other", shots=64)
    records.append(failed(label="knn", task=TASKS[0]))
    places = dict.fromkeys((record.key for record in records), str(folder))
    written = reports.write(records, folder / "report", ["html"], places=places)
    return written[0]


@pytest.fixture(params=[("desktop", "light"), ("phone", "dark")], ids=lambda pair: "-".join(pair))
def seen(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Seen]:
    size, scheme = request.param
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    found = Seen(page)
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda asked: found.requests.append(asked.url))
    page.goto(file.as_uri())
    yield found
    page.close()
    assert found.complaints == []
    assert found.requests == [file.as_uri()]


def points(page: Any) -> list[str]:
    """The methods that the plot shows, without its line of the front."""
    names: list[str] = page.evaluate("document.getElementById('plot').data.slice(1).map((trace) => trace.name)")
    return names


def heights(page: Any) -> dict[str, float]:
    traces = page.evaluate("document.getElementById('plot').data.slice(1).map((trace) => [trace.name, trace.y[0]])")
    return dict(traces)


def cells(page: Any, table: str, column: int) -> list[str]:
    texts: list[str] = page.locator(f"{table} tbody tr").evaluate_all(
        f"(rows) => rows.map((row) => row.cells[{column}].innerText.trim())"
    )
    return texts


def test_the_first_screen_has_the_answer_and_the_plot(seen, file):
    assert set(points(seen.page)) == set(LABELS)
    assert seen.page.locator("h1").inner_text() != ""
    assert seen.page.locator(".budgets:visible li").count() > 0
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if seen.page.viewport_size["width"] > 1000:
        box = seen.page.locator("#plot").bounding_box()
        assert box["y"] + box["height"] <= 900
        assert seen.page.locator(".budgets:visible li").last.bounding_box()["y"] < 900


def test_another_axis_and_another_task_move_the_points(seen, file):
    page, shown = seen.page, data(file.read_text())["panels"][0]
    before = heights(page)
    page.select_option("#at-across", "flops.train")
    assert "Training FLOPs" in page.evaluate("document.getElementById('plot').layout.xaxis.title.text")
    assert heights(page) == before
    page.select_option("#at-up", "score")
    means = dict(zip(shown["methods"]["label"], shown["views"][0]["score"]["value"], strict=True))
    assert heights(page) == means
    page.select_option("#at-task", "2")
    means = dict(zip(shown["methods"]["label"], shown["views"][2]["score"]["value"], strict=True))
    assert heights(page) == means


def test_another_backbone_has_its_own_answer(seen):
    page = seen.page
    said = page.locator(".said [data-panel]:visible")
    first = said.inner_text()
    page.select_option("#at-backbone", "other")
    assert said.inner_text() != first
    assert set(points(page)) == set(LABELS)


def test_a_view_can_be_sent(seen, browser, file):
    page = seen.page
    page.select_option("#at-across", "flops.train")
    page.select_option("#at-task", "1")
    page.select_option("#at-up", "score")
    shown, address = heights(page), page.url
    assert "#view-" in address
    other = browser.new_page()
    other.goto(address)
    assert heights(other) == shown
    assert other.locator("#at-across").input_value() == "flops.train"
    other.locator("#methods-table tbody a").first.click()
    playwright.expect(other.locator("#behind")).to_be_visible()
    other.keyboard.press("Escape")
    playwright.expect(other.locator("#behind")).not_to_be_visible()
    playwright.expect(other).to_have_url(address)  # going back takes its time
    other.close()


NOWHERE = ("#view-9.0.gap.0", "#view-0.0.gap.99", "#view-x", "#rows-999999", "#runs-9-9", "#%E0%A4%A", "#constructor")


@pytest.mark.parametrize("address", NOWHERE)
def test_an_address_that_leads_nowhere_shows_the_page(browser, file, address):
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri() + address)
    assert set(points(page)) == set(LABELS)
    assert not page.locator("#behind").is_visible()
    assert errors == []
    page.close()


def test_methods_can_be_left_out(seen):
    page = seen.page
    page.locator(".menu summary").click()
    page.get_by_role("checkbox", name="ia3").uncheck()
    assert set(points(page)) == set(LABELS) - {"ia3"}
    assert not any("ia3" in text for text in cells(page, "#methods-table", 0))
    page.get_by_role("button", name="None").click()
    assert points(page) == []
    page.get_by_role("button", name="All").click()
    assert set(points(page)) == set(LABELS)


def test_a_column_sorts_by_its_numbers(seen):
    page = seen.page
    head = page.locator("#methods-table thead th", has_text="Trained parameters")
    place = head.evaluate("(cell) => cell.cellIndex")
    numbers = sorted(int(text.replace(",", "")) for text in cells(page, "#methods-table", place))
    for click, expected in (("ascending", numbers), ("descending", numbers[::-1])):
        head.click()
        page.wait_for_selector(f'#methods-table th[aria-sort="{click}"]')
        assert [int(text.replace(",", "")) for text in cells(page, "#methods-table", place)] == expected


def test_a_table_of_the_report_sorts_by_its_exact_numbers(seen):
    page = seen.page
    table = page.locator("#panel-0 table.sortable", has_text="Trained parameters and stored bytes").first
    table.scroll_into_view_if_needed()
    head = table.locator("thead th", has_text="checkpoint")
    place = head.evaluate("(cell) => cell.cellIndex")
    head.click()
    page.wait_for_selector('#panel-0 th[aria-sort="ascending"]')
    orders = table.locator("tbody tr").evaluate_all(f"(rows) => rows.map((row) => row.cells[{place}].dataset.order)")
    assert [float(order) for order in orders] == sorted(float(order) for order in orders)


def test_a_filter_keeps_the_rows_with_a_text(seen):
    page = seen.page
    page.locator("#methods .dt-search input").fill("houls")
    assert cells(page, "#methods-table", 0) == [text for text in cells(page, "#methods-table", 0) if "houlsby" in text]


def test_a_number_leads_to_its_records_and_back(seen, file):
    page = seen.page
    page.locator("#methods-table tbody tr", has_text="lora").locator("a").first.click()
    dialog = page.locator("#behind")
    playwright.expect(dialog).to_be_visible()
    playwright.expect(page.locator("#behind-title")).to_contain_text("12 records")
    dialog.locator("a.key").first.click()
    page.wait_for_selector("#behind-body code")
    key = re.search(r"records/([0-9a-f]{64})\.json", dialog.inner_text())[1]
    assert (file.parent.parent / "records" / f"{key}.json").exists()
    assert "trainable" in dialog.inner_text()
    page.keyboard.press("Escape")
    playwright.expect(dialog).not_to_be_visible()
    assert page.evaluate("location.hash") == ""


def test_all_records_are_listed_when_their_list_is_opened(seen):
    page = seen.page
    assert page.locator("#records-table tbody tr").count() == 0
    page.locator("#all-records summary").click()
    page.wait_for_selector("#records-table tbody tr")
    assert page.locator("#records-table tbody tr").count() == 25
    page.locator("#all-records .dt-search input").fill("failed")
    playwright.expect(page.locator("#records-table tbody tr")).to_have_count(1)


def test_the_keyboard_alone_reaches_a_record(seen):
    page = seen.page
    page.locator("#at-across").focus()
    page.keyboard.press("Tab")  # the menu of methods
    page.keyboard.press("Tab")  # the plot
    assert page.evaluate("document.activeElement.id") == "plot"
    page.keyboard.press("ArrowRight")
    first = page.locator("#plot-live").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#plot-live").inner_text() != first
    assert re.search(r"Trained parameters per task: [\d,]+", first)
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#behind")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "plot"


def test_everything_that_can_be_used_has_a_name(seen):
    page = seen.page
    for select in page.locator("select:visible").all():
        assert select.evaluate("(element) => element.labels.length") == 1
    assert page.locator("#plot").get_attribute("aria-label")
    assert page.locator("#behind").get_attribute("aria-labelledby") == "behind-title"
    assert page.locator("table:not(:has(thead th))").count() == page.locator("#records-table").count()


def test_a_page_on_paper_has_its_still_plot_and_no_controls(seen):
    page = seen.page
    page.emulate_media(media="print")
    assert page.locator(".still").first.is_visible()
    assert not page.locator(".controls").is_visible()


@pytest.fixture
def unscripted(browser: Any, file: Path) -> Iterator[Any]:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(file.as_uri())
    yield page
    context.close()


def test_without_scripts_the_answer_the_plot_and_the_records_are_there(unscripted):
    assert unscripted.locator(".still").first.is_visible()
    assert not unscripted.locator(".controls").is_visible()
    assert unscripted.locator(".said [data-panel]").count() == 2
    link = unscripted.locator("#panel-0 td a").first
    target = link.get_attribute("href")
    assert unscripted.locator(f"details:has({target}), details{target}").count() == 1


def test_hostile_names_run_nothing(browser, tmp_path):
    name = '<img src=x onerror="document.title=1">"><script>document.title=1</script>'
    records = world(tmp_path, {name: 0.8, "full": 0.9}, (f"dir:{name}",), draws=range(3), backbone=name)
    (path, *_) = reports.write(records, tmp_path / "report", ["html"])
    page = browser.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#behind")).to_be_visible()
    page.locator("#behind a.key").first.click()
    page.wait_for_selector("#behind-body code")
    assert page.title() != "1"
    assert page.locator("img").count() == 0
    assert name in page.locator("#behind").inner_text()
    assert errors == []
    page.close()


def test_names_are_no_templates_and_no_mathematics_of_the_plot(browser, tmp_path):
    name = "%{x} %{y:.3f} $x^2$ &lt;b&gt;"
    records = world(tmp_path, {name: 0.8, "full": 0.9, "x" * 300: 0.7}, ("dir:d/sst2",), draws=range(3))
    (path, *_) = reports.write(records, tmp_path / "report", ["html"])
    page, errors = browser.new_page(viewport={"width": 1400, "height": 900}), []
    page.on("console", lambda message: errors.append(message.text))
    page.goto(path.as_uri())
    page.locator("#plot").focus()
    seen = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(400)  # the plot draws what is pointed at with a delay
        seen.append("".join(page.locator("#plot .hoverlayer text").all_text_contents()))
    assert any("%{x} %{y:.3f} $x^2$ &lt;b&gt;" in text for text in seen)
    assert all("Trained parameters per task" in text for text in seen)
    assert max(page.locator("#plot .hoverlayer").evaluate("(layer) => [layer.getBBox().width]")) < 600
    assert errors == []
    page.close()


def test_the_front_and_the_averages_leave_out_what_is_not_comparable(browser, tmp_path):
    records = [*world(tmp_path, {"full": 0.8, "ia3": 0.75}, TASKS, draws=range(3))]
    records += world(tmp_path, {"bitfit": 0.97}, TASKS[:1], draws=range(3))
    records += world(tmp_path, {"lora": 0.95}, TASKS, draws=range(3), collapse__collapsed=True)
    places = dict.fromkeys((record.key for record in records), str(tmp_path))
    (path, *_) = reports.write(records, tmp_path / "report", ["html"], places=places)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    front = page.evaluate("document.getElementById('plot').data[0].y")
    assert max(front) <= max(value for name, value in heights(page).items() if name in ("full", "ia3"))
    rows = dict(zip(cells(page, "#methods-table", 0), cells(page, "#methods-table", 1), strict=True))
    assert [score for name, score in rows.items() if "bitfit" in name] == ["—"]
    assert any("lora†" in name for name in rows)
    page.close()
