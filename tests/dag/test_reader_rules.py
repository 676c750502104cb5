"""Rule files of readers from outside: what is wrong with one is a sentence that names it."""

import re

import pytest
import yaml
from running import MICRO, REPOSITORY, listed_jobs, run_snakemake

DOC = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8")
RULES = re.search(r"`~/forest/forest.smk`\n\n```python\n(.*?)```", DOC, re.S)[1]
READER = {"name": "forest", "title": "a forest", "score": "impurity", "options": {"trees": 9}}


def listed(folder, rules=RULES, readers=(READER,), **keys):
    """Return the dry run of the micro study with readers of one rule file."""
    path = folder / "forest.smk"
    path.write_text(rules, encoding="utf-8")
    for name in ("forest.py", "forest.yaml"):  # which the rules name, and a dry run looks at
        (folder / name).touch()
    config = {"readers": [{**reader, "rules": str(path)} for reader in readers], **keys}
    (folder / "own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return run_snakemake(REPOSITORY, "-n", "--configfile", *MICRO, folder / "own.yaml")


def test_a_reader_from_outside_has_its_jobs_and_no_encoder_has_any(tmp_path):
    run = listed(tmp_path)
    assert run.returncode == 0, run.text
    rules = {rule for rule, _ in listed_jobs(run.text)}
    assert {"forest", "accept_reader", "count_genes", "score_tracks", "write_report"} <= rules
    assert not {"finetune", "pretrain", "extract_attention", "plot_attention", "plot_genes"} & rules
    assert "geneformer" in run.text, "that keys about an encoder are not read is said"


def test_one_rule_file_serves_two_readers_if_its_rules_are_named_by_them(tmp_path):
    rules = RULES.replace("rule forest:\n", 'rule:\n    name:\n        f"{READER.name}_fit"\n')
    rules = re.sub(r'    """.*?"""\n', "", rules)
    readers = [READER, {**READER, "name": "trees", "random": False}]
    run = listed(tmp_path, rules, readers, evidence={"regime": "trees"})
    assert run.returncode == 0, run.text
    assert {"forest_fit", "trees_fit"} <= {rule for rule, _ in listed_jobs(run.text)}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('READER.options["trees"]', 'READER.options["depth"]', ["readers.forest.options.depth"]),
        ("    resources:", "    foo bar(", ["forest.smk, line 14"]),
        ("        scores=READER.scores,\n", "", ["forest.smk", "READER.scores"]),
        ("READER.labels", "READER.label", ["forest.smk", "'label'", "labels"]),
        ("rule forest:", "rule finetune:", ["forest.smk", "finetune"]),
    ],
)
def test_a_mistake_in_a_rule_file_is_named(tmp_path, old, new, named):
    assert old in RULES
    run = listed(tmp_path, RULES.replace(old, new))
    assert run.returncode == 1
    for part in named:
        assert part in run.text, run.text


def test_a_study_of_baselines_and_expression_alone_goes_from_cells_to_the_page():
    configs = (*MICRO, "tests/config/no_encoder.yaml")
    run = run_snakemake(REPOSITORY, "-n", "--configfile", *configs)
    assert run.returncode == 0, run.text
    rules = {rule for rule, _ in listed_jobs(run.text)}
    assert not {"finetune", "pretrain", "extract_attention", "accept_reader"} & rules
    assert {"count_genes", "score_tracks", "write_report"} <= rules
