"""What the latents themselves are like: how many of their channels count, and how much each repeats the one before."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..covariance import effective_dimension

FOLDS = 5
"""Parts of the collection; each is predicted from what the others teach."""


def latent_figures(latents: list[Tensor]) -> dict[str, float]:
    """Figures of pieces' latents, `[C, D, L]` each: `latent_dim`, `effective_dimension` and `predictability`."""
    together = torch.cat([channel for piece in latents for channel in piece], dim=1)
    return {
        "latent_dim": len(together),
        "effective_dimension": float(effective_dimension(together[None])),
        "predictability": predictability(latents),
    }


def predictability(latents: list[Tensor]) -> float:
    """Part of the latents' variance that a linear map of the latent before predicts, in pieces that it was not fitted
    to: 1 for those that never move, 0 or less where the one before says nothing. NaN for fewer than two pieces.
    """
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    if len(latents) < 2:
        return math.nan
    channels = [(number, channel.T.numpy()) for number, piece in enumerate(latents) for channel in piece]
    before = np.concatenate([values[:-1] for _, values in channels])
    after = np.concatenate([values[1:] for _, values in channels])
    groups = np.concatenate([np.full(len(values) - 1, number) for number, values in channels])
    folds = GroupKFold(min(FOLDS, len(latents)))
    found = cross_val_predict(LinearRegression(), before, after, groups=groups, cv=folds)
    return float(r2_score(after, found, multioutput="variance_weighted"))
