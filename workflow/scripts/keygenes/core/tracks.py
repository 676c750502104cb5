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
