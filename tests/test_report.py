"""The HTML report, opened in Debian's Chromium: what a person sees, clicks and prints."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter

import numpy as np
import pytest

from imle_opt import InvalidInputError, MissingDependencyError
from imle_opt.cli import main
from imle_opt.evaluation.inputs import MethodFiles
from imle_opt.evaluation.judgement import Sampling, judge
from imle_opt.evaluation.picture import GraphPicture, ItemsPicture
from imle_opt.evaluation.result import WorstRow
from imle_opt.evaluation.run import EvaluationRequest, evaluate_files
from imle_opt.report import check_report, render_report
from imle_opt.report.drawings import draw, explain
from imle_opt_solvers import grid_path
from imle_opt_solvers.solution import Limits

EVIL = "<script>alert(1)</script>"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    generator = np.random.default_rng(0)
    true = generator.uniform(1, 10, (60, 6, 6))
    np.save(folder / "true.npy", true.reshape(60, -1))
    methods = []
    for place, (name, noise) in enumerate([("network", 0.8), ("regression", 4.0), (EVIL, 2.0)]):
        file = folder / f"{place}.npy"
        predicted = np.abs(true + generator.normal(0, noise, true.shape)) + 0.1
        np.save(file, predicted.reshape(60, -1))
        methods.append(MethodFiles(name, (file,)))

    def make_solver():
        return grid_path((6, 6))

    request = EvaluationRequest(
        "grid-path:6x6", make_solver(), make_solver, Limits(), (), folder / "true.npy", methods, None, True,
        1e-6, 1, None,
    )  # fmt: skip
    evaluation = evaluate_files(request, lambda total: lambda rows: None)
    judgement = judge(evaluation, Sampling(resamples=200))
    path = folder / "report.html"
    path.write_text(render_report(evaluation, judgement), encoding="utf-8")
    return evaluation, judgement, path


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None and os.environ.get("IMLE_OPT_BROWSER") != "required":
        pytest.skip("there is no Chromium: apt-get install chromium")
    assert BROWSER, "IMLE_OPT_BROWSER is required, and there is no Chromium: apt-get install chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, judged):
    """Open the report; at the end nothing may have been said on the console or asked of the network."""
    contexts, said = [], []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: said.append(request.url) if request.url[:4] == "http" else None)
        page.goto(judged[2].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def test_the_costs_drawn_are_pairs_of_the_tables(judged):
    evaluation, _, path = judged
    true = np.load(path.parent / "true.npy").ravel()
    for place, method in enumerate(evaluation.methods[:3]):
        predicted = np.load(path.parent / f"{place}.npy").ravel()
        drawn = set(zip(method.sampled_costs.true, method.sampled_costs.predicted, strict=True))
        assert len(drawn) == 400
        assert drawn <= set(zip(true, predicted, strict=True))


def first_column(page):
    return page.locator("#methods tbody th").all_inner_texts()


def test_the_page_says_what_was_found_and_draws_it(opened, judged):
    page = opened()
    for sentence in judged[1].verdicts:
        assert page.get_by_text(sentence, exact=True).is_visible()
    assert first_column(page) == ["network", "regression", EVIL, "constant"]
    page.locator("#regrets .scatterlayer .trace").first.wait_for()
    assert page.locator("#regrets .scatterlayer .trace").count() == 4
    assert page.locator("#regrets .legendtext").all_text_contents()[2] == EVIL
    assert not page.locator(".static").first.is_visible()
    assert page.locator("svg.decision").count() == sum(len(each.worst_rows) for each in judged[0].methods)
    assert page.locator("svg.decision").count() >= 30
    assert page.evaluate("document.querySelectorAll('main script').length") == 0


def test_the_table_is_sorted_by_click_and_by_keyboard(opened, judged):
    page = opened()
    by_regret = page.get_by_role("button", name="normalised regret, ratio of sums")
    by_regret.click()
    figure = "normalized_regret_ratio_of_sums"
    regrets = {name: each[figure].estimate for name, each in judged[1].intervals.items()}
    assert first_column(page) == sorted(regrets, key=regrets.__getitem__)
    by_regret.press("Enter")
    assert first_column(page) == sorted(regrets, key=regrets.__getitem__, reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.locator("#methods").get_by_role("button", name="method", exact=True).click()
    assert set(first_column(page)) == set(regrets)
    assert page.locator("th[aria-sort]").count() == 1


def test_a_method_and_a_comparison_are_chosen(opened):
    page = opened()
    sections = page.locator("section[data-part=worst]")
    assert [each.is_visible() for each in sections.all()] == [True] * 4
    page.get_by_label("Method:").select_option(EVIL)
    assert [each.is_visible() for each in sections.all()] == [False, False, True, False]
    assert [page.locator(f"#difference-{number}").is_visible() for number in range(3)] == [True, False, False]
    page.get_by_label("Compare:").select_option("difference-2")
    assert [page.locator(f"#difference-{number}").is_visible() for number in range(3)] == [False, False, True]


def test_hovering_a_chart_shows_its_figures(opened):
    page = opened()
    page.locator("#regrets .scatterlayer .trace").first.wait_for()
    page.locator("#regrets .nsewdrag").hover(position={"x": 150, "y": 100})
    page.locator("#regrets .hovertext").first.wait_for()


def test_without_scripts_all_of_it_is_there(opened, judged):
    page = opened(java_script_enabled=False)
    assert page.get_by_text(judged[1].verdicts[0], exact=True).is_visible()
    assert page.locator("svg.chart").count() == 5
    assert all(each.is_visible() for each in page.locator("svg.chart").all())
    assert not page.locator(".choose").first.is_visible()
    assert page.locator("#methods tbody tr").count() == 4


def test_a_phone_needs_no_scrolling_sideways(opened):
    page = opened(viewport={"width": 360, "height": 740})
    page.locator("#regrets .scatterlayer .trace").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    right = (
        "Math.max(...[...document.querySelectorAll('main > *')].map(e => e.getBoundingClientRect().right))"
    )
    assert page.evaluate(right) <= 361


def test_a_desktop_shows_whole_tables(opened):
    page = opened(viewport={"width": 1200, "height": 900})
    hidden = "[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    assert page.evaluate(hidden) == [0, 0, 0]


@pytest.mark.parametrize("width", [360, 1200])
def test_the_legend_is_apart_from_the_axis(opened, width):
    page = opened(viewport={"width": width, "height": 900})
    page.locator("#regrets .scatterlayer .trace").first.wait_for()
    legend, title = (page.locator(f"#regrets .{part}").bounding_box() for part in ("legend", "xtitle"))
    assert legend["y"] + legend["height"] < title["y"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(opened, scheme):
    page = opened(color_scheme=scheme)
    back, *inks = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, ...[...document.querySelectorAll("
        "'h1, p, td, th, small, figcaption, dt')].map(e => getComputedStyle(e).color)]"
    )
    assert (luminance(back) < 0.1) == (scheme == "dark")
    for ink in set(inks):
        low, high = sorted([luminance(back), luminance(ink)])
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2, level AA


def luminance(colour):
    """WCAG 2's relative luminance of `rgb(r, g, b)`."""
    shares = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_keyboard_reaches_what_can_be_used_and_shows_where_it_is(opened):
    page = opened()
    reached = Counter()
    for _ in range(16):
        page.keyboard.press("Tab")
        kind, outline = page.evaluate(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if kind in ("BUTTON", "DIV"):
            assert outline == "solid"
        reached[kind] += 1
    assert reached["BUTTON"] >= 10
    assert reached["DIV"] >= 1  # tables that scroll


def test_on_paper_all_of_it_is_there(opened):
    page = opened(color_scheme="dark")
    page.get_by_label("Method:").select_option("network")
    page.emulate_media(media="print")
    assert all(each.is_visible() for each in page.locator("svg.chart").all())
    assert not page.locator(".plot").first.is_visible()
    assert not page.locator(".choose").first.is_visible()
    assert all(each.is_visible() for each in page.locator("section[data-part=worst]").all())
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9


def test_names_are_text_in_the_source(judged):
    text = judged[2].read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert EVIL not in text


def worst_row(decision, best, costs):
    return WorstRow("0", 3, 1.0, 2.0, costs, costs, decision, best)


def test_items_graphs_and_matrices_are_drawn():
    items = ItemsPicture(np.array([[2.0, 3.0, 4.0]]), np.array([5.0]))
    bars = draw(items, worst_row(np.array([0.0, 0, 1]), np.array([1.0, 1, 0]), np.array([3.0, 4, 5])), "bars")
    assert bars.count('class="item"') == 3
    assert bars.count('class="mark best"') == 2
    assert bars.count('class="mark taken"') == 1
    assert "weight 4 taken, 5 best, of 5" in bars
    eye = np.eye(3)
    matrix = draw(None, worst_row(eye[::-1], eye, np.arange(9.0).reshape(3, 3)), EVIL)
    assert matrix.count('class="cost"') == 9
    assert (matrix.count('class="best"'), matrix.count('class="taken"')) == (3, 3)
    assert EVIL not in matrix
    graph = grid_path((2, 2)).graph
    edges = len(graph.tails)
    chosen, best = np.eye(edges)[0], np.eye(edges)[1] + np.eye(edges)[2]
    for positions in (None, np.array(graph.nodes, float)):
        drawn = draw(
            GraphPicture(graph, "edges", positions), worst_row(chosen, best, np.ones(edges)), "graph"
        )
        lines = {kind: path.count("M") for kind, path in re.findall(r'class="line (\w+)" d="([^"]*)"', drawn)}
        assert lines == {"edge": edges, "best": 2, "taken": 1}
    assert draw(None, worst_row(np.ones(4), np.ones(4), np.ones(4)), "none") == ""
    # A dark page draws dear cells light: no words of dark and light; edges have no shade.
    assert (
        explain(None)
        == explain(GraphPicture(graph, "vertices", None))
        == "the stronger a cell's shade, the higher its true cost"
    )
    assert explain(GraphPicture(graph, "edges", None)) == ""
    assert explain(items) == "a bar's height is the item's true value"


def test_the_command_writes_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("true.npy", np.random.default_rng(0).uniform(1, 2, (6, 9)))
    np.save("guess.npy", np.random.default_rng(1).uniform(1, 2, (6, 9)))
    words = ["regret", "grid-path:3x3", "--true", "true.npy", "--predicted", "guess.npy", "--html"]
    assert main([*words, "out.html"]) == 0
    assert "<h2>The worst instances</h2>" in (tmp_path / "out.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*words, "no/out.html"]) == 2
    assert "--html no/out.html must name a file in a folder that exists" in capsys.readouterr().err


def test_without_plotly_the_mend_is_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'imle-opt\[report\]'"):
        check_report(tmp_path / "report.html")
    with pytest.raises(InvalidInputError, match="--html"):
        check_report(tmp_path)
