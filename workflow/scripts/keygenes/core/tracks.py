"""Evidence tracks: every fact about one stands in its record here, and lists are derived from them.

The key `evidence.tracks` may name those of a model; the others are always there.
"""

from collections.abc import Iterable
from typing import NamedTuple

BASELINE, OF_ATTENTION, ATTRIBUTION = "baseline", "attention", "attribution"
READER = "reader"  # one that was brought along: its track is called as it is
FROM_SCORES = (ATTRIBUTION, READER)  # kinds made of table 'well_scores'
ON_LOGIT = "logit of the last class less the mean of the others"
UNIFORM = "multiples of uniform attention"


class Track(NamedTuple):
    """One way of scoring genes.

    Attributes
    ----------
    name : str
    kind : {'baseline', 'attention', 'attribution', 'reader'}
        What it is made from: no encoder, sums of attention per well, a model's predictions, or
        what a reader from outside says.
    score, unit : str
        What a gene's score is, and in which unit, for the legend of the gene table.
    method : str
        How it is called in the methods; ``{key}`` is of section 'evidence.attribution'.
    column : str
        Of the sums per well that it is made from (table 'by_well', or 'well_scores').
    mean : bool
        Whether the score is a mean over cells, or their total.
    least_wells : int
        Fewer give no score.
    passes : {'none', 'one', 'many'}
        Through the model, for the scores of one cell; 'none': no cell alone has any.
    signed : bool
        Whether a cell's scores say for which answer a gene speaks.
    complete : bool
        Whether a cell's scores add up to its logit's change, or nearly.
    """

    name: str
    kind: str
    score: str
    unit: str
    method: str = ""
    column: str = "sum_absolute"
    mean: bool = True
    least_wells: int = 1
    passes: str = "none"
    signed: bool = False
    complete: bool = False


ALL = (
    Track(
        "wilcoxon",
        BASELINE,
        "|z| of the rank-sum test, cells of the strongest class against the rest",
        "z",
    ),
    Track(
        "pseudobulk",
        BASELINE,
        "|Wald statistic|, wells of the strongest class against the rest",
        "z",
    ),
    Track(
        "mean_difference",
        BASELINE,
        "|log2fc| of the strongest class against the rest",
        "log2 ratio",
    ),
    Track("detection", BASELINE, "test cells that have the gene among their tokens", "cells"),
    Track(
        "mean_rank", BASELINE, "minus the mean rank of the gene in the cells that have it", "ranks"
    ),
    Track(
        "logistic_l1",
        BASELINE,
        "mean |coefficient| of a sparse logistic regression on genes, over classes and folds",
        "log odds per standard deviation",
    ),
    Track(
        "random",
        BASELINE,
        "a random number, the same in every run: what chance looks like",
        "none",
    ),
    Track(
        "attention_total",
        OF_ATTENTION,
        "sum over cells, layers and heads of the attention received (the thesis's measure)",
        UNIFORM,
        method="sum over cells [@truetzscher2024]",
        column="sum",
        mean=False,
    ),
    Track(
        "attention_received",
        OF_ATTENTION,
        "mean attention received per cell, over layers and heads",
        UNIFORM,
        method="mean",
        column="sum",
        passes="one",
    ),
    Track(
        "attention_residual",
        OF_ATTENTION,
        "mean log2 of attention received beyond what rank, cell length and depth predict",
        "log2 ratio",
        method="mean residual",
        column="sum_residual",
        least_wells=2,
    ),
    Track(
        "norm_pair",
        OF_ATTENTION,
        "mean norm of what the gene contributes, all heads of a layer summed first",
        "norm of a hidden state",
        method="mean norm",
        column="sum_pair",
    ),
    Track(
        "attention_readout",
        ATTRIBUTION,
        "mean attention that the classifier's own position pays it",
        UNIFORM,
        method="attention at the read-out",
        passes="one",
    ),
    Track(
        "rollout",
        ATTRIBUTION,
        "mean attention rollout through all layers to what the classifier reads",
        UNIFORM,
        method="rollout [@abnar2020]",
        passes="one",
    ),
    Track(
        "attention_gradient",
        ATTRIBUTION,
        "mean |attention x gradient|",
        ON_LOGIT,
        method="attention times gradient",
        passes="one",
        signed=True,
    ),
    Track(
        "attattr",
        ATTRIBUTION,
        "mean |ATTATTR|",
        ON_LOGIT,
        method="ATTATTR [@hao2021] in {attattr_steps} steps",
        passes="many",
        signed=True,
        complete=True,
    ),
    Track(
        "integrated_gradients",
        ATTRIBUTION,
        "mean |integrated gradients|",
        ON_LOGIT,
        method="integrated gradients from <mask> [@sundararajan2017] in {n_steps} steps",
        passes="many",
        signed=True,
        complete=True,
    ),
    Track(
        "occlusion",
        ATTRIBUTION,
        "mean |change| when the gene is masked",
        ON_LOGIT,
        method="occlusion",
        passes="many",
        signed=True,
    ),
    Track(
        "deletion",
        ATTRIBUTION,
        "mean |change| when the gene is removed, beyond neighbouring ranks",
        ON_LOGIT,
        method="deletion (less that of genes of like rank)",
        passes="many",
        signed=True,
    ),
)
TRACKS = {track.name: track for track in ALL}


def track_named(name: str) -> Track:
    """Return the record of a track; a name that none of these has is a reader's."""
    return TRACKS.get(name) or Track(name, READER, "", "")


def in_order(found: Iterable[str]) -> list[str]:
    """Return names of tracks in their order, those of readers after all others."""
    found = list(dict.fromkeys(found))
    return [name for name in TRACKS if name in found] + [n for n in found if n not in TRACKS]


def names(**facts: str | bool) -> tuple[str, ...]:
    """Return the names of the tracks for which all of some facts hold, in their order."""
    return tuple(
        track.name for track in ALL if all(getattr(track, k) == v for k, v in facts.items())
    )


BASELINES, ATTENTION, ATTRIBUTIONS = (
    names(kind=kind) for kind in (BASELINE, OF_ATTENTION, ATTRIBUTION)
)
OF_MODELS = (*ATTENTION, *ATTRIBUTIONS)
ONE_PASS, MANY_PASSES = names(passes="one"), names(passes="many")
