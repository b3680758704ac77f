"""Parts by import path beside the kinds of the package: chosen, merged, refused and written like them."""

from pathlib import Path

import pytest

from dinotune import config
from dinotune.config.fields import choices, walk
from dinotune.config.loading import dump_experiment, load_experiment
from dinotune.config.own import OWN_KIND
from dinotune.errors import SettingsError


def load(source: config.Experiment | Path, *overrides: str) -> config.Experiment:
    return load_experiment(source, (), overrides, {}).experiment


def problem(*overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config.Experiment(), *overrides)
    return str(caught.value)


WINDOW = load(config.Experiment(), "head=my_lab.heads:WindowHead", "head.options={window: 5, name: wide}")


def test_kind_and_options_are_kept_and_come_back_from_the_page(tmp_path: Path) -> None:
    assert WINDOW.head == config.OwnHead(kind="my_lab.heads:WindowHead", options={"window": 5, "name": "wide"})
    page = tmp_path / "experiment.yaml"
    page.write_text(dump_experiment(WINDOW), encoding="utf-8")
    assert load(page) == WINDOW
    assert config.Experiment.model_validate(WINDOW.model_dump(mode="json")) == WINDOW


@pytest.mark.parametrize(
    ("override", "options"),
    [
        ("head.options.window=7", {"window": 7, "name": "wide"}),
        ("head.options={sides: [1, 2e3]}", {"window": 5, "name": "wide", "sides": [1, 2000.0]}),
        ("head.options.rate=1e-4", {"window": 5, "name": "wide", "rate": 1e-4}),
        ("head=my_lab.heads:WindowHead", {"window": 5, "name": "wide"}),
        ("head=my_lab.heads:OtherHead", {}),
    ],
)
def test_options_are_merged_and_another_class_drops_them(override: str, options: dict[str, object]) -> None:
    head = load(WINDOW, override).head
    assert isinstance(head, config.OwnHead)
    assert head.options == options


def test_a_kind_of_the_package_drops_what_was_given_to_the_own_one() -> None:
    loaded = load_experiment(WINDOW, (), ["head=detr"], {})
    assert loaded.experiment.head == config.Detr()
    assert loaded.notes == ("head: my_lab.heads:WindowHead -> detr, which drops options, task",)
    back = load_experiment(loaded.experiment, (), ["head=my_lab.heads:WindowHead"], {})
    assert back.notes[0].startswith("head: detr -> my_lab.heads:WindowHead, which drops channels")


SENTENCES = [
    ("head=my-lab:WindowHead", r'head.kind: "my-lab:WindowHead" is wrong; give text of the form ^[\w.]+:\w+$'),
    ("head.options.window=5", 'head.options: unknown key; it belongs to kind "module:Class": set head=module:Class'),
    ("head={kind: 'a:B', optoins: {}}", 'head.optoins: unknown key; did you mean "options"?'),
    ("head={kind: 'a:B', options: 5}", "head.options: 5 is wrong; give mapping of names to plain values"),
    (
        "head={kind: 'a:B', options: {day: 2024-01-01}}",
        "head.options: {day: 2024-01-01} is wrong; give mapping of names to plain values",
    ),
]


@pytest.mark.parametrize(("override", "line"), SENTENCES)
def test_wrong_own_parts_get_their_sentence(override: str, line: str) -> None:
    assert problem(override) == line


def test_a_path_without_a_colon_is_told_how_it_is_written() -> None:
    line = problem("head=my_lab.heads.WindowHead")
    assert line.startswith('head.kind: "my_lab.heads.WindowHead" is wrong; give faster_rcnn, detr')
    assert line.endswith(f"or {OWN_KIND}")


def test_all_wrong_settings_are_said_at_once() -> None:
    lines = problem("head={kind: 'a:B', options: 5}", "training.epochs=0", "adapter=nothing").splitlines()
    assert [line.split(":")[0] for line in lines] == ["adapter.kind", "head.options", "training.epochs"]


@pytest.mark.parametrize("part", ["head", "adapter"])
def test_own_kinds_are_listed(part: str) -> None:
    assert choices(config.Experiment.model_fields[part])[-1] == OWN_KIND
    assert f"{part}.options" in {place.key for place in walk(config.Experiment) if place.kind == OWN_KIND}


def test_own_adapters_have_the_rates_of_all_adapters() -> None:
    adapter = load(config.Experiment(), "adapter=my_lab.adapters:Scale", "adapter.learning_rate_factor=0.5").adapter
    assert adapter == config.OwnAdapter(kind="my_lab.adapters:Scale", learning_rate_factor=0.5)
