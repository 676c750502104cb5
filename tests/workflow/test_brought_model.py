"""A classifier fine-tuned elsewhere enters at attention extraction."""

import shutil

import pandas as pd
import pytest
import yaml
from running import dry_run, edited_config, run_snakemake, whole_config

from keygenes.core.tables import read_table

TARGETS = [
    f"results/demo_thesis/attention/level/theirs/fold1.seed1/{name}.parquet"
    for name in ("by_gene", "norms")
]


@pytest.fixture
def brought(thesis, tmp_path):
    """Return a function that writes the demo's config with its own classifier as a foreign one."""
    folder = thesis / "results/demo_thesis/models/level/full/fold1.seed1"

    def config(**entry):
        entry = {"title": "theirs", "vocabulary": "dataset", "finetuned": str(folder), **entry}
        registry = tmp_path / "models.yaml"
        registry.write_text(yaml.safe_dump({"vocabularies": {}, "models": {"mine": entry}}))
        base = whole_config(thesis / "config/demo_thesis.yaml")
        changes = {
            "registries.models": [*base["registries"]["models"], str(registry)],
            "regimes": [*base["regimes"], {"name": "theirs", "finetuned": "mine"}],
        }
        return edited_config(tmp_path / "edited.yaml", changes, thesis / "config/demo_thesis.yaml")

    yield config
    for kind in ("models", "attention"):
        shutil.rmtree(thesis / f"results/demo_thesis/{kind}/level/theirs", ignore_errors=True)


def test_its_attention_is_that_of_the_model_it_is(thesis, brought):
    config = brought()
    jobs = dry_run(thesis, *TARGETS, "--configfile", config)
    assert [rule for rule, _ in jobs] == ["adopt_model", "extract_attention"]
    run = run_snakemake(thesis, "--cores", 1, *TARGETS, "--configfile", config)
    assert run.returncode == 0, run.text
    for target in TARGETS:
        theirs, own = (read_table(thesis / t) for t in (target, target.replace("theirs", "full")))
        pd.testing.assert_frame_equal(theirs, own)
    predictions = [
        read_table(
            thesis / f"results/demo_thesis/models/level/{name}/fold1.seed1/predictions.parquet"
        )
        for name in ("theirs", "full")
    ]
    pd.testing.assert_frame_equal(*predictions)


def test_a_whole_study_of_nothing_but_a_brought_model(thesis, brought, tmp_path):
    config = yaml.safe_load(brought().read_text())
    config.update(
        regimes=[config["regimes"][-1]],
        tasks=config["tasks"][1:],
        attention={**config["attention"], "pairs": [["theirs", "pretrained"]]},
        evidence={
            **config["evidence"],
            "primary": {**config["evidence"]["primary"], "regime": "theirs"},
            "regime": "theirs",
            "regimes": ["theirs"],
        },
    )
    path = tmp_path / "alone.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    rules = {rule for rule, _ in dry_run(thesis, "--configfile", path)}
    made = {"adopt_model", "extract_attention", "score_genes", "test_primary", "write_report"}
    assert made <= rules
    assert not {"finetune", "fit_probe", "plot_training"} & rules


def test_outputs_without_names_stop_with_a_sentence(thesis, brought):
    run = run_snakemake(
        thesis, "--cores", 1, *TARGETS, "--configfile", brought(classes=["LABEL_0", "LABEL_1"])
    )
    assert run.returncode != 0
    assert ": found 2 outputs" in run.text and "LABEL_0, LABEL_1" in run.text
    assert "Traceback" not in run.text
    assert not (
        thesis / "results/demo_thesis/models/level/theirs/fold1.seed1/model.safetensors"
    ).exists()
