"""BERT encoders of genes: built, loaded, checked, partly frozen and saved.

Weights are read from safetensors, or from old ``.bin`` files with ``weights_only``: no file can
run code. Nothing is fetched from a hub here.
"""

import fnmatch
import logging

import safetensors
import safetensors.torch
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from keygenes.core.errors import input_error
from keygenes.core.files import written

log = logging.getLogger("keygenes")

# A pretrained masked-language model has no pooler and no classifier: those start at random.
NEW_IN_CLASSIFIER = ("bert.pooler.", "classifier.")
NOT_IN_CLASSIFIER = ("cls.", "bert.embeddings.position_ids", "bert.pooler.")


def read_config(path):
    """Return the `BertConfig` of a ``config.json``."""
    try:
        return BertConfig.from_json_file(path)
    except Exception as error:  # transformers raises many kinds for a value of a wrong type
        reason = " ".join(str(error).split())
        raise input_error(
            str(path),
            found=f"a file that is no model configuration ({reason})",
            expected="the config.json of a BERT model",
            remedy="point the model registry at the right folder",
        ) from error


def check_fit(config, *, vocabulary_size, max_length, where):
    """Raise an `InputError` where a model cannot read the study's tokens."""
    if config.vocab_size != vocabulary_size:
        raise input_error(
            where,
            found=f"a model of {config.vocab_size} tokens",
            expected=f"the {vocabulary_size} tokens of 'tokens.vocabulary'",
            remedy="choose the vocabulary that the model was trained with",
        )
    if config.max_position_embeddings < max_length:
        raise input_error(
            where,
            found=f"a model of {config.max_position_embeddings} positions",
            expected=f"at least 'tokens.max_length' = {max_length}",
            remedy="lower tokens.max_length or choose a longer model",
        )


def read_weights(path):
    """Return the tensors of a weight file, by name, on the CPU."""
    try:
        if str(path).endswith(".safetensors"):
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for a bad file
        raise input_error(
            str(path),
            found=f"a file that does not load as weights ({type(error).__name__})",
            expected="model.safetensors, or a pytorch_model.bin that holds tensors only",
            remedy="download it again; a checkpoint with other objects is refused",
        ) from error


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


def new_masked_model(config, seed):
    """Return a masked-token model with random weights that only `seed` decides."""
    torch.manual_seed(seed)
    return BertForMaskedLM(config)


def pretrained_classifier(weights_path, config, class_names, seed):
    """Return a classifier on a pretrained encoder; its new parts are decided by `seed`.

    Parameters
    ----------
    weights_path : path-like
        A masked-language model's (or another classifier's) weights.
    config : BertConfig
    class_names : sequence of str
    seed : int
        Set before the model is built: pooler and classifier start at random.
    """
    config.num_labels = len(class_names)
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: i for i, name in enumerate(class_names)}
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config)
    tensors = read_weights(weights_path)
    keep = {
        k: v for k, v in tensors.items() if not k.startswith(NOT_IN_CLASSIFIER + ("classifier.",))
    }
    load_tensors(model, keep, weights_path, may_miss=NEW_IN_CLASSIFIER)
    return model


def load_tensors(model, tensors, where, may_miss=()):
    """Load tensors into a model; only names that start with `may_miss` may be missing."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = [k for k, v in tensors.items() if k in shapes and shapes[k] != tuple(v.shape)]
    missing = [
        k for k in shapes if k not in tensors and not k.startswith(tuple(may_miss) or ("\0",))
    ]
    unexpected = [k for k in tensors if k not in shapes]
    if wrong or missing or unexpected:
        parts = (("of another shape", wrong), ("missing", missing), ("unknown", unexpected))
        found = "; ".join(f"{len(v)} tensors {name}, e.g. {v[0]}" for name, v in parts if v)
        raise input_error(
            str(where),
            found=found,
            expected=f"the tensors of a {type(model).__name__} as its config.json describes it",
            remedy="use weights and config of the same model",
        )
    model.load_state_dict(tensors, strict=False)
    new = [k for k in shapes if k not in tensors]
    log.info("%s: %d tensors loaded, new: %s", where, len(tensors), ", ".join(new) or "none")


def load_classifier(weights_path, config_path):
    """Return a fine-tuned classifier as `save_model` wrote it."""
    model = BertForSequenceClassification(read_config(config_path))
    load_tensors(model, read_weights(weights_path), weights_path)
    return model


def load_trunk(weights_path, config_path):
    """Return the encoder (`BertModel`) of a masked-language model or classifier, in eval mode."""
    config = read_config(config_path)
    model = BertForSequenceClassification(config)
    tensors = read_weights(weights_path)
    keep = {k: v for k, v in tensors.items() if k.startswith("bert.") and "position_ids" not in k}
    load_tensors(model, keep, weights_path, may_miss=NEW_IN_CLASSIFIER)
    return model.bert.eval()


def train_only(model, patterns):
    """Let only the parameters that match a pattern be trained; return their names.

    Parameters
    ----------
    patterns : list of str
        Shell patterns on parameter names; ``{last}`` stands for the last layer's index.
    """
    patterns = [p.format(last=model.config.num_hidden_layers - 1) for p in patterns]
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise input_error(
                "config key 'regimes'",
                found=f"the pattern '{pattern}', which matches no parameter",
                expected="patterns such as 'bert.encoder.layer.5.*' or 'classifier.*'",
                remedy="correct it",
            )
    trained = {n for p in patterns for n in fnmatch.filter(names, p)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    return [name for name in names if name in trained]


def train_mode(model):
    """Put the modules that train in training mode, and every frozen one in eval mode.

    Dropout in a frozen trunk would only blur features that cannot adapt to it. A module without
    parameters (dropout itself) goes with the module it is part of.
    """
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters:
            module.training = any(p.requires_grad for p in parameters)
        for child in module.children():
            child.training = module.training


def count_trainable(model):
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def save_model(model, weights_path, config_path):
    """Write weights (safetensors) and config.json, atomically and with the same bytes each time."""
    seen, unique = set(), {}
    for name, tensor in sorted(model.state_dict().items()):  # tied weights are stored once
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            unique[name] = tensor.detach().cpu().contiguous()
    with written(weights_path) as part:
        safetensors.torch.save_file(unique, part, metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    with written(config_path) as part:
        model.config.to_json_file(part, use_diff=True)
