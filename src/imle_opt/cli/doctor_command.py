"""`imle-opt doctor`: what is installed, which solvers answer, how fast."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from imle_opt.cli.doctor_checks import CHECKS, Finding, find
from imle_opt.cli.doctor_pools import POOL_CHECKS, PoolFinding, find_pool
from imle_opt.cli.outcome import ExitCode, say
from imle_opt.cli.show import show_table

__all__ = ["run_doctor"]

_PACKAGES = (
    "imle-opt",
    "numpy",
    "scipy",
    "torch",
    "highspy",
    "numba",
    "ortools",
    "pulp",
    "networkx",
    "cvxpy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "ray",
)


def run_doctor(*, as_json: bool) -> ExitCode:
    """Print versions and findings; the exit code is 1 if a required solver does not answer."""
    versions = _versions()
    findings = [find(check) for check in CHECKS]
    pools = [find_pool(check) for check in POOL_CHECKS]
    missing = [finding.name for finding in findings if finding.required and not finding.answers]
    if as_json:
        print(json.dumps(_as_json(versions, findings, pools, not missing), indent=2, allow_nan=False))
    else:
        show_table(("", "version"), [[name, found or "not installed"] for name, found in versions.items()])
        print()
        show_table(("solver", "answers", "one solve", ""), [_row(finding) for finding in findings])
        print()
        header = ("pool of 2 workers", "by", "answers", "start", "one call", "solved inline", "")
        show_table(header, [_pool_row(finding) for finding in pools])
    if missing:
        say("missed", f"these solvers are required and do not answer: {', '.join(missing)}. Reinstall them.")
        return ExitCode.MISSED
    return ExitCode.OK


def _versions() -> dict[str, str | None]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {
        "Python": f"{platform.python_version()} on {platform.system()} {machine}",
        **{package: _version(package) for package in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _row(finding: Finding) -> list[str]:
    answer = "yes" if finding.answers else ("NO" if finding.required else "no (optional)")
    return [finding.name, answer, _duration(finding.seconds), finding.problem]


def _pool_row(finding: PoolFinding) -> list[str]:
    answer = "yes" if finding.answers else "NO"
    inline = "-" if finding.inline_below is None else f"below {finding.inline_below} rows"
    times = [_duration(finding.start_seconds), _duration(finding.call_seconds)]
    return [finding.name, finding.backend, answer, *times, inline, finding.problem]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1e6 * seconds:.0f} us" if seconds < 1e-3 else f"{1e3 * seconds:.1f} ms"


def _as_json(
    versions: dict[str, str | None], findings: list[Finding], pools: list[PoolFinding], healthy: bool
) -> dict[str, object]:
    solvers = [
        {
            "name": finding.name,
            "required": finding.required,
            "answers": finding.answers,
            "seconds": finding.seconds,
            "problem": finding.problem or None,
        }
        for finding in findings
    ]
    pooled = [{**asdict(finding), "problem": finding.problem or None} for finding in pools]
    return {"healthy": healthy, "versions": versions, "solvers": solvers, "pools": pooled}
