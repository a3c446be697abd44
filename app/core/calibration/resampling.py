"""Drawing whole queries (or documents) with replacement: the one draw behind every interval."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.core.calibration.fit_ridge import GroupArray


def resampled_groups(groups: int, count: int, seed: int) -> Iterator[GroupArray]:
    """Yield how often every group is drawn, int64 of shape (groups,), ``count`` times.

    Args:
        groups: Number of groups, at least 1; each resample draws as many.
        count: Number of resamples.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    even = np.full(groups, 1.0 / groups)
    for _ in range(count):
        yield rng.multinomial(groups, even)
