"""The same encoder as transformers computes it, with every attention matrix stored."""

import torch
from transformers import BertModel


def hub_trunk(trunk):
    """Return transformers' encoder with the weights of ours, in float64 and eval mode."""
    config = trunk.config
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=hasattr(trunk, "pooler")).eval().double()
    model.load_state_dict(trunk.state_dict())
    return model


@torch.no_grad()
def stored(hub, cell):
    """Return attention [layers, heads, L, L] and hidden states [L, hidden] of one cell alone.

    Parameters
    ----------
    hub : transformers.BertModel
        From `hub_trunk`.
    cell : int array [L]
    """
    ids = torch.as_tensor(cell, dtype=torch.int64)[None]
    output = hub(input_ids=ids, output_attentions=True, output_hidden_states=True)
    return torch.stack(output.attentions)[:, 0], [hidden[0] for hidden in output.hidden_states]
