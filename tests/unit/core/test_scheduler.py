"""What Slurm did to a job becomes a sentence for the user."""

import pytest
from messages import assert_sentence

from keygenes.core.scheduler import killed_jobs

LOGS = "/home/me/main/.snakemake/slurm_logs"


def head_log(*jobs):
    """Return the log of a run whose jobs (place, what Slurm wrote) failed."""
    parts = ["[Sat Nov 21 19:57:09 2026]\nError in rule:\n"]
    for place, text in jobs:
        parts.append(f"Logfile {LOGS}/{place}:\n========\nrule x:\n{text}\n========\n")
        parts.append("Logfile results/demo_thesis/logs/x.log: empty file\n")
    return "".join(parts)


MEMORY = [
    "slurmstepd: error: StepId=3.0 exceeded memory limit (231988224 > 209715200), being killed",
    "slurmstepd: error: Detected 1 oom_kill event in StepId=3.0. Some of the step tasks",
]
TIME = "slurmstepd: error: *** JOB 7 ON cpu1 CANCELLED AT 2026-11-21T19:56:46 DUE TO TIME LIMIT ***"


@pytest.mark.parametrize("text", MEMORY)
def test_memory(text):
    (error,) = killed_jobs(head_log(("group_expression_rank_genes/3.log", text)))
    place = f"{LOGS}/group_expression_rank_genes/3.log"
    assert_sentence(error, place, "more memory than", "mem_mb", "set-resources")


def test_time():
    (error,) = killed_jobs(head_log(("rule_finetune/level_full_1/7.log", TIME)))
    assert_sentence(error, f"{LOGS}/rule_finetune/level_full_1/7.log", "more time than", "runtime")


def test_attempts_of_one_job_are_one_sentence():
    twice = [("rule_finetune/a/1.log", MEMORY[0]), ("rule_finetune/a/2.log", MEMORY[0])]
    (error,) = killed_jobs(head_log(*twice))
    assert "rule_finetune/a/2.log" in str(error)
    others = [("rule_finetune/b/3.log", MEMORY[0]), ("rule_evaluate/4.log", MEMORY[0])]
    assert len(killed_jobs(head_log(*twice, *others))) == 3


def test_another_failure_has_a_message_of_its_own():
    log = head_log(("rule_finetune/a/1.log", "config key 'compute.device': found 'cuda', ..."))
    assert killed_jobs(log) == []
    assert killed_jobs("") == []
