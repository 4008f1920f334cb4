"""The statistics of an evaluation: against SciPy, hand-computed values, and simulated populations."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from imle_opt import InvalidInputError
from imle_opt.evaluation import statistics
from imle_opt.evaluation.statistics import (
    compare,
    holm,
    interquartile_mean_interval,
    mean_interval,
    median_interval,
    paired_tests,
    ratio_interval,
    verdict,
    with_holm,
)
from imle_opt.evaluation.statistics.components import components
from imle_opt.evaluation.statistics.order import interquartile_mean
from imle_opt.evaluation.statistics.resampling import blocks, resampled_sums


def rng(seed=0):
    return np.random.default_rng(seed)


def evaluation(generator, rows, seeds=1, luck=0.0):
    """Regrets with many zeros, dear and cheap instances, and seeds of unequal luck; the truth is 0.04."""
    optima = generator.gamma(6.0, 1.0, rows) + 1.0
    difficulty = generator.exponential(1.0, rows)
    of_seed = 1 + luck * generator.uniform(-1, 1, (seeds, 1))
    wrong = generator.random((seeds, rows)) < 0.4
    noise = 0.7 + 0.6 * generator.random((seeds, rows))
    return 0.1 * optima * difficulty * of_seed * wrong * noise, optima


# --- the interval of a ratio of sums


def test_the_variance_is_that_of_the_linearised_ratio_and_of_scipys_bootstrap():
    regrets, optima = evaluation(rng(1), 400)
    found = ratio_interval(regrets, optima, generator=rng(2))
    scipys = stats.bootstrap(
        (regrets[0], optima),
        lambda r, o, axis: r.sum(axis) / o.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        rng=rng(3),
    )
    assert found.estimate == pytest.approx(regrets.sum() / optima.sum(), rel=1e-12)
    # Four standard errors of a standard deviation from 4000 draws, and the terms that linearising leaves out.
    assert found.standard_error == pytest.approx(scipys.standard_error, rel=4 / np.sqrt(8000) + 0.01)
    width = scipys.confidence_interval.high - scipys.confidence_interval.low
    assert found.high - found.low == pytest.approx(width, rel=0.15)


def test_the_quantile_is_that_of_scipys_bootstrap_of_the_studentised_ratio():
    regrets, optima = (each.ravel() for each in evaluation(rng(4), 40))
    ratio = regrets.sum() / optima.sum()

    def studentised(r, o, axis=-1):
        found = r.sum(axis) / o.sum(axis)
        influences = (r - np.expand_dims(found, axis) * o) / np.expand_dims(o.sum(axis), axis)
        return np.abs(found - ratio) / np.sqrt((influences**2).sum(axis) * 40 / 39)

    scipys = stats.bootstrap(
        (regrets, optima), studentised, paired=True, vectorized=True, n_resamples=20_000, method="percentile",
        confidence_level=0.9, rng=rng(5),
    )  # fmt: skip
    q = scipys.confidence_interval.high  # 95% are below the upper end of a 90% interval
    found = ratio_interval(regrets, optima, generator=rng(6), resamples=20_000)
    # The standard error of a 95% quantile of 20,000 draws is about 0.02 here; two of them are compared.
    assert (found.high - found.low) / 2 / found.standard_error == pytest.approx(q, abs=0.1)


def test_the_equal_tails_are_those_of_scipys_bootstrap_of_the_studentised_ratio():
    regrets, optima = (each.ravel() for each in evaluation(rng(4), 40))
    ratio = regrets.sum() / optima.sum()

    def studentised(r, o, axis=-1):
        found = r.sum(axis) / o.sum(axis)
        influences = (r - np.expand_dims(found, axis) * o) / np.expand_dims(o.sum(axis), axis)
        return (found - ratio) / np.sqrt((influences**2).sum(axis) * 40 / 39)

    scipys = stats.bootstrap(
        (regrets, optima), studentised, paired=True, vectorized=True, n_resamples=20_000, method="percentile",
        confidence_level=0.9, rng=rng(5),
    ).confidence_interval  # fmt: skip
    found = ratio_interval(regrets, optima, generator=rng(6), resamples=20_000, confidence=0.9, tails="equal")
    # The standard errors of these quantiles of 20,000 draws are below 0.03; two of each are compared.
    assert (found.estimate - found.low) / found.standard_error == pytest.approx(scipys.high, abs=0.15)
    assert (found.high - found.estimate) / found.standard_error == pytest.approx(-scipys.low, abs=0.15)
    assert found.high - found.estimate > 1.2 * (found.estimate - found.low)  # regrets are skewed


def test_intervals_of_one_seed_cover():
    """1,000 evaluations: between 93 and 97 of 100 intervals hold the true value."""
    generator, held = rng(7), 0
    for _ in range(1000):
        regrets, optima = evaluation(generator, 60)
        found = ratio_interval(
            regrets, optima, generator=generator, resamples=199, at_least=0.0, tails="equal"
        )
        held += found.low <= 0.04 <= found.high
    assert 930 <= held <= 970


def test_equal_tails_cover_skewed_regrets_of_few_rows_better():
    """Lognormal regrets of 30 rows: over 3,000 evaluations 93.3% held the true value, and 90.3%."""
    generator, equal, symmetric = rng(31), [], []
    truth = 0.04 * np.exp(0.5)
    for _ in range(1000):
        optima = generator.gamma(6.0, 1.0, 30) + 1.0
        regrets = 0.1 * optima * np.exp(generator.normal(size=30)) * (generator.random(30) < 0.4)
        for tails, held in (("equal", equal), ("symmetric", symmetric)):
            found = ratio_interval(regrets, optima, generator=generator, resamples=199, tails=tails)
            held.append(found.low <= truth <= found.high)
    # Four standard errors below 93.3%; the difference of pairs, three points, is some four of its own.
    assert np.mean(equal) > 0.933 - 4 * np.sqrt(0.933 * 0.067 / 1000)
    assert np.mean(equal) > np.mean(symmetric)


def test_intervals_of_several_seeds_cover():
    """Five seeds of very unequal luck, on the same instances."""
    generator, held, alone = rng(8), 0, 0
    for _ in range(1000):
        regrets, optima = evaluation(generator, 60, seeds=5, luck=0.5)
        found = ratio_interval(regrets, optima, generator=generator, resamples=199, tails="equal")
        held += found.low <= 0.04 <= found.high
        alone += abs(found.estimate - 0.04) < 1.96 * np.sqrt(regrets.var() / regrets.size) / optima.mean()
    assert 930 <= held <= 970
    assert alone < 900  # what comes of taking all rows of all seeds for independent


def test_intervals_of_paired_differences_cover():
    generator, held = rng(9), 0
    for _ in range(1000):
        first, optima = evaluation(generator, 100)
        second = 0.7 * first + 0.02 * optima * generator.exponential(1.0, optima.size)
        found = compare(
            ("a", first), ("b", second), optima, generator=generator, resamples=199
        ).difference  # fmt: skip
        held += found.low <= 0.3 * 0.04 - 0.02 <= found.high
    assert 930 <= held <= 970


@pytest.mark.parametrize("values", ["median", "interquartile mean"])
def test_intervals_of_order_statistics_cover(values):
    generator, held = rng(10), 0
    truth = np.log(2)
    if values == "interquartile mean":
        # The mean of an exponential variable between its quartiles, log(4/3) and log(4).
        truth = 2 * ((1 + np.log(4 / 3)) * 0.75 - (1 + np.log(4)) * 0.25)
    find = median_interval if values == "median" else interquartile_mean_interval
    for _ in range(1000):
        found = find(generator.exponential(1.0, 80), generator=generator, resamples=199)
        held += found.low <= truth <= found.high
    assert 930 <= held <= 970


def test_a_median_over_seeds_takes_in_their_luck():
    generator, held = rng(11), 0
    for _ in range(300):
        values = (
            generator.normal(0, 1, (6, 1)) + generator.normal(0, 1, (1, 60)) + generator.normal(0, 1, (6, 60))
        )
        found = median_interval(values, generator=generator, resamples=200)
        held += found.low <= 0 <= found.high
    assert held >= 0.93 * 300 - 2 * np.sqrt(300 * 0.07 * 0.93)


def test_blocks_of_rows_give_the_interval_of_the_rows():
    regrets, optima = evaluation(rng(12), 200_000)
    # A table sorted by regret: blocks must not follow its order.
    order = np.argsort(regrets[0])
    found = ratio_interval(regrets[0, order], optima[order], generator=rng(13))
    influences = (regrets - found.estimate * optima) / optima.sum()
    error = np.sqrt((influences**2).sum())
    assert found.standard_error == pytest.approx(error, rel=1e-4)
    # So many rows are as good as normal; the quantile of 2,000 resamples of 2,048 blocks varies by 3%.
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.12)


def test_blocks_add_up_and_resamples_have_the_moments_of_the_bootstrap():
    rows = rng(14).exponential(1.0, (5000, 2))
    units = blocks(rows, rng(15), most=64)
    assert units.shape == (64, 2)
    np.testing.assert_allclose(units.sum(axis=0), rows.sum(axis=0))
    assert blocks(rows, rng(15), most=5000) is rows
    sums = resampled_sums(units[:, :1], 40_000, rng(16))[:, 0]
    deviation = units[:, 0].std() * np.sqrt(64)
    assert sums.mean() == pytest.approx(units[:, 0].sum(), abs=4 * deviation / np.sqrt(40_000))
    assert sums.std() == pytest.approx(deviation, rel=4 / np.sqrt(80_000))


def test_variance_components_are_those_of_the_analysis_of_variance():
    """Balanced two-way table: mean squares computed by hand."""
    table = rng(17).normal(size=(4, 7)) + rng(18).normal(size=(4, 1)) + rng(19).normal(size=(1, 7))
    found = components([(table - table.mean()) / table.size])
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    interaction = (rest**2).sum() / (3 * 6) / 28
    seeds, instances = table.mean(1).var(ddof=1) / 4, table.mean(0).var(ddof=1) / 7
    assert found.seeds == pytest.approx(seeds)
    assert found.instances == pytest.approx(instances - interaction)
    assert found.degrees == 3


def test_one_seed_given_as_a_row_or_a_table_is_the_same():
    regrets, optima = evaluation(rng(20), 50)
    assert ratio_interval(regrets, optima, generator=rng(1)) == ratio_interval(
        regrets[0], optima, generator=rng(1)
    )


def test_unmeasured_rows_are_left_out():
    regrets, optima = evaluation(rng(21), 80)
    some = regrets.copy()
    some[0, ::3] = np.nan
    kept = ~np.isnan(some[0])
    optima_too = np.where(kept, optima, np.nan)
    alone = ratio_interval(regrets[0, kept], optima[kept], generator=rng(1))
    assert ratio_interval(some, optima, generator=rng(1)) == alone
    assert ratio_interval(some, optima_too, generator=rng(1)) == alone


def test_a_regret_is_not_below_zero_and_confidence_widens():
    regrets, optima = np.array([0.0] * 19 + [5.0]), np.ones(20)
    narrow = ratio_interval(regrets, optima, generator=rng(1), at_least=0.0, confidence=0.5)
    wide = ratio_interval(regrets, optima, generator=rng(1), at_least=0.0, confidence=0.99)
    assert narrow.low > wide.low == 0.0
    assert wide.high > narrow.high
    assert ratio_interval(regrets, optima, generator=rng(1)).low < 0


def test_the_p_value_agrees_with_the_interval():
    for shift in np.linspace(-0.3, 0.3, 13):
        values = rng(22).normal(shift, 1.0, 60)
        equal = mean_interval(values, generator=rng(23), tails="equal")
        assert (equal.p_value < 0.05) == (equal.low > 0 or equal.high < 0)
        found = mean_interval(values, generator=rng(23))
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
        # As Student's t has it, for normal values; a p-value near 0.05 from 2,000 draws varies by 0.005.
        assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.06)


def test_nothing_to_see():
    ones = np.ones(10)
    no_regret = ratio_interval(np.zeros(10), ones, generator=rng(1))
    assert (no_regret.low, no_regret.high, no_regret.p_value) == (0.0, 0.0, 1.0)
    same = ratio_interval(0.1 * ones, ones, generator=rng(1))
    assert same.low == pytest.approx(0.1)
    assert same.high == pytest.approx(0.1)
    for regrets, optima in (([1.0], [2.0]), ([1.0, np.nan], [2.0, 3.0])):
        single = ratio_interval(np.array(regrets), np.array(optima), generator=rng(1))
        assert single.estimate == 0.5
        assert not single.known
    empty = ratio_interval(np.full(3, np.nan), np.ones(3), generator=rng(1))
    assert np.isnan(empty.estimate)
    assert empty.named() == dict.fromkeys(("estimate", "low", "high", "standard_error")) | {
        "confidence": 0.95
    }
    assert np.isnan(ratio_interval(np.ones(3), np.zeros(3), generator=rng(1)).estimate)
    assert not median_interval(np.arange(5.0), generator=rng(1)).known
    assert np.isnan(median_interval(np.full(5, np.nan), generator=rng(1)).estimate)
    assert np.isnan(interquartile_mean_interval(np.full(5, np.nan), generator=rng(1)).estimate)


def test_bad_options_are_refused():
    ones = np.ones(4)
    with pytest.raises(InvalidInputError, match="`confidence` must lie between 0 and 1"):
        ratio_interval(ones, ones, generator=rng(), confidence=95)
    with pytest.raises(InvalidInputError, match="`resamples` must be at least 100"):
        ratio_interval(ones, ones, generator=rng(), resamples=0)
    with pytest.raises(InvalidInputError, match=r"`numerators` must be \(S, N\)"):
        ratio_interval(np.ones(3), ones, generator=rng())
    with pytest.raises(InvalidInputError, match="a has 4 and b 3"):
        compare(("a", ones), ("b", np.ones(3)), ones, generator=rng())


# --- median and interquartile mean


@pytest.mark.parametrize("rows", [6, 7, 40, 2001])
def test_the_median_interval_is_scipys(rows):
    values = rng(24).exponential(1.0, rows)
    found = median_interval(values, generator=rng())
    # Each side of a two-sided 95% interval misses 2.5%.
    low = stats.quantile_test(values, q=0, p=0.5, alternative="greater").confidence_interval(0.975).low
    high = stats.quantile_test(values, q=0, p=0.5, alternative="less").confidence_interval(0.975).high
    assert (found.low, found.high) == (low, high)
    assert found.estimate == np.median(values)


def test_the_interquartile_mean_is_scipys_where_quarters_are_whole():
    values = rng(25).exponential(1.0, (2, 20))
    found = interquartile_mean_interval(values, generator=rng())
    assert found.estimate == pytest.approx(stats.trim_mean(values.ravel(), 0.25))
    # By hand: of six values, 1.5 are cut at either end.
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 4.0, 8.0, 99.0])) == (0.5 * 1 + 2 + 4 + 0.5 * 8) / 3


# --- tests


@pytest.mark.parametrize("rows", [12, 200])
def test_signed_ranks_and_signs_are_scipys(rows):
    differences = np.round(rng(26).normal(0.2, 1.0, rows), 1)
    found = paired_tests(differences)
    assert found.signed_rank_p == stats.wilcoxon(differences[differences != 0]).pvalue
    wins = int((differences < 0).sum())
    losses = int((differences > 0).sum())
    assert (found.wins, found.ties, found.losses) == (wins, rows - wins - losses, losses)
    assert found.sign_p == stats.binomtest(wins, wins + losses).pvalue
    assert found.standardized == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_the_rank_biserial_correlation_by_hand():
    """Ranks of |-1|, |2|, |-3| are 1, 2, 3: (2 - 4) / 6. Ties within the tolerance do not count."""
    found = paired_tests(np.array([-1.0, 2.0, -3.0, 0.001, np.nan]), 0.01)
    assert found.rank_biserial == pytest.approx(-1 / 3)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.sign_p == 1.0


def test_no_difference_at_all():
    found = paired_tests(np.zeros(8))
    assert (found.signed_rank_p, found.sign_p, found.rank_biserial, found.ties) == (1.0, 1.0, 0.0, 8)


def test_holm_by_hand():
    """Ascending: 0.01 x 4, 0.02 x 3, 0.03 x 2 (held up by 0.06), 0.5 x 1."""
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx((0.5, 0.04, 0.06, 0.06))
    assert holm([0.4, 0.9]) == pytest.approx((0.8, 0.9))
    assert holm([0.8, 0.9]) == pytest.approx((1.0, 1.0))
    assert holm([0.02, np.nan]) == pytest.approx((0.02, np.nan), nan_ok=True)
    assert holm([]) == ()


# --- methods against each other


def two_methods(shift, rows=200, seeds=1):
    first, optima = evaluation(rng(27), rows, seeds, luck=0.3)
    second = first + shift * optima * rng(28).exponential(1.0, (seeds, rows))
    return first, second, optima


def test_the_difference_is_that_of_the_normalised_regrets():
    first, second, optima = two_methods(0.02)
    found = compare(("a", first), ("b", second), -optima, generator=rng())
    assert found.difference.estimate == pytest.approx((first.sum() - second.sum()) / optima.sum())
    assert found.regrets == pytest.approx((first.sum() / optima.sum(), second.sum() / optima.sum()))
    assert found.relative == pytest.approx(first.sum() / second.sum() - 1)
    mirrored = compare(("b", second), ("a", first), optima, generator=rng()).difference
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.difference.high, -found.difference.low))


def test_pairing_tells_apart_what_intervals_that_overlap_do_not():
    first, second, optima = two_methods(0.004)
    one, other = (ratio_interval(each, optima, generator=rng()) for each in (first, second))
    assert one.high > other.low
    assert compare(("a", first), ("b", second), optima, generator=rng()).shown


def test_a_method_of_one_seed_is_paired_with_every_seed_of_the_other():
    first, second, optima = two_methods(0.02, seeds=4)
    found = compare(("a", first), ("b", second[:1]), optima, generator=rng())
    tiled = compare(("a", first), ("b", np.tile(second[:1], (4, 1))), optima, generator=rng())
    assert found.difference == tiled.difference
    assert found.seeds == (4, 1)


def test_seeds_trained_apart_add_their_luck_up():
    generator = rng(29)
    held, errors, estimates = 0, [], []
    for _ in range(300):
        difficulty = generator.exponential(1.0, 50)
        first = difficulty + generator.normal(0, 0.3, (5, 1)) + generator.normal(0, 0.3, (5, 50))
        second = difficulty + generator.normal(0, 0.3, (3, 1)) + generator.normal(0, 0.3, (3, 50))
        found = compare(("a", first), ("b", second), np.ones(50), generator=generator, resamples=200)
        held += found.difference.low <= 0 <= found.difference.high
        errors.append(found.difference.standard_error)
        estimates.append(found.difference.estimate)
    assert held >= 0.93 * 300 - 2 * np.sqrt(300 * 0.07 * 0.93)
    # The standard error of a variance from 300 draws is 8%.
    assert np.mean(np.square(errors)) == pytest.approx(np.var(estimates), rel=0.3)
    same = compare(("a", first), ("b", second), np.ones(50), generator=rng(), same_seeds=False)
    assert same.seeds == (5, 3)


def test_rows_that_one_method_lacks_are_left_out_of_both():
    first, second, optima = two_methods(0.02, rows=60)
    second[0, 5:20] = np.nan
    kept = ~np.isnan(second[0])
    found = compare(("a", first), ("b", second), optima, generator=rng())
    alone = compare(("a", first[:, kept]), ("b", second[:, kept]), optima[kept], generator=rng())
    assert found == alone
    assert found.instances == 45


def test_holm_is_applied_to_each_test():
    first, second, optima = two_methods(0.004)
    third = first * rng(30).uniform(0.5, 1.5, first.shape)
    pairs = [(("a", first), ("b", second)), (("a", first), ("c", third))]
    found = with_holm([compare(*pair, optima, generator=rng()) for pair in pairs])
    assert [each.p_value for each in found] == list(holm([each.difference.p_value for each in found]))
    ranks = [each.tests.signed_rank_p for each in found]
    assert [each.signed_rank_p for each in found] == list(holm(ranks))
    assert [each.sign_p for each in found] == list(holm([each.tests.sign_p for each in found]))
    assert found[0].comparisons == 2


# --- the verdict


def test_the_verdict_names_the_better_method_whichever_comes_first():
    first, second, optima = two_methods(0.02)
    forth = verdict(compare(("good", first), ("bad", second), optima, generator=rng()))
    back = verdict(compare(("bad", second), ("good", first), optima, generator=rng()))
    assert forth == back
    assert forth.startswith("good decides better than bad: normalised regret ")
    assert "200 instances; p < 0.001)." in forth
    assert " 2." not in forth.split("instances")[0] or "-" not in forth


def test_no_difference_is_not_called_equal():
    first, _, optima = two_methods(0.0)
    third = first * rng(31).uniform(0.5, 1.5, first.shape)
    sentence = verdict(compare(("a", first), ("b", third), optima, generator=rng()))
    assert sentence.startswith("No difference between a and b is shown")
    assert "holds zero" in sentence
    assert "equal" not in sentence


def test_a_difference_that_holm_takes_back_is_said_so():
    found = compare(
        ("a", np.r_[rng(1).normal(0.32, 1, 50)]), ("b", np.zeros(50)), np.ones(50), generator=rng()
    )
    assert 0.01 < found.p_value < 0.05
    sentence = verdict(with_holm([found] * 8)[0])
    assert "leaves zero out, but not once 8 comparisons are allowed for" in sentence


def test_what_cannot_be_compared():
    one = np.array([1.0, np.nan])
    assert "1 of their rows" in verdict(compare(("a", one), ("b", one), np.ones(2), generator=rng()))
    zeros = compare(("a", np.ones(3)), ("b", np.ones(3)), np.zeros(3), generator=rng())
    assert "optima add up to zero" in verdict(zeros)


def test_a_million_rows_in_bounded_memory_without_torch():
    program = """
import resource, sys
import numpy as np
from imle_opt.evaluation.statistics import compare, ratio_interval
rng = np.random.default_rng(0)
first, optima = rng.exponential(1.0, 1_000_000), rng.uniform(1, 2, 1_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
compare(("a", first), ("b", first[::-1]), optima, generator=rng)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    extra, torch = done.stdout.split()
    assert int(extra) < 300_000  # KiB
    assert torch == "False"


def test_all_names_are_there():
    assert all(hasattr(statistics, name) for name in statistics.__all__)
