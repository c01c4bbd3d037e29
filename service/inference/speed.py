"""How long a network takes for an image: as it goes, and when nobody else has the CPU."""

from __future__ import annotations

import math

SMOOTHING = 0.2  # weight of the newest run in the running mean
SLOWING = 0.02  # the same for the undisturbed time, where the newest run was slower


class Speed:
    """`seconds_per_image` is the mean of late, to promise by; `undisturbed_s` what it would be without neighbours."""

    def __init__(self, seconds_per_image: float) -> None:
        self.seconds_per_image = self.undisturbed_s = seconds_per_image

    def learn(self, measured: float) -> None:
        """A run took so many seconds for each of its images."""
        known = self.seconds_per_image
        self.seconds_per_image = known + SMOOTHING * (measured - known) if math.isfinite(known) else measured
        # Neighbours that take the CPU away make a run no longer than a thread would be; and on one core a thread costs
        # each request that arrives meanwhile half as much again, one by one and with cold caches (docs/log.md).
        if measured < self.undisturbed_s:
            self.undisturbed_s = measured
        else:
            self.undisturbed_s += SLOWING * (measured - self.undisturbed_s)
