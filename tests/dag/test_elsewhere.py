"""The workflow from other folders: by the path of its Snakefile, and as a module of another one."""

import re

import pytest
import yaml
from running import (
    MODULE,
    listed_jobs,
    module_user,
    run_snakemake,
)

DEMO = "config/demo.yaml"
ROOT, OWN = "Snakefile", "workflow/Snakefile"


@pytest.fixture(scope="module")
def of_demo(checkout):
    """Return the jobs of the demo in its checkout."""
    return jobs_of(run_snakemake(checkout, "-n", "--configfile", DEMO))


def jobs_of(run):
    """Return the jobs that a dry run lists, sorted."""
    assert run.returncode == 0, run.text
    return sorted((rule, sorted(wildcards.items())) for rule, wildcards in listed_jobs(run.text))


def written(path, content):
    """Write text, or a dict as YAML, to a path; return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def demo_config(checkout):
    """Return the keys of the demo."""
    return yaml.safe_load((checkout / DEMO).read_text(encoding="utf-8"))


@pytest.mark.parametrize("snakefile", [ROOT, pytest.param(OWN, marks=pytest.mark.slow)])
def test_from_another_folder_the_same_jobs_run(checkout, of_demo, tmp_path, snakefile):
    (tmp_path / "there").mkdir()
    args = ["-n", "-s", checkout / snakefile, "-d", "there", "--configfile", checkout / DEMO]
    assert jobs_of(run_snakemake(tmp_path, *args)) == of_demo


@pytest.mark.parametrize("snakefile", [OWN, pytest.param(ROOT, marks=pytest.mark.slow)])
def test_as_a_module_the_same_jobs_run_under_the_names_it_is_given(
    checkout, of_demo, tmp_path, snakefile
):
    module_user(tmp_path, checkout / snakefile, demo_config(checkout))
    jobs = jobs_of(run_snakemake(tmp_path, "-n", "count", "keygenes_all"))
    assert [job for job in jobs if job[0] == "count"] == [("count", [])]
    ours = [job for job in jobs if job[0] not in ("count", "keygenes_all")]
    assert ours == sorted((f"keygenes_{rule}", wildcards) for rule, wildcards in of_demo)


@pytest.mark.slow
def test_without_any_file_the_default_study_runs(checkout, tmp_path):
    here = jobs_of(run_snakemake(checkout, "-n"))
    assert jobs_of(run_snakemake(tmp_path, "-n", "-s", checkout / ROOT)) == here


@pytest.mark.slow
def test_a_file_of_the_working_directory_wins(checkout, tmp_path):
    genes = "resources/gene_sets/p53_textbook.tsv"
    given = written(tmp_path / "given.yaml", {**demo_config(checkout), "study": "given"})
    given_sets = {"evidence": {"gene_sets": ["p53_textbook"], "primary": None}}
    args = ["-n", "-s", checkout / ROOT, "--configfile", given]
    args += [written(tmp_path / "sets.yaml", given_sets)]
    run = run_snakemake(tmp_path, *args)
    assert run.returncode == 0, run.text
    assert f"input: {checkout / genes}," in run.text
    written(tmp_path / genes, (checkout / genes).read_text(encoding="utf-8"))
    run = run_snakemake(tmp_path, *args)
    assert f"input: {genes}," in run.text and str(checkout / genes) not in run.text
    registry = yaml.safe_load((checkout / "config/datasets.yaml").read_text(encoding="utf-8"))
    del registry["datasets"]["planted_atlas"]
    written(tmp_path / "config/datasets.yaml", registry)
    run = run_snakemake(tmp_path, *args)
    assert run.returncode != 0 and "'planted_atlas'" in run.text


@pytest.mark.slow
def test_a_config_of_the_working_directory_is_laid_over_the_default(checkout, tmp_path):
    written(tmp_path / "config/config.yaml", {"study": "mine", "seeds": [7]})
    run = run_snakemake(tmp_path, "-n", "-s", checkout / ROOT, "--config", "folds=[2]")
    assert run.returncode == 0, run.text
    tuned = {w["run"] for rule, w in listed_jobs(run.text) if rule == "finetune"}
    assert tuned == {"fold2.seed7"}
    assert "results/mine/report/index.html" in run.text


@pytest.mark.slow
def test_what_a_module_is_passed_is_laid_over_the_default(checkout, tmp_path):
    # a config/config.yaml in the working directory is the other workflow's
    module_user(tmp_path, checkout / OWN, {"study": "mine", "seeds": [7]})
    run = run_snakemake(tmp_path, "-n", "results/mine/report/index.html")
    assert run.returncode == 0, run.text
    jobs = listed_jobs(run.text)
    tuned = [w for rule, w in jobs if rule == "keygenes_finetune"]
    assert {w["run"] for w in tuned} == {f"fold{fold}.seed7" for fold in (1, 2, 3)}


@pytest.mark.slow
def test_a_rule_of_the_module_can_be_changed_and_messages_come_once(checkout, tmp_path):
    changed = "use rule pretrain from keygenes as keygenes_pretrain with:\n    threads: 2\n"
    config = demo_config(checkout)
    config["evidence"]["permutations"] = 0
    module_user(tmp_path, checkout / OWN, config, more=changed)
    run = run_snakemake(tmp_path, "-n", "--cores", 2)
    assert run.returncode == 0, run.text
    block = re.search(r"^rule keygenes_pretrain:\n(?:    .+\n)+", run.text, re.MULTILINE)[0]
    assert "threads: 2" in block
    assert "rule count:" in run.text, "its first rule is still the other workflow's target"
    assert run.text.count("primary test cannot come out") == 1


@pytest.mark.slow
def test_a_module_is_refused_unknown_keys_and_changes_nothing_of_its_user(checkout, tmp_path):
    module_user(tmp_path, checkout / OWN, {"study": "mine", "samples": 3})
    run = run_snakemake(tmp_path, "-n")
    assert run.returncode != 0 and "config key 'samples'" in run.text
    snakefile = tmp_path / "Snakefile"
    moved = snakefile.read_text(encoding="utf-8").replace(
        "config: c", 'prefix: "kg"\n    config: c'
    )
    snakefile.write_text(moved, encoding="utf-8")
    run = run_snakemake(tmp_path, "-n")
    assert run.returncode != 0 and "key 'prefix'" in run.text and "'study'" in run.text
    said = "print('passed', config['keygenes'], 'local', sorted(workflow._localrules))\n"
    module_user(tmp_path, checkout / OWN, {"study": "mine"}, more=said)
    run = run_snakemake(tmp_path, "--list")
    downloads = [f"keygenes_download_{kind}" for kind in ("dataset", "gene_set", "model")]
    assert f"passed {{'study': 'mine'}} local {downloads}" in run.text


@pytest.mark.slow
def test_the_command_line_is_read_for_a_module_that_is_passed_the_whole_config(checkout, tmp_path):
    config = demo_config(checkout)
    entry = "evidence={permutations: 4, relabellings_per_job: 2}"
    text = MODULE.format(checkout / OWN, "config")
    written(tmp_path / "config/config.yaml", config)
    written(tmp_path / "Snakefile", f'configfile: "config/config.yaml"\n{text}')
    jobs = jobs_of(run_snakemake(tmp_path, "-n", "--config", entry))
    assert [rule for rule, _ in jobs].count("keygenes_finetune_relabelled") == 2 * 2
