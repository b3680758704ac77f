"""A hub that is out of reach or refuses gives one page of help, soon, and no traceback."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from dinotune.backbones import hub
from dinotune.errors import WeightsError

GATED = "facebook/dinov3-vits16-pretrain-lvd1689m"
SCRIPT = """
import sys, time
from dinotune.backbones.sources import locate
from dinotune.errors import WeightsError
start = time.monotonic()
try:
    locate(sys.argv[1])
except WeightsError as error:
    print(error)
print(f"seconds {time.monotonic() - start:.1f}")
"""


@pytest.mark.parametrize("surroundings", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_out_of_reach_ends_in_one_page_of_help(surroundings: dict[str, str], tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path), **surroundings}
    for name in ("DINOTUNE_WEIGHTS", "HF_HUB_CACHE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, GATED], env=environment, capture_output=True, text=True, check=True
    )
    text = done.stdout
    assert f"cannot get {GATED}: " in text
    assert "accept the licence at https://huggingface.co/" + GATED in text
    assert f"DINOTUNE_WEIGHTS=FOLDER that holds {GATED} or facebook--dinov3-vits16-pretrain-lvd1689m" in text
    assert "facebook/dinov2-with-registers-small or timm/vit_small_patch16_dinov3.lvd1689m (timm's ungated copy" in text
    assert float(text.split("seconds ")[1]) < 10
    assert done.stderr == ""


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: time.sleep(3))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"the hub gave no answer within 0\.2 s"):
        hub.fetch_snapshot(GATED)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("GatedRepoError", "its licence has not been accepted with your token"),
        ("RepositoryNotFoundError", "the hub does not know it, or it is private or gated"),
    ],
)
def test_refusals_are_told_apart(error: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.errors

    kind = getattr(huggingface_hub.errors, error)

    def refuse(*_: object, **__: object) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    with pytest.raises(WeightsError, match=reason):
        hub.fetch_snapshot(GATED)


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (404, {"X-Error-Code": "EntryNotFound"}, r"the hub knows it, but it holds no config\.json"),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            "the hub does not accept your token; log in",
        ),
        (
            403,
            {"X-Error-Message": "Forbidden for a reason"},
            r"the hub refuses \(403 Forbidden: Forbidden for a reason",
        ),
        (503, {}, r"the hub refuses \(.*503"),
    ],
)
def test_answers_of_the_hub_are_not_taken_for_no_network(
    status: int, headers: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(url: str, **_: object) -> None:
        request = httpx2.Request("HEAD", url)
        hf_raise_for_status(httpx2.Response(status, headers=headers, request=request))

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", answer)
    with pytest.raises(WeightsError, match=f"cannot get {GATED}: {reason}"):
        hub.fetch_snapshot(GATED)


@pytest.mark.parametrize("error", [httpx2.ReadError("the line went dead"), OSError("the disk is full")])
def test_a_download_that_dies_ends_in_help(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", die)
    with pytest.raises(WeightsError, match=f"cannot get {GATED}: {error}"):
        hub.fetch_snapshot(GATED)


def test_a_willing_hub_is_asked_for_config_and_weights_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def download(id_: str, **options: object) -> str:
        asked.update(id=id_, **options)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert hub.fetch_snapshot("facebook/dinov2-small") == tmp_path
    assert asked["id"] == "facebook/dinov2-small"
    assert asked["allow_patterns"] == [
        "config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip


def test_an_ungated_model_is_offered_no_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "refusal", lambda *_: "no network")
    with pytest.raises(WeightsError, match=r"1\. connect to the hub"):
        hub.fetch_snapshot("facebook/dinov2-small")
