"""Expression without a model: UMAP and differential expression."""
