"""Studies on a real Slurm, with all that goes wrong on one."""

import os
import shutil
import signal
import subprocess
from functools import partial

import pytest
import yaml
from running import (
    MICRO,
    REPOSITORY,
    dry_run,
    run_snakemake,
    slurm_jobs,
    snakemake_command,
)
from slurm import THROUGH_SLURM, wait_until

from keygenes.core.files import checksum

pytestmark = pytest.mark.slow

CONFIG = ("--configfile", *MICRO)
MODEL = "results/micro/models/level/full/fold1.seed1"
ATTENTION = "results/micro/attention/level/full/fold1.seed1"
WILCOXON = "results/micro/expression/wilcoxon.parquet"
# Rules that use a GPU where there is one. Here they ask Slurm for it and compute on the CPU, so
# that the bytes can be those of a run without Slurm, whose tables name device: cpu in their params.
PROFILE = yaml.safe_load((REPOSITORY / "profiles/slurm/profile.yaml").read_text(encoding="utf-8"))
GPU_RULES = set(PROFILE["set-resources"])
ON_GPUS = ("--set-resources", *(f"{rule}:gpu=1" for rule in sorted(GPU_RULES)))


def results(folder):
    """Return {path: checksum} of every table and weight file of a checkout's studies."""
    root = folder / "results"
    paths = [p for kind in ("parquet", "safetensors") for p in root.rglob(f"*.{kind}")]
    return {str(path.relative_to(root)): checksum(path) for path in paths}


def jobs_since(cluster, before):
    """Return the jobs of Slurm that were not there before."""
    return cluster.jobs()[len(before) :]


def rule_of(job):
    """Return the rule of a Slurm job, or its group and rules."""
    return job["Comment"].removeprefix("rule_").split("_wildcards_")[0]


def asked_for_gpu(job):
    """Return whether a Slurm job asked for a GPU, by gpu or by gres."""
    return "gres:gpu" in job.get("TresPerJob", "") + job.get("TresPerNode", "")


def assert_whole(folder):
    """Assert that nothing half-written lies about."""
    names = [path.name for path in (folder / "results").rglob("*")]
    assert not [name for name in names if name.startswith(".") or name == "resume.pt"]


@pytest.mark.parametrize("configs", [MICRO, MICRO[:1]], ids=["micro", "demo"])
def test_a_study_gives_the_bytes_of_one_without_slurm(cluster, finished, run_on, tmp_path, configs):
    local = finished(*configs)
    shutil.copytree(
        local, tmp_path / "main", ignore=shutil.ignore_patterns("results", ".snakemake")
    )
    before = cluster.jobs()
    run = run_on(tmp_path / "main", *ON_GPUS, "--configfile", *configs, timeout=7200)
    assert run.returncode == 0, run.text[-5000:]

    assert results(tmp_path / "main") == results(local)
    assert len(results(local)) > 30
    jobs = jobs_since(cluster, before)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    by_gpu = {rule_of(job) for job in jobs if asked_for_gpu(job)}
    assert by_gpu == GPU_RULES & {
        rule for rule, _ in dry_run(local, "--forceall", "--configfile", *configs)
    }
    for job in jobs:
        assert job["Partition"] == ("gpu" if rule_of(job) in GPU_RULES else "cpu"), rule_of(job)
        assert asked_for_gpu(job) == (job["Partition"] == "gpu")
    expected = slurm_jobs(local, "--forceall", "--configfile", *configs)
    assert len(jobs) == expected.total()


def test_a_job_that_runs_out_of_memory_comes_back_with_more(cluster, finished, copy, run_on):
    before = cluster.jobs()
    memory = "rank_genes:mem_mb=200 if attempt == 1 else 2000 * attempt"
    run = run_on(copy, WILCOXON, "--force", "--set-resources", memory, *CONFIG)
    assert run.returncode == 0, run.text[-5000:]
    assert "exceeded memory limit" in run.text
    first, second = jobs_since(cluster, before)
    assert [first["JobState"], second["JobState"]] == ["FAILED", "COMPLETED"]
    assert [job["MinMemoryNode"] for job in (first, second)] == ["200M", "4000M"]
    assert results(copy) == results(finished(*MICRO))


def test_a_job_that_never_has_enough_memory_ends_with_a_sentence(cluster, copy, run_on):
    memory = "rank_genes:mem_mb=200"
    run = run_on(copy, WILCOXON, "--force", "--retries", 0, "--set-resources", memory, *CONFIG)
    assert run.returncode != 0
    (line,) = [x for x in run.text.splitlines() if "ended the job for using more memory" in x]
    assert "slurm_logs/group_expression_rank_genes/" in line.split(": found ")[0]
    assert "set-resources" in line and "profiles/slurm/profile.yaml" in line
    assert not (copy / WILCOXON).exists()


def test_what_is_wrong_on_a_node_is_said_at_the_head(cluster, copy, run_on, tmp_path):
    config = tmp_path / "gpu.yaml"
    config.write_text(yaml.safe_dump({"compute": {"device": "cuda"}}), encoding="utf-8")
    before = cluster.jobs()
    weights = "results/micro/models/pretrained/model.safetensors"
    args = (weights, "--force", "--retries", 0, "--set-resources", "pretrain:gpu_model=h200")
    run = run_on(copy, *args, *CONFIG, config)
    assert run.returncode != 0
    assert "config key 'compute.device': found 'cuda'" in run.text
    assert "Traceback" not in run.text
    (job,) = jobs_since(cluster, before)  # it asked for a GPU by itself
    assert (job["Partition"], job["TresPerJob"]) == ("gpu", "gres:gpu:h200:1")


def test_a_gpu_may_be_asked_for_by_gres(cluster, finished, copy, run_on):
    before = cluster.jobs()
    by_gres = ("--set-resources", "extract_attention:gpu=0", "extract_attention:gres=gpu:h200:1")
    run = run_on(copy, f"{ATTENTION}/by_gene.parquet", "--force", *CONFIG, *by_gres)
    assert run.returncode == 0, run.text[-5000:]
    (job,) = jobs_since(cluster, before)
    assert (job["Partition"], asked_for_gpu(job)) == ("gpu", True)
    assert results(copy) == results(finished(*MICRO))


@pytest.fixture
def head(cluster, copy):
    """Return a fine-tuning that runs on the cluster: its head process, and what is there before."""
    before = cluster.jobs()
    log = copy / "results/micro/logs/finetune.level.full.fold1.seed1.log"
    log.unlink()
    with open(copy / "head.log", "w", encoding="utf-8") as out:
        process = subprocess.Popen(
            snakemake_command(*THROUGH_SLURM, f"{MODEL}/model.safetensors", "--force", *CONFIG),
            cwd=copy,
            env={**os.environ, **cluster.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # background: ignored
        )
    try:
        wait_until(log.exists, "the script on the node", timeout=300)
        yield process, before
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        cluster.cancel_all()


def test_a_cancelled_job_is_submitted_again(cluster, finished, copy, head):
    process, before = head
    (job,) = jobs_since(cluster, before)
    cluster.call("scancel", job["JobId"])
    assert process.wait(timeout=900) == 0, (copy / "head.log").read_text()[-5000:]
    first, second = jobs_since(cluster, before)
    assert [first["JobState"], second["JobState"]] == ["CANCELLED", "COMPLETED"]
    assert [job["MinMemoryNode"] for job in (first, second)] == ["8000M", "16000M"]
    assert results(copy) == results(finished(*MICRO))
    assert_whole(copy)


def test_a_job_whose_node_dies_runs_on_another(cluster, finished, copy, head):
    process, before = head
    (job,) = jobs_since(cluster, before)
    try:
        cluster.kill_node(job["NodeList"])
        wait_until(lambda: "DOWN" in cluster.state(job["NodeList"]), "the node to be missed")
        assert process.wait(timeout=900) == 0, (copy / "head.log").read_text()[-5000:]
        *_, last = jobs_since(cluster, before)
        assert last["JobState"] == "COMPLETED"
        assert last["NodeList"] != job["NodeList"]
    finally:
        cluster.start_node(job["NodeList"])
    assert results(copy) == results(finished(*MICRO))
    assert_whole(copy)


def test_a_job_outlives_the_slurmd_that_started_it(cluster, finished, copy, head):
    process, before = head
    (job,) = jobs_since(cluster, before)
    cluster.kill_daemon(job["NodeList"])
    cluster.start_node(job["NodeList"])
    assert process.wait(timeout=900) == 0, (copy / "head.log").read_text()[-5000:]
    assert jobs_since(cluster, before)[-1]["JobState"] == "COMPLETED"
    assert results(copy) == results(finished(*MICRO))


def test_a_run_whose_head_was_killed_goes_on(cluster, finished, copy, run_on, head):
    process, before = head
    process.send_signal(signal.SIGKILL)
    process.wait()
    cluster.cancel_all()  # as docs/cluster.md says
    args = (f"{MODEL}/model.safetensors", *CONFIG)
    locked = run_on(copy, *args)
    assert locked.returncode != 0
    assert "--unlock" in locked.text
    assert run_snakemake(copy, "--unlock", *CONFIG).returncode == 0
    run = run_on(copy, *args)
    assert run.returncode == 0, run.text[-5000:]
    first, second = jobs_since(cluster, before)
    assert [first["JobState"], second["JobState"]] == ["CANCELLED", "COMPLETED"]
    assert results(copy) == results(finished(*MICRO))
    assert_whole(copy)


def test_an_interrupted_head_cancels_its_jobs(cluster, copy, head):
    process, before = head
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) != 0
    (job,) = jobs_since(cluster, before)
    wait_until(lambda: cluster.jobs()[len(before)]["JobState"] == "CANCELLED", "the job to end")
    assert_whole(copy)


def test_shards_run_side_by_side_and_give_the_bytes_of_a_run_without_slurm(
    cluster, copy, run_on, tmp_path
):
    config = tmp_path / "shards.yaml"
    config.write_text(yaml.safe_dump({"attention": {"shards": 3}}), encoding="utf-8")
    args = (f"{ATTENTION}/by_gene.parquet", "--force", *CONFIG, config)
    local = tmp_path / "local/main"
    shutil.copytree(copy, local, symlinks=True)
    before = cluster.jobs()
    run = run_on(copy, *args, "--set-resources", "extract_shard:gpu=1")
    assert run.returncode == 0, run.text[-5000:]
    jobs = jobs_since(cluster, before)
    shards = [job for job in jobs if rule_of(job) == "extract_shard"]
    assert [job["Partition"] for job in shards] == ["gpu"] * 3
    assert max(job["StartTime"] for job in shards) < min(job["EndTime"] for job in shards)
    (merged,) = [job for job in jobs if job not in shards]
    assert (rule_of(merged), merged["Partition"]) == ("merged_merge_attention", "cpu")

    here = run_snakemake(local, *args, "--cores", 2)
    assert here.returncode == 0, here.text[-5000:]
    assert results(copy) == results(local)
