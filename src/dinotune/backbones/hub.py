"""The Hugging Face hub with short time-outs, and one page of help where it refuses or is out of reach.

Loads no torch.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from dinotune.backbones.snapshots import SNAPSHOT_FILES, weight_files
from dinotune.backbones.variants import find_variant
from dinotune.errors import WeightsError

TIMEOUT = 4.0
"""Seconds for each answer of the hub."""
PATIENCE = 8.0
"""Seconds in all until the hub counts as out of reach (a resolver without network ignores time-outs)."""

UNGATED = "facebook/dinov2-with-registers-small"
"""Weights that anyone can have."""


def is_hub_id(id_: str) -> bool:
    """Whether a text can be the id of a repository on the hub (`owner/name`)."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(id_)
    except HFValidationError:
        return False
    return id_.count("/") == 1


def cached_snapshot(id_: str) -> Path | None:
    """Folder of a complete snapshot (every shard is there) in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(id_, "config.json") if is_hub_id(id_) else None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        weight_files(folder)
    except WeightsError:  # an interrupted download; the hub completes it
        return None
    return folder


def fetch_snapshot(id_: str) -> Path:
    """Download config and weights of a hub id; asks once, without retries, whether the hub would give them.

    Raises:
        WeightsError: within 10 seconds, with three ways out, where the hub is out of reach, gated,
            or does not know the id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # also of a download that dies

    page = explain_refusal(id_, PATIENCE)
    if page:
        raise WeightsError(page)
    try:
        return Path(snapshot_download(id_, allow_patterns=list(SNAPSHOT_FILES), etag_timeout=TIMEOUT))
    except (HTTPError, OSError) as error:
        raise WeightsError(_help(id_, _first_line(error))) from None


def explain_refusal(id_: str, patience: float) -> str | None:
    """One page of help where the hub would not give this id within `patience` seconds, or none; downloads nothing."""
    reason = refusal(id_, patience)
    return _help(id_, reason) if reason else None


def refusal(id_: str, patience: float) -> str | None:
    """Why the hub would not give this id, or none; an answer within `patience` seconds."""
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    url = hf_hub_url(id_, "config.json")
    error = _within(patience, lambda: get_hf_file_metadata(url, token=get_token(), timeout=TIMEOUT))
    match error:
        case None:
            return None
        case OfflineModeIsEnabled():
            reason = "HF_HUB_OFFLINE is set"
        case GatedRepoError():
            reason = "its licence has not been accepted with your token"
        case RepositoryNotFoundError():
            reason = "the hub does not know it, or it is private or gated and you are not logged in"
        case EntryNotFoundError():
            reason = "the hub knows it, but it holds no config.json, so it is no snapshot of a DINO backbone"
        case HfHubHTTPError(response=response) if response.status_code == 401:
            reason = "the hub does not accept your token; log in anew, or remove HF_TOKEN from the environment"
        case HfHubHTTPError():
            reason = f"the hub refuses ({_first_line(error)})"
        case TimeoutError():
            reason = f"the hub gave no answer within {patience:g} s"
        case _:
            reason = f"the hub is out of reach ({_first_line(error)})"
    return reason


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
    ways = [
        f"{licence} (`hf auth login`, or HF_TOKEN in the environment)",
        "use weights on this machine: backbone=PATH (new: --backbone PATH) of a snapshot folder or Meta's .pth, or\n"
        f"     DINOTUNE_WEIGHTS=FOLDER that holds {id_} or {id_.replace('/', '--')}",
    ]
    if variant is None or variant.gated:
        ways.append(f"take an ungated model: backbone=ID (new: --backbone ID), e.g. {UNGATED}{copy}")
    numbered = ";\n".join(f"  {number}. {way}" for number, way in enumerate(ways, start=1))
    return f"backbone.id: cannot get {id_}: {reason}.\nWays out:\n{numbered}."
