"""How much a frozen backbone's features say: every picture goes through it once, then three classifiers compete."""

from dinotune.probing.run import Probed, probe

__all__ = ["Probed", "probe"]
