"""The four verdicts on a claim."""

import pandas as pd

HOLDS, PART, FAILS, UNTESTABLE = VERDICTS = (
    "holds",
    "holds in part",
    "fails",
    "not testable here",
)


def tally(verdicts):
    """Return how many rows have each verdict: {verdict: int}, in the order of `VERDICTS`."""
    counts = pd.Series(verdicts).astype(str).value_counts()
    return {verdict: int(counts.get(verdict, 0)) for verdict in VERDICTS}
