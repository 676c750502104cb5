"""Bad input ends a run with one sentence, no traceback, and nothing half-written."""

import pickle
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import yaml
from messages import assert_sentence
from running import copy_checkout, edited_config, run_snakemake
from tiny_study import write_model

from keygenes.inputs.simulate import simulate

STUDY = "bad"
COUNTS = f"results/{STUDY}/cells/counts.h5ad"
LABELS = f"results/{STUDY}/cells/labels.parquet"
SMALL = {"kind": "dose_response", "n_genes": 300, "cells_per_dose": 12, "median_counts": 700}
WELLS = {"a": ["AA08"], "b": ["AB04"]}  # of two cells each
COLUMNS = {"ensembl_id": "ensembl_id", "drug": "perturbation"}


def h5ad_entry(path, **file):
    """Return a registry entry of a matrix in the generic layout."""
    columns = {"columns": COLUMNS}
    return {"title": "a test", "layout": "h5ad", **columns, "files": {"matrix": {**path, **file}}}


def write_matrices(folder):
    """Write one good matrix and its bad versions; return {name: registry entry}."""
    good, _ = simulate(**SMALL, seed=1)
    good.write_h5ad(folder / "good.h5ad")
    whole = (folder / "good.h5ad").read_bytes()
    (folder / "truncated.h5ad").write_bytes(whole[: len(whole) // 2])
    (folder / "text.h5ad").write_text("cell,gene,count\n")

    normalised = good.copy()
    normalised.X = normalised.X.multiply(1 / normalised.X.sum(axis=1)).tocsr().astype(np.float32)
    no_id = anndata.AnnData(good.X, obs=good.obs, var=good.var[[]])
    symbols = good.copy()
    symbols.var["ensembl_id"] = symbols.var_names.to_numpy(str)
    for name, adata in {"normalised": normalised, "no_id": no_id, "symbols": symbols}.items():
        adata.write_h5ad(folder / f"{name}.h5ad")
    names = ("good", "truncated", "text", "normalised", "no_id", "symbols")
    return {name: h5ad_entry({"path": str(folder / f"{name}.h5ad")}) for name in names}


def write_vocabulary(folder):
    """Write pickled dictionaries of the simulated genes; return their registry entry."""
    adata, _ = simulate(**SMALL, seed=1)
    genes = adata.var["ensembl_id"].to_numpy(str).tolist()
    dictionaries = {
        "tokens": {"<pad>": 0, "<mask>": 1, **{gene: i + 2 for i, gene in enumerate(genes)}},
        "medians": dict.fromkeys(genes, 1.0),
        "names": dict(zip(adata.var_names, genes, strict=True)),
    }
    files = {}
    for part, content in dictionaries.items():
        files[part] = {"path": str(folder / f"{part}.pkl")}
        (folder / f"{part}.pkl").write_bytes(pickle.dumps(content))
    return {"title": "of the simulated genes", "version": "v1", "files": files}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a checkout with registries of good and bad entries, and the study's cells read."""
    folder = tmp_path_factory.mktemp("bad")
    checkout = copy_checkout(folder / "main")
    matrices = write_matrices(folder)
    mirror = folder / "mirror"
    mirror.mkdir()
    (mirror / "text.h5ad").write_text("another file\n")
    sha256 = "0" * 64
    absent = "http://127.0.0.1:9/absent.h5ad"  # nothing listens there
    datasets = {
        **matrices,
        "small": {
            **{"title": "simulated", "layout": "scperturb", "simulated": True},
            "dose_factor": {"Nutlin": 2.5, "Dex": 0.5, "BMS": 10, "SAHA": 10},
            "simulate": {**SMALL, "seed": 1},
        },
        "missing": h5ad_entry({"path": str(folder / "missing.h5ad")}),
        "changed": h5ad_entry({"path": str(folder / "good.h5ad")}, sha256=sha256),
        "mirrored": h5ad_entry({"mirror_path": "text.h5ad"}, sha256=sha256),
        "offline": h5ad_entry({"mirror_path": "cells/absent.h5ad", "url": absent}),
        "private": h5ad_entry({"mirror_path": "cells/private.h5ad"}),
    }
    write_model(folder / "model", n_tokens=50, max_length=384)
    models = {
        "vocabularies": {"own": write_vocabulary(folder)},
        "models": {
            "other": {"title": "of 50 tokens", "vocabulary": "own", "folder": str(folder / "model")}
        },
    }
    (folder / "datasets.yaml").write_text(yaml.safe_dump({"datasets": datasets}))
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    start = {
        "study": STUDY,
        "dataset": "small",
        "registries.datasets": ["config/datasets.yaml", str(folder / "datasets.yaml")],
        "registries.models": ["config/models.yaml", str(folder / "models.yaml")],
    }
    config = edited_config(folder / "good.yaml", start)
    made = [f"results/{STUDY}/inputs/small.h5ad", LABELS]
    run = run_snakemake(checkout, *made, "--cores", 1, "--configfile", config)
    assert run.returncode == 0, run.text
    return SimpleNamespace(folder=folder, checkout=checkout, start=start, mirror=str(mirror))


def files_there(checkout):
    """Return the files that runs have written, logs aside."""
    found = {
        path.relative_to(checkout)
        for top in ("results", "resources")
        for path in (checkout / top).rglob("*")
        if path.is_file()
    }
    return {path for path in found if "logs" not in path.parts}


def assert_refused(place, changes, target, where, *parts):
    """Run one target with a changed config and assert how it ends.

    Parameters
    ----------
    changes : dict
        Of the good config, see `edited_config`.
    target : str
        File to make.
    where, *parts : str
        What the sentence must name: the file or key first.
    """
    config = edited_config(place.folder / "config.yaml", {**place.start, **changes})
    before = files_there(place.checkout)
    run = run_snakemake(place.checkout, target, "--cores", 1, "--configfile", config)
    assert run.returncode != 0
    assert "Traceback" not in run.text
    said = [line.strip() for line in run.text.splitlines() if ": found " in line]
    assert len(said) == 1, run.text
    assert_sentence(said.pop(), where, *parts)
    if "Error in rule" in run.text:
        last = run.text.rstrip().rsplit("\n\n", 1)[-1]
        assert "`snakemake --unlock`" in last and "docs/faults.md" in last, "what to do"
    left = files_there(place.checkout) - before
    # The steps before the one that failed may have finished.
    assert not (place.checkout / target).exists() or target in map(str, before)
    assert not [path for path in left if path.name.startswith(".") or ".part" in path.name]
    return left


@pytest.mark.parametrize(
    ("changes", "where", "parts"),
    [
        ({"version": 3}, "config key 'version'", ["found 3", "expected 2", "config/config.yaml"]),
        ({"version": 1}, "config key 'version'", ["found 1", "folds: [...]", "upgrading.md"]),
        ({"select.dosis_um": [0]}, "config key 'select.dosis_um'", ["unknown", "write 'doses_um'"]),
        (
            {"finetune.learning_rate": "1e-5"},
            "config key 'finetune.learning_rate'",
            ["the text '1e-5'", "a number", "write 1.0e-05: YAML reads"],
        ),
        ({"dataset": "smal"}, "config key 'dataset'", ["'smal'", "write 'small'"]),
        ({"model": "geneformer"}, "config key 'model'", ["'geneformer'", "geneformer_v1_10m"]),
        (
            {"evidence.gene_sets": ["p53_textbok"], "evidence.primary": None},
            "config key 'evidence.gene_sets'",
            ["'p53_textbok'", "write 'p53_textbook'"],
        ),
        (
            {"evidence.regime": "half"},
            "config key 'evidence.regime'",
            ["'half'", "frozen, last_layer, full"],
        ),
        ({"dataset": "missing"}, "dataset 'missing', file 'matrix'", ["no file at", "correct"]),
        (
            {"model": "other", "tokens.vocabulary": "geneformer_v1"},
            "config key 'tokens.vocabulary'",
            ["'geneformer_v1'", "expected 'own'", "model 'other'"],
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_config_is_refused_before_anything_runs(place, changes, where, parts):
    assert not assert_refused(place, changes, "all", where, *parts)


# Before the tests of the selection: it goes on from the cells that the fixture selected.
def test_model_with_another_vocabulary_is_refused(place):
    changes = {"model": "other", "tokens.vocabulary": "own"}
    run = f"results/{STUDY}/models/level/frozen/fold1.seed1"
    where = f"{place.folder}/model/config.json"
    found = ["a model of 50 tokens", "the 302 tokens of 'tokens.vocabulary'"]
    left = assert_refused(place, changes, f"{run}/model.safetensors", where, *found)
    assert not [path for path in left if "models" in path.parts]


@pytest.mark.parametrize(
    ("changes", "target", "where", "parts"),
    [
        ({"select.drug": "Nutlim"}, COUNTS, "config key 'select.drug'", ["Nutlim", "Nutlin"]),
        (
            {"select.doses_um": [0, 1.3, 25]},
            COUNTS,
            "config key 'select.doses_um'",
            ["1.3", "1.25", "remove it"],
        ),
        (
            {"select.min_counts": 100_000},
            COUNTS,
            "dataset 'small'",
            ["no cell left", "min_counts", "loosen"],
        ),
        (
            {"tasks.0": {"name": "dose", "column": "well", "classes": WELLS}},
            LABELS,
            "config key 'tasks.dose.classes.a'",
            ["cells", "at least 10 cells", "merge it"],
        ),
    ],
    ids=["drug", "dose", "no cell left", "few cells in a class"],
)
def test_selection_that_no_cell_fits_is_refused(place, changes, target, where, parts):
    (place.checkout / target).unlink(missing_ok=True)
    left = assert_refused(place, changes, target, where, *parts)
    of_the_rule = {
        COUNTS: {"counts.h5ad", "screen.h5ad", "selection.parquet"},
        LABELS: {"labels.parquet"},
    }
    assert not {path.name for path in left} & of_the_rule[target]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("text", ["text.h5ad", "expected an h5ad file"]),
        ("truncated", ["truncated.h5ad", "expected an h5ad file", "again"]),
        ("normalised", ["normalised.h5ad", "raw counts", "'layer:'"]),
        ("no_id", ["no_id.h5ad", "'ensembl_id'", "'columns:'"]),
        ("symbols", ["symbols.h5ad", "Ensembl", "'columns: ensembl_id:'"]),
    ],
)
def test_matrix_that_is_none_is_refused(place, name, parts):
    target = f"results/{STUDY}/inputs/{name}.h5ad"
    assert not assert_refused(place, {"dataset": name}, target, *parts)


@pytest.mark.parametrize(
    ("name", "mirror", "resource", "parts"),
    [
        ("changed", False, "good.h5ad", ["good.h5ad", "found sha256", "expected sha256 0000"]),
        ("mirrored", True, "text.h5ad", ["text.h5ad", "found sha256", "expected sha256 0000"]),
        (
            *("offline", False, "cells/absent.h5ad"),
            ["dataset 'offline', file 'matrix'", "connection refused", "'mirror'"],
        ),
        (
            *("private", True, "cells/private.h5ad"),
            ["dataset 'private', file 'matrix'", "no url", "cells/private.h5ad"],
        ),
    ],
    ids=["checksum", "checksum in the mirror", "no network and no mirror", "not in the mirror"],
)
def test_file_that_cannot_be_had_is_refused(place, name, mirror, resource, parts):
    changes = {"dataset": name, "mirror": place.mirror if mirror else None}
    left = assert_refused(place, changes, f"resources/{resource}", *parts)
    assert not left


def test_config_of_a_megabyte_is_refused_unread(place):
    config = edited_config(place.folder / "large.yaml", place.start)
    config.write_text(config.read_text() + f"# {'x' * 1000}\n" * 1100)
    run = run_snakemake(place.checkout, "-n", "--cores", 1, "--configfile", config)
    assert run.returncode != 0
    (said,) = [line.strip() for line in run.text.splitlines() if ": found " in line]
    assert_sentence(said, "large.yaml", "1,048,576 bytes")
