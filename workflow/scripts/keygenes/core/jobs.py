"""What a job is called, and how its log ends: for scripts and for Snakemake's head alike."""

from keygenes.core.shown import printable

FAILED = "failed"  # the last line of the log of a job that failed by itself starts with it


def job_name(rule, wildcards):
    """Return a job in words: 'finetune level full seed 1'."""
    numbered = (f"{key} {value}" if str(value).isdigit() else value for key, value in wildcards)
    return printable(" ".join([rule, *map(str, numbered)]))
