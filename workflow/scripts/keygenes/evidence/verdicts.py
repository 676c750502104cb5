"""The five verdicts on a claim."""

import pandas as pd

HOLDS, PART, FAILS, UNDECIDED, UNTESTABLE = VERDICTS = (
    "holds",
    "holds in part",
    "fails",
    "undecided",
    "not testable here",
)


def tally(verdicts):
    """Return how many rows have each verdict: {verdict: int}, in the order of `VERDICTS`."""
    counts = pd.Series(verdicts).astype(str).value_counts()
    return {verdict: int(counts.get(verdict, 0)) for verdict in VERDICTS}


def of_claims(table):
    """Return the rows of table 'claims' that decide: a claim's verdict is its primary reading's."""
    return table[table["primary"].astype(bool)]
