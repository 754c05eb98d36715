"""Is one codec better than another? Paired tests over the same files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .metrics import METRICS

SIGNIFICANT = 0.05
"""Part of false verdicts that is accepted among those that say better or worse."""


def compare(
    one: list[dict[str, float]], two: list[dict[str, float]], metrics: tuple[str, ...] = tuple(METRICS)
) -> dict[str, dict[str, Any]]:
    """What the first codec is beside the second, by metric: better, worse, or cannot tell.

    Wilcoxon's signed-rank test over the files' differences (two-sided; files where one of the two is not defined are
    left out), with the false discovery rate over all metrics held at 5 % (Benjamini and Hochberg 1995). What is better
    has the larger sum of ranks, which a single file cannot turn, as it can the mean.

    Args:
        one, two: figures of the same files, in the same order.

    Returns:
        For each metric the `verdict`, mean `difference` (first minus second; of a metric that is best near 0, of
        absolute values), `p`, and how many files had both (`count`).
    """
    from scipy.stats import false_discovery_control, wilcoxon

    found: dict[str, dict[str, Any]] = {}
    higher: dict[str, bool] = {}
    for name in metrics:
        size = abs if METRICS[name].better == "nearer 0" else float
        pairs = [(size(a[name]), size(b[name])) for a, b in zip(one, two, strict=True)]
        differences = np.array([a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)])
        differs = differences.any()
        p = float(wilcoxon(differences).pvalue) if differs else 1.0
        higher[name] = bool(differs and wilcoxon(differences, alternative="greater").pvalue < 0.5)
        mean = float(differences.mean()) if len(differences) else math.nan
        found[name] = {"difference": mean, "p": p, "count": len(differences)}
    adjusted = false_discovery_control([row["p"] for row in found.values()])
    for (name, row), p in zip(found.items(), adjusted, strict=True):
        ahead = higher[name] == (METRICS[name].better == "higher")
        row["verdict"] = "cannot tell" if p > SIGNIFICANT else "better" if ahead else "worse"
    return found
