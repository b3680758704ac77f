"""The Hugging Face hub with short time-outs, and one page of help where it refuses or is out of reach.

Loads no torch.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from dinotune.backbones.snapshots import INDEX_FILE, SNAPSHOT_FILES, WEIGHTS_FILE
from dinotune.backbones.variants import find_variant
from dinotune.errors import WeightsError

TIMEOUT = 4.0
"""Seconds for each answer of the hub."""
PATIENCE = 8.0
"""Seconds in all until the hub counts as out of reach (a resolver without network ignores time-outs)."""


def cached_snapshot(id_: str) -> Path | None:
    """Folder of a complete snapshot in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(id_, "config.json")
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    complete = (folder / WEIGHTS_FILE).exists() or (folder / INDEX_FILE).exists()
    return folder if complete else None


def fetch_snapshot(id_: str) -> Path:
    """Download config and weights of a hub id; asks once, without retries, whether the hub would give them.

    Raises:
        WeightsError: within 10 seconds, with three ways out, where the hub is out of reach, gated,
            or does not know the id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    refusal = _refusal(id_)
    if refusal:
        raise WeightsError(_help(id_, refusal))
    try:
        return Path(snapshot_download(id_, allow_patterns=list(SNAPSHOT_FILES), etag_timeout=TIMEOUT))
    except (HfHubHTTPError, OSError) as error:
        raise WeightsError(_help(id_, _first_line(error))) from None


def _refusal(id_: str) -> str | None:
    """Why the hub would not give this id, or none."""
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    url = hf_hub_url(id_, "config.json")
    error = _within(PATIENCE, lambda: get_hf_file_metadata(url, token=get_token(), timeout=TIMEOUT))
    match error:
        case None:
            return None
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set"
        case GatedRepoError():
            return "its licence has not been accepted with your token"
        case RepositoryNotFoundError():
            return "the hub does not know it, or it is private or gated and you are not logged in"
        case TimeoutError():
            return f"the hub gave no answer within {PATIENCE:g} s"
        case _:
            return f"the hub is out of reach ({_first_line(error)})"


def _within(seconds: float, action: Callable[[], object]) -> Exception | None:
    """What the action raised, TimeoutError where it is still running, or none."""
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            action()
            outcome.append(None)
        except Exception as error:  # every refusal becomes one page of help
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else TimeoutError()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _help(id_: str, reason: str) -> str:
    variant = find_variant(id_)
    gated = variant is not None and variant.gated and id_ == variant.id
    copy = f" or {variant.timm_id} (timm's ungated copy, {variant.licence})" if variant and gated else ""
    licence = f"accept the licence at https://huggingface.co/{id_} and log in" if gated else "connect to the hub"
    return (
        f"backbone.id: cannot get {id_}: {reason}.\n"
        "Three ways out:\n"
        f"  1. {licence} (`hf auth login`, or HF_TOKEN in the environment);\n"
        "  2. use weights on this machine: backbone.id=PATH of a snapshot folder or of Meta's .pth file, or\n"
        f"     DINOTUNE_WEIGHTS=FOLDER that holds {id_} or {id_.replace('/', '--')};\n"
        f"  3. take an ungated model: backbone.id=facebook/dinov2-with-registers-small{copy}."
    )
