"""Two tables to a verdict: what several predictors' decisions cost, how sure that is, and its report.

No module here loads torch. `result` holds what was measured; the others compute from it.
"""
