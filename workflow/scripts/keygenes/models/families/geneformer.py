"""BERT on rank-ordered genes, Geneformer's encoder, and the models that stand on it.

All that only this family knows lies here: what its config.json says, how it is built, what its
parameters are called in files, how a layer is walked.

Parameters have the names that transformers gives them, and start as its models of the same seed
do: a file of weights goes both ways. What is ours is the way through it. A layer is walked in
three steps (`Layer.heads`, attention, `Layer.after`), so that whoever asks about attention stands
between the first and the last, and no layer has to be told who is listening.

Source: Devlin et al. 2019. Layer norm comes after each sum, as there.
"""

import functools
import math

import torch
from torch import nn
from torch.nn.functional import gelu, relu, silu
from transformers import BertConfig

from keygenes.models.softmax import attended, without_padding

ACTIVATIONS = {
    "relu": relu,
    "gelu": gelu,
    "gelu_new": functools.partial(gelu, approximate="tanh"),
    "gelu_pytorch_tanh": functools.partial(gelu, approximate="tanh"),
    "silu": silu,
    "swish": silu,
    "tanh": torch.tanh,
}


MODEL_TYPE = BertConfig.model_type

# A pretrained masked-language model has no pooler and no classifier: those start at random.
NEW_IN_CLASSIFIER = ("bert.pooler.", "classifier.")
BUFFERS = ("bert.embeddings.position_ids",)  # old versions of transformers stored one
# What such a model has and a classifier has no place for; and what another classifier has for
# classes of its own.
NOT_IN_CLASSIFIER = ("cls.", *BUFFERS)
OF_CLASSES = ("classifier.",)


# What is read of a config.json. Other keys can name code: transformers runs what auto_map names,
# and fetches what attn_implementation names.
SIZES = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
    *("intermediate_size", "max_position_embeddings", "type_vocab_size"),
)
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
OTHER_KEYS = (
    *("hidden_act", "initializer_range", "layer_norm_eps", "pad_token_id", "num_labels"),
    *("id2label", "label2id", "problem_type"),
    *("classifier_pooling", "pooling_leaves_out"),  # our own, see `head.set_pooling`
)
OTHER_MODELS = ("is_decoder", "add_cross_attention", "quantization_config", "pruned_heads")
MAX_LAYERS, MAX_CLASSES, MAX_PARAMETERS = 1000, 10_000, 1_000_000_000


def described(document):
    """Return the keys of a config.json that describe an encoder; a ValueError where they cannot."""
    if foreign := [key for key in OTHER_MODELS if document.get(key)]:
        raise ValueError(f"{foreign[0]} is set: another kind of model")
    keys = {k: v for k, v in document.items() if k in (*SIZES, *RATES, *OTHER_KEYS)}
    sizes = {key: keys.get(key, getattr(BertConfig, key)) for key in SIZES}
    for key, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{key} is {value!r}")
    vocabulary, hidden, layers, heads, inner, positions, types = sizes.values()
    classes = [keys.get("num_labels", 0), len(keys.get("id2label") or ())]
    n = (vocabulary + positions + types) * hidden + layers * hidden * (4 * hidden + 2 * inner)
    if n > MAX_PARAMETERS or layers > MAX_LAYERS or max(classes) > MAX_CLASSES:
        raise ValueError(f"a model of {layers} layers, {n:,} parameters, {max(classes)} classes")
    if hidden % heads:
        raise ValueError(f"{hidden} dimensions for {heads} heads")
    for key in RATES:
        if not 0 <= (keys.get(key) or 0) <= 1:
            raise ValueError(f"{key} is {keys[key]!r}")
    for key in ("layer_norm_eps", "initializer_range"):
        if not 0 < keys.get(key, getattr(BertConfig, key)) < math.inf:
            raise ValueError(f"{key} is {keys[key]!r}")
    if keys.get("hidden_act", BertConfig.hidden_act) not in ACTIVATIONS:
        raise ValueError(f"hidden_act {keys['hidden_act']!r} is none of {', '.join(ACTIVATIONS)}")
    if not 0 <= (keys.get("pad_token_id") or 0) < vocabulary:
        raise ValueError(f"pad_token_id is {keys['pad_token_id']!r}")
    return keys


def config_of(document):
    """Return the config of an encoder from the content of a config.json, of which no more is read.

    Raises
    ------
    ValueError
        Or of another kind, for a value of a wrong type.
    """
    return BertConfig(**described(document))


def small_config(*, vocabulary_size, max_length, layers, heads, hidden):
    """Return the configuration of an encoder shaped like Geneformer V1, of another size."""
    return BertConfig(
        vocab_size=vocabulary_size,
        max_position_embeddings=max_length,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        hidden_act="relu",
        hidden_dropout_prob=0.02,
        attention_probs_dropout_prob=0.0,  # fused attention on a CPU knows no dropout
        pad_token_id=0,
    )


def whole_names(tensors):
    """Return tensors by their names in a classifier; a bare encoder's lack the first part."""
    bare = "embeddings.word_embeddings.weight" in tensors
    return {f"bert.{name}" if bare else name: value for name, value in tensors.items()}


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
