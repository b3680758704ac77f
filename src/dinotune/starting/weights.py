"""Whether the weights that an experiment starts with can be found; loads no torch."""

from dinotune.backbones.sources import locate
from dinotune.backbones.variants import TINY_IDS
from dinotune.config.experiment import Experiment
from dinotune.errors import DinotuneError, SettingsError
from dinotune.files import find_checkpoint


def find_weights(experiment: Experiment) -> None:
    """Refusals of the hub and mistyped paths are said before anything slow happens.

    Raises:
        SettingsError: `training.initialize_from` is neither a file nor a run folder.
        WeightsError: the backbone's weights cannot be found or reached.
    """
    source = experiment.training.initialize_from
    if source is not None and not source.is_file():
        try:
            find_checkpoint(source)
        except DinotuneError as error:
            raise SettingsError(f"training.initialize_from: {error}") from error
    if experiment.backbone.id not in TINY_IDS:
        locate(experiment.backbone.id)
