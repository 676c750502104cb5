"""Geneformer V1's shape, without its weights."""

import torch
from transformers import BertConfig

from keygenes.models.families.geneformer import CellClassifier


def v1_config():
    return BertConfig(
        vocab_size=25_426,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        hidden_act="relu",
        max_position_embeddings=2048,
        type_vocab_size=2,
        pad_token_id=0,
        num_labels=5,
    )


def v1_model(config=None):
    """Return a classifier on Geneformer V1 of which only the shapes are there."""
    with torch.device("meta"):
        return CellClassifier(config or v1_config())
