"""The one error a user sees: what is wrong, where, and the value that would work."""


class DinotuneError(Exception):
    """A mistake in settings, data, weights or surroundings that the user can mend.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code: int = 1


class SettingsError(DinotuneError):
    """One or more settings are wrong; the message lists all of them."""

    exit_code = 2


class DataError(DinotuneError):
    """A data set, an annotation file or a picture cannot be used as it is."""


class WeightsError(DinotuneError):
    """Backbone weights cannot be found, reached or loaded completely."""
