"""The encoder: a BERT on rank-ordered genes, and the models that stand on it.

Parameters have the names that transformers gives them, and start as its models of the same seed
do: a file of weights goes both ways. What is ours is the way through it. A layer is walked in
three steps (`Layer.heads`, attention, `Layer.after`), so that whoever asks about attention stands
between the first and the last, and no layer has to be told who is listening.

Source: Devlin et al. 2019. Layer norm comes after each sum, as there.
"""

import functools

import torch
from torch import nn
from torch.nn.functional import gelu, relu, scaled_dot_product_attention, silu

ACTIVATIONS = {
    "relu": relu,
    "gelu": gelu,
    "gelu_new": functools.partial(gelu, approximate="tanh"),
    "gelu_pytorch_tanh": functools.partial(gelu, approximate="tanh"),
    "silu": silu,
    "swish": silu,
    "tanh": torch.tanh,
}


class Embeddings(nn.Module):
    """What a token is before the first layer: its gene's vector plus that of its rank."""

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids):
        """Return hidden states [n_cells, L, hidden] of ids [n_cells, L]."""
        return self.placed(self.word_embeddings(ids))

    def placed(self, words):
        """Return hidden states of the vectors of genes [n_cells, L, hidden], in order of rank."""
        positions = self.position_embeddings.weight[: words.shape[1]]
        if beyond := words.shape[1] - len(positions):  # padding may lie there, no gene does
            positions = nn.functional.pad(positions, (0, 0, 0, beyond))
        kind = self.token_type_embeddings.weight[0]  # of BERT's first sentence: there is one
        return self.dropout(self.LayerNorm(words + kind + positions))


class Residual(nn.Module):
    """A linear map whose result is added to what went around it, and normalised."""

    def __init__(self, width, config):
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def joined(self, mapped, around):
        """Return the normalised sum of both."""
        return self.LayerNorm(self.dropout(mapped) + around)


class Projections(nn.Module):
    """The three linear maps that queries, keys and values of all heads come from."""

    def __init__(self, config):
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3)
        )


class Layer(nn.Module):
    """One layer: attention of all heads, then two linear maps per position."""

    def __init__(self, config):
        super().__init__()
        self.attention = nn.Module()
        self.attention.self = Projections(config)
        self.attention.output = Residual(config.hidden_size, config)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = Residual(config.intermediate_size, config)
        self.n_heads = config.num_attention_heads
        self.activation = ACTIVATIONS[config.hidden_act]
        self.attention_dropout = config.attention_probs_dropout_prob

    @property
    def joint(self):
        """The linear map that takes the contexts of all heads together: ``W_O`` and its bias."""
        return self.attention.output.dense

    def heads(self, hidden, read=slice(None)):
        """Return queries (of the positions `read`), keys and values: [n_cells, heads, L, d] each.

        Parameters
        ----------
        hidden : tensor [n_cells, L, hidden]
            What the layer reads.
        """
        maps = self.attention.self
        return tuple(
            linear(states).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for linear, states in (
                (maps.query, hidden[:, read]),
                (maps.key, hidden),
                (maps.value, hidden),
            )
        )

    def mixed(self, context):
        """Return what attention adds to each position, from its context [n_cells, heads, L, d]."""
        return self.joint(context.transpose(1, 2).flatten(2))

    def after(self, hidden, mixed):
        """Return the layer's output from what it reads and what its attention adds (`mixed`)."""
        attended = self.attention.output.joined(mixed, hidden)
        inner = self.activation(self.intermediate.dense(attended))
        return self.output.joined(self.output.dense(inner), attended)

    def forward(self, hidden, padding=None):
        """Return the layer's output; `padding` is as of `attended`."""
        dropout = self.attention_dropout if self.attention.self.training else 0.0
        return self.after(hidden, self.mixed(attended(*self.heads(hidden), padding, dropout)))


def attended(query, key, value, padding=None, dropout=0.0):
    """Return the context of softmax attention: tensor [n_cells, heads, L, d].

    Parameters
    ----------
    query, key, value : tensors [n_cells, heads, L, d]
    padding : bool tensor [n_cells, 1, 1, L] or None
        From `without_padding`.
    dropout : float
    """
    return scaled_dot_product_attention(
        query, key, value, attn_mask=padding, dropout_p=dropout, scale=scaling_of(query)
    )


def scaling_of(query):
    """Return the factor on scores, ``1 / sqrt(d)``."""
    return query.shape[-1] ** -0.5


def without_padding(mask):
    """Return which keys may be attended to: bool [n_cells, 1, 1, L], or None: all of them.

    Parameters
    ----------
    mask : int64 tensor [n_cells, L], or None
        1 on genes, 0 on padding; None: there is none. On a GPU nobody looks whether there is any:
        the processor would have to wait for the answer.
    """
    if mask is None or (mask.device.type == "cpu" and mask.all()):
        return None
    return mask.bool()[:, None, None, :]


def draw_weights(modules, std):
    """Draw the weights of modules anew: normal, biases 0, the vector of padding 0.

    Parameters
    ----------
    modules : iterable of torch.nn.Module
        Their order decides what each one draws.
    std : float
    """
    with torch.no_grad():
        for module in modules:
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(0.0, std)
            if isinstance(module, nn.Linear):
                module.bias.zero_()
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()


class Trunk(nn.Module):
    """Embeddings and layers, and a pooler where a classifier of cells needs one."""

    def __init__(self, config, pooler=True):
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        if pooler:
            self.pooler = nn.Module()
            self.pooler.dense = nn.Linear(config.hidden_size, config.hidden_size)
        draw_weights(self.modules(), config.initializer_range)

    @property
    def layers(self):
        """The layers, from the first to the last."""
        return self.encoder.layer

    @property
    def device(self):
        """Where the weights are."""
        return self.embeddings.LayerNorm.weight.device

    def states(self, hidden, mask, first, last):
        """Yield the hidden states after `first`, ..., `last` layers, from those after `first`.

        Parameters
        ----------
        hidden : tensor [n_cells, L, hidden]
            After `first` layers; after none, the output of the embeddings.
        mask : int64 tensor [n_cells, L], or None
            As of `without_padding`.
        first, last : int
        """
        padding = without_padding(mask)
        yield hidden
        for layer in self.layers[first:last]:
            hidden = layer(hidden, padding)
            yield hidden

    def forward(self, ids, mask=None):
        """Return the hidden states of the last layer: tensor [n_cells, L, hidden]."""
        *_, hidden = self.states(self.embeddings(ids), mask, 0, len(self.layers))
        return hidden


class Model(nn.Module):
    """A trunk and what stands on it.

    Attributes
    ----------
    architecture : str
        What transformers calls such a model, for its config.json.
    """

    architecture = ""

    def __init__(self, config, *, pooler):
        super().__init__()
        self.config = config
        self.bert = Trunk(config, pooler)

    @property
    def trunk(self):
        """The encoder."""
        return self.bert


class MaskedModel(Model):
    """An encoder that names the genes that were masked (`cls`); tied to the gene embeddings."""

    architecture = "BertForMaskedLM"

    def __init__(self, config):
        super().__init__(config, pooler=False)
        self.cls = nn.Module()
        self.cls.predictions = Predictions(config)
        draw_weights(self.cls.modules(), config.initializer_range)
        self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight

    def gene_logits(self, hidden):
        """Return the logits of all tokens [n, n_tokens] from hidden states [n, hidden]."""
        return self.cls.predictions(hidden)


class Predictions(nn.Module):
    """From hidden states to logits of all tokens."""

    def __init__(self, config):
        super().__init__()
        self.transform = nn.Module()
        self.transform.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias  # as it is called in files
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden):
        """Return logits [n, n_tokens]."""
        transformed = self.activation(self.transform.dense(hidden))
        return self.decoder(self.transform.LayerNorm(transformed))


class Classifier(Model):
    """An encoder with a linear classifier."""

    def __init__(self, config, *, pooler):
        super().__init__(config, pooler=pooler)
        rate = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if rate is None else rate)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        draw_weights([self.classifier], config.initializer_range)

    def classified(self, states):
        """Return logits [..., n_classes] from hidden states [..., hidden]."""
        return self.classifier(self.dropout(states))


class CellClassifier(Classifier):
    """An encoder whose pooled hidden state gives a cell's class; see `keygenes.models.head`."""

    architecture = "BertForSequenceClassification"

    def __init__(self, config):
        super().__init__(config, pooler=True)

    def parts(self):
        """Return {name: module} from the classifier down to the first layer."""
        numbered = [(f"layer {n}", layer) for n, layer in enumerate(self.trunk.layers, start=1)]
        head = {"classifier": self.classifier, "pooler": self.trunk.pooler}
        return {**head, **dict(reversed(numbered))}

    def head(self, pooled):
        """Return logits [n_cells, n_classes] from pooled hidden states [n_cells, hidden]."""
        return self.classified(torch.tanh(self.trunk.pooler.dense(pooled)))


class GeneClassifier(Classifier):
    """An encoder that gives a class to each gene of a cell."""

    architecture = "BertForTokenClassification"

    def __init__(self, config):
        super().__init__(config, pooler=False)

    def forward(self, ids, mask):
        """Return logits [n_cells, L, n_classes]."""
        return self.classified(self.trunk(ids, mask))
