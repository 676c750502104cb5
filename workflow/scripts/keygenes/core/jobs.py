"""What a job is called, what it computes with, and how its log ends."""

from keygenes.core.shown import printable

FAILED = "failed"  # the last line of the log of a job that failed by itself starts with it


def job_name(rule, wildcards):
    """Return a job in words: 'finetune level full seed 1'."""
    numbered = (f"{key} {value}" if str(value).isdigit() else value for key, value in wildcards)
    return printable(" ".join([rule, *map(str, numbered)]))


def computing(compute, *more):
    """Return what a job that runs an encoder takes of the config's section 'compute'.

    Parameters
    ----------
    compute : dict
    more : str
        Further keys.

    Returns
    -------
    dict
        batch_tokens, threads, device, and those.
    """
    keys = ("batch_tokens", "device", *more)
    return {"threads": compute["torch_threads"], **{key: compute[key] for key in keys}}
