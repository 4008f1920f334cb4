"""CP-SAT models: what is linear by nature, what stays native, and how float costs become integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ortools.sat.python import cp_model

from imle_opt_solvers.adapters import cp_sat
from imle_opt_solvers.adapters._cp_sat_engine import integer_costs
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.errors import ModelError, UnsupportedModelError
from imle_opt_solvers.solution import Sense, Status


def every_linear_constraint():
    """Everything that `read` takes, negated literals included."""
    model = cp_model.CpModel()
    a, b, c, d = (model.new_bool_var(name) for name in "abcd")
    n = model.new_int_var(-3, 5, "n")
    model.add(2 * a + 3 * b.negated() + n <= 4).with_name("plain")
    model.add_linear_constraint(n - 2 * c, -2, 3)
    model.add_at_most_one(a, c.negated(), d)
    model.add_exactly_one(b, c, d.negated())
    model.add_bool_or(a, b.negated(), d)
    model.add_implication(a, c.negated())
    model.add_bool_or(b, d).only_enforce_if(c, a.negated())
    model.add_bool_and(d.negated(), b).only_enforce_if(a)
    model.add_bool_and(True)
    model.maximize(3 * a - 2 * b.negated() + n - 4)
    return model, [a, b, c, d, n]


def satisfies(a, b, c, d, n):
    return (
        2 * a + 3 * (1 - b) + n <= 4
        and -2 <= n - 2 * c <= 3
        and a + (1 - c) + d <= 1
        and b + c + (1 - d) == 1
        and (a or not b or d)
        and (not a or not c)
        and (not (c and not a) or b or d)
        and (not a or (not d and b))
    )


def test_boolean_constraints_that_are_linear_by_nature_are_read():
    model, variables = every_linear_constraint()
    points = [z for z in itertools.product(*[(0, 1)] * 4, range(-3, 6)) if satisfies(*z)]
    assert len(points) > 3
    costs = np.random.default_rng(0).normal(size=(25, 5))
    constant = -6.0  # -4, and -2 from the negated literal
    expected = (costs @ np.array(points).T).max(axis=1) + constant
    for solver in (cp_sat.CpSatSolver(model, variables), HighsSolver(cp_sat.read(model, variables))):
        np.testing.assert_allclose(solver.solve(costs).objectives, expected, atol=1e-9)


def test_an_affine_objective_with_negated_literals_is_read_in_the_user_s_sense():
    model, _ = every_linear_constraint()
    found = cp_sat.read(model)
    assert found.sense is Sense.MAX
    assert found.predicted_names == ("a", "b", "n")
    # 3 a - 2 (1 - b) + n - 4 = 3 a + 2 b + n - 6
    solver = HighsSolver(found)
    optimum = solver.solve([3.0, 2.0, 1.0]).objectives
    checker = cp_model.CpSolver()
    checker.parameters.num_workers = 1
    checker.solve(model)
    assert optimum == checker.objective_value


@pytest.mark.parametrize("maximize", [True, False])
def test_fixed_float_costs_and_offset_of_a_cp_sat_objective_count(maximize):
    model = cp_model.CpModel()
    x = [model.new_int_var(0, 3, f"x{i}") for i in range(3)]
    model.add(x[0] + 2 * x[1] + x[2] <= 5)
    model.add(x[0] + x[1] + x[2] >= 2)
    objective = 0.1 * x[0] - 0.37 * x[1] + x[2] * (1 / 3) + 1.25
    model.maximize(objective) if maximize else model.minimize(objective)
    points = [z for z in itertools.product(range(4), repeat=3) if z[0] + 2 * z[1] + z[2] <= 5 and sum(z) >= 2]
    best = max if maximize else min
    for cost in (-0.9, 0.05, 0.4):
        expected = best(0.1 * z[0] + cost * z[1] + z[2] / 3 + 1.25 for z in points)
        for solver in (cp_sat.CpSatSolver(model, [x[1]]), HighsSolver(cp_sat.read(model, [x[1]]))):
            assert solver.solve([cost]).objectives == pytest.approx(expected, abs=1e-12)


def constructs():
    """Yield what `read` must refuse: what the message names, and how to add it to a model."""

    def with_variables(add):
        def build():
            model = cp_model.CpModel()
            x = [model.new_int_var(0, 4, f"x{i}") for i in range(3)]
            model.maximize(sum(x))
            add(model, x)
            return model

        return build

    yield "all_diff", with_variables(lambda m, x: m.add_all_different(x))
    yield (
        "'prod' is of the kind int_prod",
        with_variables(lambda m, x: m.add_multiplication_equality(x[0], x[1], x[2]).with_name("prod")),
    )
    yield "element", with_variables(lambda m, x: m.add_element(x[0], x, x[1]))
    yield "table", with_variables(lambda m, x: m.add_allowed_assignments(x, [(0, 1, 2), (2, 1, 0)]))
    yield "lin_max", with_variables(lambda m, x: m.add_max_equality(x[0], x[1:]))
    yield "gaps in its domain", with_variables(lambda m, x: m.add(x[0] + x[1] != 3))
    yield (
        "number 0 is of the kind linear, enforced",
        with_variables(lambda m, x: m.add(x[0] <= 1).only_enforce_if(m.new_bool_var("on"))),
    )
    yield "bool_xor", with_variables(lambda m, x: m.add_bool_xor(m.new_bool_var("p"), m.new_bool_var("q")))
    yield "interval", with_variables(lambda m, x: m.new_interval_var(x[0], 2, x[0] + 2, "task"))
    yield (
        "domain of the variable 'y' is not an interval",
        with_variables(lambda m, x: m.new_int_var_from_domain(cp_model.Domain.from_values([1, 3]), "y")),
    )
    yield "assumptions", with_variables(lambda m, x: m.add_assumption(m.new_bool_var("p")))
    yield "beyond the integers", with_variables(lambda m, x: m.new_int_var(0, 2**53 + 1, "huge"))


@pytest.mark.parametrize(("message", "build"), list(constructs()))
def test_what_is_not_linear_in_cp_sat_is_refused_by_name_and_solved_natively(message, build):
    with pytest.raises(UnsupportedModelError, match=message):
        cp_sat.read(build(), ["x0", "x1"])
    assert cp_sat.CpSatSolver(build(), ["x0", "x1"]).solve([1.0, -1.0]).statuses == (Status.OPTIMAL,)


def test_tours_need_cp_sat():
    places = 5
    model = cp_model.CpModel()
    arcs = {(i, j): model.new_bool_var(f"{i}->{j}") for i, j in itertools.permutations(range(places), 2)}
    model.add_circuit([(i, j, arc) for (i, j), arc in arcs.items()])
    solver = cp_sat.CpSatSolver(model, arcs)
    costs = np.random.default_rng(1).uniform(size=(3, len(arcs)))
    position = {arc: index for index, arc in enumerate(arcs)}
    tours = [(0, *rest, 0) for rest in itertools.permutations(range(1, places))]
    expected = [
        min(sum(row[position[arc]] for arc in itertools.pairwise(tour)) for tour in tours) for row in costs
    ]
    np.testing.assert_allclose(solver.solve(costs).objectives, expected, rtol=1e-12)


def test_negated_literals_are_not_variables():
    model, variables = every_linear_constraint()
    for convert in (cp_sat.read, cp_sat.CpSatSolver):
        with pytest.raises(ModelError, match="not a variable"):
            convert(model, [variables[0].negated()])


def test_negated_variables_in_a_float_objective_are_refused():
    model = cp_model.CpModel()
    model.maximize(0.5 * model.new_int_var(0, 3, "x"))
    model.proto.floating_point_objective.vars[0] = -1
    for convert in (cp_sat.read, cp_sat.CpSatSolver):
        with pytest.raises(UnsupportedModelError, match="negated variable in its objective"):
            convert(model)


def test_impossible_boolean_constraints_are_infeasible_everywhere():
    model = cp_model.CpModel()
    x = model.new_bool_var("x")
    model.maximize(x)
    model.add(False)
    for solver in (cp_sat.CpSatSolver(model), HighsSolver(cp_sat.read(model))):
        assert solver.with_on_failure("nan").solve([1.0]).statuses == (Status.INFEASIBLE,)


def test_models_that_cp_sat_calls_invalid_are_refused():
    model = cp_model.CpModel()
    x = model.new_int_var(5, 2, "x")
    model.maximize(x)
    for convert in (cp_sat.read, cp_sat.CpSatSolver):
        with pytest.raises(ModelError, match="invalid"):
            convert(model)


def test_bounds_on_the_objective_are_refused():
    model = cp_model.CpModel()
    model.maximize(model.new_bool_var("x"))
    model.proto.objective.domain.extend([-1, 0])
    for convert in (cp_sat.read, cp_sat.CpSatSolver):
        with pytest.raises(UnsupportedModelError, match="bounds on its objective"):
            convert(model)


def test_integer_costs_fit_and_round_as_documented():
    rng = np.random.default_rng(0)
    for scale in (1e-300, 1e-9, 1.0, 1e9, 1e300):
        costs = rng.normal(size=50) * scale
        lower, upper = -rng.integers(0, 9, 50).astype(float), 10.0 ** rng.integers(0, 12, 50)
        integers, exponent = integer_costs(costs, lower, upper)
        reach = np.maximum(np.maximum(-lower, upper), 1)
        assert 2**58 < sum(abs(k) * int(r) for k, r in zip(integers, reach, strict=True)) <= 2**61
        back = np.ldexp(np.array(integers, dtype=float), -exponent)
        assert np.abs(back - costs).max() <= np.ldexp(0.5, -exponent)
    assert integer_costs(np.zeros(3), np.zeros(3), np.ones(3)) == ([0, 0, 0], 0)


def wide_model():
    model = cp_model.CpModel()
    x, y = model.new_int_var(0, 2**40, "x"), model.new_int_var(0, 2**40, "y")
    model.add(x + y <= 2**40)
    model.maximize(x + y)
    return model


def test_the_gap_bounds_what_rounding_the_costs_can_lose():
    costs = np.array([[1.0, 1 + 2.0**-50], [1 + 2.0**-50, 1.0]])
    solution = cp_sat.CpSatSolver(wide_model()).solve(costs)
    assert solution.statuses == (Status.OPTIMAL,) * 2
    lost = (2.0**40 * (1 + 2.0**-50)) - solution.objectives
    assert (lost <= solution.gaps * solution.objectives).all()
    assert (solution.gaps > 0).all()
    assert (solution.gaps < 1e-12).all()
    assert (cp_sat.CpSatSolver(wide_model()).solve([[1.0, 3.0]]).gaps == 0).all()


def test_where_rounding_loses_too_much_the_row_is_not_called_optimal():
    model = cp_model.CpModel()
    x, y = model.new_int_var(0, 2**60, "x"), model.new_int_var(0, 1, "y")
    model.add(x + y <= 3)
    model.maximize(x + y)
    solution = cp_sat.CpSatSolver(model, on_failure="incumbent").solve([1e-3, 1.0])
    assert solution.statuses == (Status.FEASIBLE,)
    assert solution.gaps > 1e-7


def test_hints_and_wrong_costs_of_the_user_do_not_matter():
    model = cp_model.CpModel()
    x = [model.new_bool_var(f"x{i}") for i in range(3)]
    model.add_exactly_one(x)
    model.add_hint(x[0], 1)
    model.maximize(100 * x[0])
    assert cp_sat.CpSatSolver(model, x).solve([1.0, 3.0, 2.0]).decisions.tolist() == [0.0, 1.0, 0.0]
