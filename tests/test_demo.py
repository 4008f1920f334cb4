"""The demo, on fewer maps: it learns, its report holds all that it shows, and the trap is shown."""

from __future__ import annotations

import builtins
import itertools
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from imle_opt import InvalidInputError
from imle_opt.data import digit_maps
from imle_opt.demo import pictures, report, run_demo
from imle_opt.demo.result import COLUMNS, cells, verdict
from imle_opt.demo.task import SIZE
from imle_opt_solvers.grid import grid_path


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Five epochs of 500 maps, in 4 seconds: 3.9% to 6.0% regret from paths over ten seeds."""
    path = tmp_path_factory.mktemp("demo") / "report.html"
    return run_demo(out=path, seed=1, epochs=5, maps=500, test_maps=200), path.read_text(encoding="utf-8")


def regret(demo, key):
    return demo[0][key].report.normalized_regret


def test_learning_from_paths_beats_equal_costs_by_far(demo):
    """Half of the equal costs' regret, by three standard errors of the difference, map by map."""
    paths, equal = demo[0]["paths"].report, demo[0]["equal"].report
    gain = 0.5 * equal.regrets - paths.regrets
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


def test_learning_from_costs_beats_equal_costs_by_far(demo):
    assert regret(demo, "costs") < 0.5 * regret(demo, "equal")


def test_the_perceptron_falls_into_the_trap_of_zero_costs(demo):
    trap = demo[0]["perceptron"]
    assert trap.predicted.mean() < 1e-3
    assert trap.report.normalized_regret > regret(demo, "equal")
    assert demo[0]["paths"].predicted.mean() > 0.5


def test_the_verdict_and_the_rows_say_what_was_measured(demo):
    result = demo[0]
    figure = f"{100 * regret(demo, 'paths'):.2f}%"
    assert figure in verdict(result)
    assert ("MISSED" in verdict(result)) is not result.target_met
    assert result.target_met is (regret(demo, "paths") <= 0.03)
    assert figure in cells(result["paths"])
    assert cells(result["equal"])[-2:] == ("-", "-")
    assert all(len(cells(outcome)) == len(COLUMNS) for outcome in result.outcomes)


def test_seconds_and_curves_are_measured(demo):
    for outcome in demo[0].outcomes[:-1]:
        assert len(outcome.curve) == 5
        assert outcome.network_seconds > 0
        assert (outcome.solver_seconds > 0) is (outcome.key != "regression")


def test_the_same_seed_gives_the_same_figures(demo):
    options = {"out": None, "epochs": 1, "maps": 40, "test_maps": 20}
    first, again, other = (
        run_demo(seed=3, **options),
        run_demo(seed=3, **options),
        run_demo(seed=4, **options),
    )
    for key in ("paths", "costs", "regression", "perceptron"):
        assert np.array_equal(first[key].predicted, again[key].predicted)
        assert not np.array_equal(first[key].predicted, other[key].predicted)


class Page(HTMLParser):
    """Collects what a page would load, its text, and checks that tags are closed in order."""

    VOID = ("meta", "br", "img", "input", "link")

    def __init__(self, text):
        super().__init__()
        self.loads, self.tags, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "data", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


def test_the_report_is_one_file_that_loads_nothing(demo):
    page = Page(demo[1])
    assert page.open == []
    assert page.loads
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "link" not in page.tags
    assert "url(" not in re.search(r"<style>(.*?)</style>", demo[1], re.S)[1]
    assert "default-src 'none'" in demo[1]


def test_the_report_shows_table_verdict_and_paths_without_scripts(demo):
    result, text = demo
    without = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    words = " ".join(" ".join(Page(without).words).split())
    assert verdict(result) in words
    for outcome in result.outcomes:
        assert outcome.name in words
        assert f"{100 * outcome.report.normalized_regret:.2f}%" in words
    assert "ratio of sums" in words
    assert "mean of ratios" in words
    assert without.count('<polyline class="true"') == without.count('<polyline class="predicted"') == 8
    assert len(without) < 100_000


def test_the_report_draws_the_curves(demo):
    script = demo[1]
    for name in ("ExplicitMLE from paths", "ExplicitMLE from costs", "regression from costs", "target: 3%"):
        assert f'"name":"{name}"' in script


def test_names_are_escaped(demo):
    picture = pictures.map_picture(np.zeros((48, 48)), np.eye(6), np.eye(6), '"><script>alert(1)</script>')
    assert "<script>" not in picture
    assert 'aria-label="&quot;&gt;&lt;script&gt;' in picture


def test_without_plotly_the_table_is_printed_and_the_mend_is_named(demo, tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without_plotly(name, *rest, **options):
        if name.split(".")[0] == "plotly":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_plotly)
    out = tmp_path / "report.html"
    run_demo(out=out, epochs=1, maps=20, test_maps=10)
    printed = capsys.readouterr().out
    assert not out.exists()
    assert "pip install 'imle-opt[report]'" in printed
    assert "equal costs" in printed
    assert "ratio" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs`"),
        ({"maps": 0}, "`maps`"),
        ({"test_maps": -1}, "`test_maps`"),
        ({"out": "no/such/folder/report.html"}, "`out` must name a file in a folder that exists"),
        ({"out": "."}, "`out` must name a file"),
    ],
)
def test_bad_options_are_refused_before_the_work(options, message):
    with pytest.raises(InvalidInputError, match=message):
        run_demo(**options)


def test_ctrl_c_leaves_no_report(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("imle_opt.demo.run.learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_demo(out=tmp_path / "report.html", epochs=1, maps=5, test_maps=5)
    assert list(tmp_path.iterdir()) == []


def test_the_splits_share_no_digit():
    splits = digit_maps(300, 100, 100)
    shown = [set(part.sources.ravel().tolist()) for part in (splits.train, splits.validation, splits.test)]
    for one, other in itertools.combinations(shown, 2):
        assert not one & other
    assert len(set.union(*shown)) > 1780


def test_maps_show_their_digits_and_cost_one_more():
    from sklearn.datasets import load_digits

    digits = load_digits()
    maps = digit_maps(4, 1, 1, size=3, seed=5).train
    assert maps.images.shape == (4, 1, 24, 24)
    assert maps.images.dtype == np.float32
    row, column = 1, 2
    source = maps.sources[3, row, column]
    cell = maps.images[3, 0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
    np.testing.assert_allclose(cell, digits.images[source] / 16, rtol=1e-7)
    assert maps.costs[3, row, column] == 1 + digits.target[source]
    assert np.array_equal(digit_maps(2, 1, 1, size=3, seed=5).train.costs, maps.costs[:2])
    assert not np.array_equal(digit_maps(4, 1, 1, size=3, seed=6).train.costs, maps.costs)


def test_numbers_of_maps_below_one_are_refused():
    with pytest.raises(InvalidInputError, match="at least 1"):
        digit_maps(0)


def test_a_png_can_be_read_back():
    grey = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    data = pictures.png(grey)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = {}, data[8:]
    while rest:
        (length,), kind = struct.unpack(">I", rest[:4]), rest[4:8]
        chunks[kind] = rest[8 : 8 + length]
        assert struct.unpack(">I", rest[8 + length : 12 + length])[0] == zlib.crc32(kind + chunks[kind])
        rest = rest[12 + length :]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (7, 5, 8, 0, 0, 0, 0)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 8)
    assert np.array_equal(lines[:, 1:], grey)
    assert not lines[:, 0].any()


def test_paths_are_drawn_in_their_order():
    solver = grid_path((SIZE, SIZE))
    costs = np.random.default_rng(1).uniform(0.1, 1.0, (50, SIZE, SIZE)) ** 3
    for decision in solver.solve(costs).decisions:
        order = pictures.path_cells(decision)
        assert order[0] == (0, 0)
        assert order[-1] == (SIZE - 1, SIZE - 1)
        assert len(order) == len(set(order)) == decision.sum()
        assert all(decision[cell] == 1 for cell in order)
        steps = np.abs(np.diff(order, axis=0))
        assert (steps.max(axis=1) == 1).all()


def test_a_path_that_comes_near_itself_is_drawn_whole():
    snake = np.array([[1, 1, 1], [0, 0, 1], [1, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=float)
    assert len(pictures.path_cells(snake)) == snake.sum()
    with pytest.raises(ValueError, match="not a path"):
        pictures.path_cells(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))


def test_the_report_names_the_way_to_run_it_again(demo):
    assert "imle-opt demo --seed 1 --epochs 5 --maps 500 --test-maps 200" in report.render(demo[0])
