"""What a config names is looked for in the working directory, then beside the workflow."""

import pytest
import yaml

from keygenes.core.config import read_yaml
from keygenes.core.places import CHECKOUT, as_named, located, of_workflow
from keygenes.core.resolve import read_registry

GENES = "resources/gene_sets/p53_textbook.tsv"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_checkout_is_the_folder_of_the_workflow(repository):
    assert repository == CHECKOUT


def test_in_the_checkout_every_path_stays_as_it_is(repository, monkeypatch):
    monkeypatch.chdir(repository)
    for path in (GENES, "config", "./config/models.yaml", "nowhere.tsv", "/nowhere.tsv"):
        assert located(path) == path == as_named(path)
        assert of_workflow(path) == path


def test_what_the_working_directory_lacks_lies_beside_the_workflow(elsewhere):
    assert located(GENES) == of_workflow(GENES) == str(CHECKOUT / GENES)
    assert as_named(located(GENES)) == GENES
    assert located("nowhere.tsv") == "nowhere.tsv"
    assert located(str(elsewhere)) == str(elsewhere)
    assert located("https://example.org/mirror") == "https://example.org/mirror"


@pytest.mark.parametrize("kind", ["file", "link that leads nowhere"])
def test_what_the_working_directory_has_wins(elsewhere, kind):
    own = elsewhere / GENES
    own.parent.mkdir(parents=True)
    own.touch() if kind == "file" else own.symlink_to("nowhere")
    assert located(GENES) == as_named(GENES) == GENES
    assert of_workflow(GENES) == str(CHECKOUT / GENES), "its own files, whatever lies there"


def test_registries_of_both_places_are_merged(elsewhere):
    entry = read_yaml(of_workflow("config/gene_sets.yaml"))["gene_sets"]["p53_textbook"]
    own = {"gene_sets": {"mine": entry}}
    (elsewhere / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    schema = read_yaml(of_workflow("workflow/schemas/gene_sets.schema.yaml"))
    merged = read_registry(["config/gene_sets.yaml", "own.yaml"], schema)
    assert {"mine", "p53_textbook"} <= set(merged["gene_sets"])
