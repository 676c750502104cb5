"""What the docs tell a user to write is valid, and works on cells as they describe them."""

import re
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from running import REPOSITORY, copy_checkout, dry_run, laid_over, whole_config
from scipy import sparse

from keygenes.cells.label import label_cells
from keygenes.cells.select import select_cells
from keygenes.core.config import check, check_relations, read_yaml
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.tables import read_table
from keygenes.inputs.readers import read_dataset

ADDING, COMPATIBILITY = "docs/adding-a-dataset.md", "docs/geneformer-compatibility.md"
REGISTRIES = {  # the schema of each
    **{"datasets": "datasets", "models": "models"},
    **{"gene_sets": "gene_sets", "gene_classes": "gene_sets"},
}


def blocks(path):
    """Return the YAML blocks of a document, one per file that a block says it is."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    found = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    parts = [
        part for block in found for part in re.split(r"^# my_\w+\.yaml.*\n", block, flags=re.M)
    ]
    return [yaml.safe_load(part) for part in parts if part.strip()]


def schema(name):
    return read_yaml(REPOSITORY / f"workflow/schemas/{name}.schema.yaml")


def is_registry(block):
    return any(isinstance(block.get(key), dict) for key in REGISTRIES)


def registry_of(key):
    return next(block for block in blocks(ADDING) if isinstance(block.get(key), dict))


def study_of(name):
    return next(block for block in blocks(ADDING) if block.get("study") == name)


DEFAULT = whole_config()
OVERLAYS = [(path, block) for path in (ADDING, COMPATIBILITY) for block in blocks(path)]


@pytest.mark.parametrize(
    "block", [block for _, block in OVERLAYS if is_registry(block)], ids=", ".join
)
def test_registries_of_the_docs_are_valid(block):
    name = next(REGISTRIES[key] for key in REGISTRIES if key in block)
    check(block, schema(name), "key")


@pytest.mark.parametrize(
    ("path", "block"),
    [(path, block) for path, block in OVERLAYS if not is_registry(block)],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_configs_of_the_docs_are_valid(path, block):
    base = DEFAULT
    if path == ADDING and block.get("study") != "my_study":
        base = laid_over(base, study_of("my_study"))  # what these are laid over
    config = laid_over(base, block)
    if any(task.get("type") == "gene" for task in block.get("tasks", [])):
        config["tasks"] = [*base["tasks"], *block["tasks"]]  # "beside at least one task of cells"
    check(config, schema("config"), "config key")
    check_relations(config)


def test_without_regimes_of_its_own_a_study_is_told_to_list_them():
    study = {k: v for k, v in study_of("my_study").items() if k != "regimes"}
    with pytest.raises(InputError, match="list your own"):
        check_relations(laid_over(DEFAULT, study))


def described_cells(n=150, n_genes=60):
    """Return cells as the page describes them: their columns, before any is mapped."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(20, (n, n_genes)).astype(np.float32))
    treatment = np.resize(["DMSO", "drug_a", "drug_b"], n)
    obs = pd.DataFrame(
        {
            "treatment": treatment,
            "dose": np.where(treatment == "DMSO", 0.0, 2.5),
            "well": [f"{name}{i // 3 % 6}" for i, name in enumerate(treatment)],
            "batch": [f"b{i // 3 % 2}" for i in range(n)],
            "n_counts": np.asarray(counts.sum(axis=1)).ravel() + 100.0,
        },
        index=[f"c{i}" for i in range(n)],
    )
    names = {"ensembl_id": [f"ENSG{i:011d}" for i in range(n_genes)]}
    var = pd.DataFrame({**names, "gene_symbol": [f"S{i}" for i in range(n_genes)]})
    return anndata.AnnData(counts, obs, var.set_index(var["gene_symbol"].to_numpy()))


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Return a checkout with the files of the page written down, and cells where they say."""
    folder = tmp_path_factory.mktemp("my data")  # a blank in the path, as on many desks
    checkout = copy_checkout(folder / "main")
    described_cells().write_h5ad(folder / "my_cells.h5ad")
    registry = registry_of("datasets")
    registry["datasets"]["my_cells"]["files"]["matrix"]["path"] = "../my_cells.h5ad"
    (checkout / "my_datasets.yaml").write_text(yaml.safe_dump(registry))
    for name in ("my_study", "my_study_quick"):
        (checkout / f"{name}.yaml").write_text(yaml.safe_dump(study_of(name)))
    pretrain = next(block for block in blocks(ADDING) if block.get("model") == "pretrain")
    (checkout / "pretrain.yaml").write_text(yaml.safe_dump(pretrain))
    return SimpleNamespace(checkout=checkout, cells=folder / "my_cells.h5ad", registry=registry)


def test_a_dry_run_of_the_quick_study_lists_its_jobs(followed):
    jobs = dry_run(
        *(followed.checkout, "--configfile", "my_study.yaml", "my_study_quick.yaml"),
        "pretrain.yaml",  # so that nothing is downloaded
    )
    trained = {wildcards["regime"] for rule, wildcards in jobs if rule == "finetune"}
    rules = {rule for rule, _ in jobs}
    assert trained == {"frozen", "full", "permuted_labels"}
    assert {"pretrain", "write_report", "write_scored_cells", "screen_doses"} <= rules
    assert not {"attribute_genes", "judge_claims", "download_model"} & rules


def test_the_cells_of_the_page_are_read_and_labelled_as_it_says(followed, tmp_path):
    entry = followed.registry["datasets"]["my_cells"]
    adata = read_dataset(entry, {"matrix": followed.cells})
    assert "treatment" not in adata.obs, "a mapped column has its new name"
    assert {"drug", "dose_um", "well", "replicate"} <= set(adata.obs)
    write_matrix(adata, tmp_path / "dataset.h5ad")
    config = laid_over(laid_over(DEFAULT, study_of("my_study")), study_of("my_study_quick"))
    paths = [tmp_path / name for name in ("counts.h5ad", "screen.h5ad", "selection.parquet")]
    options = {**config["select"], "min_genes": 10}
    select_cells(tmp_path / "dataset.h5ad", *paths, where="my_cells", options=options)
    labels = label_cells(read_matrix(paths[0]).obs, config["tasks"])
    assert labels["treatment"].value_counts().to_dict() == {"vehicle": 40, "treated": 40}
    assert "at most 40 per dose" in set(read_table(paths[2])["note"])
