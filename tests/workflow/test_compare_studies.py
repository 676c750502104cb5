"""Two finished studies held against each other: nothing of the default study is read."""

import shutil

import pytest
import yaml
from running import copy_checkout, listed_jobs, run_snakemake
from two_studies import CLASSES, PLANTED, gene_ids, primary_of, write_study

from keygenes.core.files import checksum
from keygenes.core.tables import read_table

STUDIES = "studies=[results/a, results/b]"
MADE = {
    *("replication.parquet", "replication.tsv", "index.html", "logs/compare_studies.log"),
    *(f"figures/level.{kind}" for kind in ("svg", "png", "tsv")),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return a checkout whose default study is broken, with two studies and their comparison."""
    folder = copy_checkout(tmp_path_factory.mktemp("compare") / "main")
    default = yaml.safe_load((folder / "config/config.yaml").read_text(encoding="utf-8"))
    (folder / "config/datasets.yaml").unlink()  # no registry, and results of another version
    (folder / f"results/{default['study']}").mkdir(parents=True)
    (folder / f"results/{default['study']}/version.txt").write_text("0.0.1\n")
    write_study(folder / "results/a", 1, primary=primary_of(outcome="supported"))
    write_study(folder / "results/b", 2, tasks={"level": CLASSES, "dose": {"0": [0], "25": [25]}})
    run = run_snakemake(folder, "--cores", 2, "compare_studies", "--config", STUDIES)
    assert run.returncode == 0, run.text[-5000:]
    return folder


def test_tables_figures_and_page_are_made(compared):
    results = compared / "results/compare/a_vs_b"
    found = {str(p.relative_to(results)) for p in results.rglob("*") if p.is_file()}
    assert found == MADE
    table = read_table(results / "replication.parquet")
    own = table[(table["track_a"] == PLANTED) & (table["track_b"] == PLANTED)]
    assert (own["rbo_low"] > 0.5).all() and set(own["regime"]) == {"full", "frozen"}
    page = (results / "index.html").read_text(encoding="utf-8")
    assert "dose (in b alone)" in page
    assert page.count("<td>supported</td>") == 1, "of a; b names no primary test"


def test_a_config_file_and_a_name_give_the_same_bytes_elsewhere(compared, tmp_path):
    file = tmp_path / "both.yaml"
    file.write_text(yaml.safe_dump({"studies": ["a", "b"], "name": "again"}))
    run = run_snakemake(compared, "--cores", 2, "compare_studies", "--configfile", file)
    assert run.returncode == 0, run.text[-5000:]
    of = [compared / f"results/compare/{name}" for name in ("a_vs_b", "again")]
    assert read_table(of[0] / "replication.parquet").equals(
        read_table(of[1] / "replication.parquet")
    )
    for name in MADE - {"replication.parquet", "logs/compare_studies.log"}:  # one has a stamp
        assert checksum(of[0] / name) == checksum(of[1] / name), name


def test_only_a_changed_study_is_compared_again(compared):
    args = ["-n", "compare_studies", "--config", STUDIES]
    run = run_snakemake(compared, *args)
    assert run.returncode == 0 and listed_jobs(run.text) == [], run.text
    run = run_snakemake(compared, *args, "name=new")
    assert listed_jobs(run.text) == [("compare_studies", {})]


@pytest.mark.parametrize("target", [[], ["de_only"], ["all"]], ids=["none", "de_only", "all"])
def test_the_key_is_refused_beside_other_targets(compared, target):
    run = run_snakemake(compared, "-n", *target, "--config", STUDIES)
    assert run.returncode == 1
    assert "config key 'studies': found " in run.text


def test_the_target_is_refused_without_the_key(checkout):
    run = run_snakemake(checkout, "-n", "compare_studies", "--configfile", "config/demo.yaml")
    assert run.returncode == 1
    assert "config key 'studies': found nothing" in run.text


def test_a_study_of_another_version_is_refused_before_anything_runs(compared):
    shutil.copytree(compared / "results/a", compared / "results/old")
    (compared / "results/old/version.txt").write_text("0.0.1\n")
    run = run_snakemake(compared, "-n", "compare_studies", "--config", "studies=[old, b]")
    assert run.returncode == 1
    assert "results/old: found " in run.text and "0.0.1" in run.text


def test_damaged_tables_and_other_genes_end_the_job_in_a_sentence(compared):
    damaged = shutil.copytree(compared / "results/a", compared / "results/damaged")
    with open(damaged / "evidence/level/genes.parquet", "ab") as table:
        table.write(b"more")
    write_study(compared / "results/mouse", 3, ids=gene_ids(start="ENSMUSG"))
    for name, said in (
        ("damaged", "evidence/level/genes.parquet: found "),
        ("mouse", ": found 0 genes"),
    ):
        run = run_snakemake(
            compared, "--cores", 1, "compare_studies", "--config", f"studies=[{name}, b]"
        )
        assert run.returncode == 1
        assert said in run.text and "Traceback" not in run.text
        left = [
            p.name for p in (compared / f"results/compare/{name}_vs_b").rglob("*") if p.is_file()
        ]
        assert left == ["compare_studies.log"]
