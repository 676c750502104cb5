"""A checkout, inputs and a mirror in folders with spaces, brackets and letters of other scripts."""

import hashlib

import pytest
import yaml
from running import copy_checkout, edited_config, run_snakemake

from keygenes.inputs.simulate import simulate

ODD = "a b ü 基因 (1)"
MICRO = ("--configfile", "config/demo_thesis.yaml", "tests/config/micro.yaml")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("odd") / ODD / "main")


def test_inputs_and_a_mirror_with_odd_paths(checkout):
    folder = checkout.parent
    cells, _ = simulate(
        kind="dose_response", n_genes=300, cells_per_dose=12, median_counts=700, seed=1
    )
    lying, mirrored = folder / "cells of 1.h5ad", folder / "mirror ü" / "x (y)" / "基因.h5ad"
    mirrored.parent.mkdir(parents=True)
    for path in (lying, mirrored):
        cells.write_h5ad(path)
    sha256 = hashlib.sha256(mirrored.read_bytes()).hexdigest()
    entry = {"title": "cells", "layout": "h5ad", "columns": {"ensembl_id": "ensembl_id"}}
    datasets = {
        "lying": {**entry, "files": {"matrix": {"path": str(lying)}}},
        "mirrored": {
            **entry,
            "files": {"matrix": {"mirror_path": "x (y)/基因.h5ad", "sha256": sha256}},
        },
    }
    registry = folder / "own datasets.yaml"
    registry.write_text(yaml.safe_dump({"datasets": datasets}, allow_unicode=True))
    for name in datasets:
        changes = {
            "study": name,
            "dataset": name,
            "mirror": str(folder / "mirror ü"),
            "registries.datasets": ["config/datasets.yaml", str(registry)],
        }
        config = edited_config(folder / f"{name} ü.yaml", changes)
        target = f"results/{name}/inputs/{name}.h5ad"
        run = run_snakemake(checkout, target, "--cores", 1, "--configfile", config)
        assert run.returncode == 0, run.text
        assert (checkout / target).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("targets", [["de_only"], []], ids=["de_only", "all"])
def test_a_study_in_a_folder_with_an_odd_path(checkout, targets):
    run = run_snakemake(checkout, *targets, "--cores", 2, *MICRO, timeout=1800)
    assert run.returncode == 0, run.text[-5000:]
    made = "expression/wilcoxon.parquet" if targets else "report/index.html"
    assert (checkout / "results/micro" / made).is_file()
