"""The names of the evidence tracks, by what they are made from."""

BASELINES = (  # always there
    "wilcoxon",
    "pseudobulk",
    "mean_difference",
    "detection",
    "mean_rank",
    "logistic_l1",
    "random",
)
ATTENTION = ("attention_total", "attention_received", "attention_residual", "norm_pair")
ATTRIBUTIONS = (
    "attention_readout",
    "rollout",
    "attention_gradient",
    "attattr",
    "integrated_gradients",
    "occlusion",
    "deletion",
)
BY_WELL = {  # the column of 'by_well' that a track is the mean of
    "attention_received": "sum",
    "attention_residual": "sum_residual",
    "norm_pair": "sum_pair",
}
