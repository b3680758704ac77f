"""`dinotune sweep`: every combination of some settings, trained with the same budget, in one table and a plot."""

from dinotune.sweeping.run import Sweep, sweep

__all__ = ["Sweep", "sweep"]
