"""Run folders are new, never written over in silence, and the newest is `runs/latest`."""

from pathlib import Path

import pytest

from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.errors import SettingsError
from dinotune.files import check_folder, remove_unfinished
from dinotune.training.run_folder import create_run_folder, with_absolute_paths

EXPERIMENT = config.Experiment(name="mine")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_default_folders_never_clash_and_latest_follows() -> None:
    folders = [create_run_folder(EXPERIMENT, None) for _ in range(3)]
    assert len(set(folders)) == 3, "three within a second"
    for folder in folders:
        assert folder.parent == Path("runs")
        assert folder.name.startswith("mine-20")
        assert load_experiment(folder / "experiment.yaml", environ={}).experiment == EXPERIMENT
    assert Path("runs/latest").is_symlink()
    assert Path("runs/latest").resolve() == folders[-1].resolve()
    assert {path.name for path in Path("runs").iterdir()} == {*(folder.name for folder in folders), "latest"}


def test_a_folder_named_latest_is_left_alone() -> None:
    Path("runs/latest").mkdir(parents=True)
    Path("runs/latest/mine").touch()
    create_run_folder(EXPERIMENT, None)
    assert Path("runs/latest/mine").is_file()


def test_named_folders_do_not_move_latest() -> None:
    first = create_run_folder(EXPERIMENT, None)
    assert create_run_folder(EXPERIMENT, Path("out/deep")) == Path("out/deep")
    Path("empty").mkdir()
    create_run_folder(EXPERIMENT, Path("empty"))
    assert Path("runs/latest").resolve() == first.resolve()


def test_a_used_folder_is_refused_and_overwritten_on_request() -> None:
    used = create_run_folder(EXPERIMENT, Path("used"))
    (used / "train.log").touch()
    (used / "metrics.jsonl").write_text("work of days\n")
    with pytest.raises(
        SettingsError, match=r"used is not empty; go on with --resume used, replace it with --overwrite"
    ):
        create_run_folder(EXPERIMENT, used)
    assert (used / "metrics.jsonl").read_text() == "work of days\n"
    create_run_folder(EXPERIMENT, used, overwrite=True)
    assert {path.name for path in used.iterdir()} == {"experiment.yaml"}


def test_overwrite_removes_nothing_but_runs() -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").touch()
    with pytest.raises(SettingsError, match=r"thesis is no run folder .*--overwrite leaves it alone"):
        create_run_folder(EXPERIMENT, Path("thesis"), overwrite=True)
    assert Path("thesis/chapter.tex").is_file()
    Path("thesis/experiment.yaml").touch()
    with pytest.raises(SettingsError, match=r"thesis is no run folder \(no train.log\)"):
        create_run_folder(EXPERIMENT, Path("thesis"), overwrite=True)


def test_overwrite_removes_neither_data_nor_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run_folder(EXPERIMENT, Path("run"))
    (run / "train.log").touch()
    (run / "pictures").mkdir()
    holds_data = EXPERIMENT.model_copy(update={"data": config.Data(root=run / "pictures")})
    with pytest.raises(SettingsError, match=r"pictures lies in run, so --overwrite leaves it alone"):
        create_run_folder(holds_data, run, overwrite=True)
    place = run.absolute()
    monkeypatch.chdir(run / "pictures")
    with pytest.raises(SettingsError, match="leaves it alone"):
        create_run_folder(EXPERIMENT, place, overwrite=True)
    assert (place / "train.log").is_file()


def test_paths_of_a_run_are_absolute(tmp_path: Path) -> None:
    Path("weights").mkdir()
    relative = config.Experiment(
        backbone=config.Backbone(id="weights"),
        data=config.Data(root=Path("pictures"), val=config.Split(annotations=Path("val.json"))),
    )
    found = with_absolute_paths(relative)
    assert found.data.root == tmp_path / "pictures"
    assert found.data.val == config.Split(annotations=tmp_path / "val.json")
    assert found.backbone.id == str(tmp_path / "weights")
    assert with_absolute_paths(EXPERIMENT).backbone.id == EXPERIMENT.backbone.id


def test_overwriting_latest_overwrites_the_run_behind_it() -> None:
    run = create_run_folder(EXPERIMENT, None)
    (run / "train.log").touch()
    create_run_folder(EXPERIMENT, Path("runs/latest"), overwrite=True)
    assert {path.name for path in run.iterdir()} == {"experiment.yaml"}
    assert Path("runs/latest").resolve() == run.resolve()


@pytest.mark.parametrize(("out", "overwrite"), [("file", False), ("file", True), ("file/below", False), (None, False)])
def test_a_file_in_the_way_is_named(out: str | None, overwrite: bool) -> None:
    Path("file").write_text("mine")
    Path("runs").write_text("mine")
    with pytest.raises(
        SettingsError, match=r"out: (file|runs)\S* (is a file|cannot be made .*); name (a|another) folder"
    ):
        create_run_folder(EXPERIMENT, Path(out) if out else None, overwrite=overwrite)
    assert Path("file").read_text() == "mine"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.ckpt.123.tmp").touch()
    (tmp_path / "last.ckpt").touch()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_results_cannot_lie_in_a_file(out: str) -> None:
    Path("file").touch()
    with pytest.raises(SettingsError, match="file is a file; name a folder"):
        check_folder(Path(out))
