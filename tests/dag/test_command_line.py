"""--config as a user types it: a section, a list, a word; read as in a file, merged key by key."""

import pytest
from running import dry_run, run_snakemake

from keygenes.core.tables import read_table

DEMO = ("--configfile", "config/demo.yaml")


def jobs_of(checkout, *entries):
    """Return the jobs of the demo with some entries of --config."""
    return dry_run(checkout, *DEMO, "--config", *entries)


def refusal(checkout, *entries):
    """Return the sentence with which the demo is refused."""
    run = run_snakemake(checkout, "-n", *DEMO, "--config", *entries)
    assert run.returncode != 0
    (sentence,) = [line for line in run.text.splitlines() if ": found " in line]
    return sentence


@pytest.mark.slow
def test_a_list_replaces_the_one_that_was_there(checkout):
    jobs = jobs_of(checkout, "folds=[2]", "seeds=[3,4]")
    runs = {wildcards["run"] for rule, wildcards in jobs if rule == "finetune"}
    assert runs == {"fold2.seed3", "fold2.seed4"}


@pytest.mark.slow
def test_numbers_in_a_section_are_numbers_and_its_other_keys_stay(checkout):
    entries = ["evidence={permutations: 4, relabellings_per_job: 2}", "evidence={n_bootstrap: 150}"]
    jobs = jobs_of(checkout, *entries)
    rules = [rule for rule, _ in jobs]
    assert rules.count("finetune_relabelled") == 2 * 2  # folds of the demo, two jobs each
    assert "test_primary" in rules, "evidence.primary is still the demo's"


@pytest.mark.slow
def test_null_and_lists_within_a_section(checkout):
    jobs = jobs_of(checkout, "evidence={primary: null, regimes: [full], claims: null}")
    rules = {rule for rule, _ in jobs}
    assert "finetune_relabelled" not in rules
    assert {w["regime"] for rule, w in jobs if rule == "attribute_genes"} == {"full"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ("folds=1,2", ["config key 'folds'", "'1,2'", "list"]),
        ("select={doses_um:[0, 25]}", ["--config select", "'{doses_um:[0, 25]}'", "colon"]),
        ("finetune={learning_rate: 1e-3}", ["'finetune.learning_rate'", "'1e-3'", "0.001"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(checkout, entry, parts):
    sentence = refusal(checkout, entry)
    for part in parts:
        assert part in sentence


@pytest.mark.slow
def test_jobs_read_the_command_line_as_the_run_does(checkout):
    target = "results/demo/cells/labels.parquet"
    entry = "select={max_cells_per_dose: 20, doses_um: [0, 1.25, 12.5, 25]}"
    run = run_snakemake(checkout, "--cores", 1, target, *DEMO, "--config", entry)
    assert run.returncode == 0, run.text
    table = read_table(checkout / "results/demo/cells/selection.parquet").set_index("step")
    assert table.loc["subsample", "n_cells"] == 80
    assert table.loc["drug", "note"] == "drug = Nutlin", "keys that were not named stay"
