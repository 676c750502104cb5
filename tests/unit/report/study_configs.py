"""The studies of the product and of the tests, with the registry entries they use."""

from running import whole_config

from keygenes.core.config import check, read_yaml
from keygenes.core.resolve import read_registry, resolve
from keygenes.report.references import read_references

COUNTS = {
    **{"n_cells": 2613, "n_genes": 9876, "unit": "well", "n_units": {"dose": 30, "level": 30}},
    **{"n_vocabulary": 25424, "n_cut": 7, "median_length": 683.0},
    **{"n_layers": 6, "n_heads": 4, "has_wells": True, "filter_pass": False},
}
SOFTWARE = {"keygenes": ["9.8.7"], "python": ["3.11.7"], "torch": ["2.13.0"], "scanpy": ["1.2.3"]}
STUDIES = {
    "config": [],
    "laptop": ["config/laptop.yaml"],
    "demo": ["config/demo_thesis.yaml"],
    "micro": ["config/demo_thesis.yaml", "tests/config/micro.yaml"],
}


def schema(name):
    return read_yaml(f"workflow/schemas/{name}.schema.yaml")


def study(name):
    """Return the config of a study of `STUDIES`."""
    return whole_config(*STUDIES[name])


def entries_of(config):
    """Return the registry entries that a config uses, and what of its data is simulated."""
    check(config, schema("config"), "config key")
    names = config["registries"]
    datasets = read_registry(names["datasets"], schema("datasets"))["datasets"]
    models = {"vocabularies": {}, "models": {}}
    models |= read_registry(names["models"], schema("models"))
    genes = {"gene_sets": {}, "gene_classes": {}}
    genes |= read_registry(names["gene_sets"], schema("gene_sets"))
    found = resolve(config, datasets, models, genes["gene_sets"], genes["gene_classes"])
    return found["entries"], datasets[config["dataset"]].get("simulated", False)


def references():
    return read_references("workflow/report/references.yaml", schema("references"))
