"""Encoders of genes: built, loaded, checked and saved, of any family.

Weights are read from safetensors, or from old ``.bin`` files with ``weights_only``, and of a
config.json only what describes an encoder: no file can run code. Nothing is fetched from a hub.
"""

import logging
import zipfile
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch

from keygenes.core.errors import input_error
from keygenes.core.files import read_json, written
from keygenes.core.tensors import check_tensors, write_tensors
from keygenes.models.families import FAMILIES, family_of, family_of_document, geneformer

log = logging.getLogger("keygenes")


def read_config(path):
    """Return the config of a ``config.json``, of which only the encoder's keys are read."""
    try:
        document = read_json(path)
        return family_of_document(document).config_of(document)
    except Exception as error:  # transformers raises many kinds for a value of a wrong type
        reason = " ".join(str(error).split())
        raise input_error(
            str(path),
            found=f"a file that does not describe a model ({reason})",
            expected=f"the config.json of a {' or '.join(FAMILIES).upper()} model",
            remedy="point the model registry at the right folder, or delete the file and run again "
            "if a step of the workflow made it",
        ) from error


class ModelFiles(NamedTuple):
    """A model as files, and the tokens that it has to know.

    Attributes
    ----------
    weights : path-like or None
        None: there are none yet, and all of the model starts at random.
    config : path-like
    vocabulary : path-like
        Table 'vocabulary'.
    max_length : int or None
        Tokens of the longest cell there may be. None: of the longest that is looked at.
    """

    weights: str | Path | None
    config: str | Path
    vocabulary: str | Path
    max_length: int | None = None


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
            check_tensors(path)
            tensors = safetensors.torch.load_file(path)
        else:
            _refuse_packed(path)
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        for name, value in tensors.items():
            if not (isinstance(name, str) and isinstance(value, torch.Tensor)):
                raise TypeError("other objects than tensors")
            if value.layout != torch.strided or value.is_quantized or value.is_meta:
                raise TypeError("tensors that are not simply stored")
        return tensors
    except Exception as error:  # torch and safetensors raise many kinds for a bad file
        raise input_error(
            str(path),
            found=f"a file that does not load as weights ({type(error).__name__})",
            expected="model.safetensors, or a pytorch_model.bin that holds tensors only",
            remedy="delete it and run again, which gets or makes it anew, or bring other weights",
        ) from error


def _refuse_packed(path):
    """Raise a ValueError if a checkpoint unpacks to more than it is; torch packs nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > Path(path).stat().st_size:
            raise ValueError(f"unpacks to {unpacked:,} bytes")


def small_config(**shape):
    """Return the config of a small encoder shaped like Geneformer V1; see its family's."""
    return geneformer.small_config(**shape)


def new_masked_model(config, seed):
    """Return a masked-token model with random weights that only `seed` decides."""
    torch.manual_seed(seed)
    return family_of(config).MaskedModel(config)


def pretrained_classifier(weights_path, config, class_names, seed):
    """Return a classifier on a pretrained encoder; its new parts are decided by `seed`.

    Parameters
    ----------
    weights_path : path-like or None
        A masked-language model's (or another classifier's) weights. A pooler among them is used,
        as `from_pretrained` would; a classifier never, since its classes are others. None: no
        weights are loaded, a control.
    config : config of an encoder
    class_names : sequence of str
    seed : int
        Set before the model is built: what the file lacks starts at random.

    Returns
    -------
    model : CellClassifier
    loading : dict
        As from `load_tensors`.
    """
    config.num_labels = len(class_names)
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: i for i, name in enumerate(class_names)}
    torch.manual_seed(seed)
    family = family_of(config)
    model = family.CellClassifier(config)
    if weights_path is None:
        log.info("no weights are loaded: all of the model starts at random")
        return model, {"loaded": [], "missing": sorted(model.state_dict()), "unexpected": []}
    loading = load_tensors(
        model,
        family.whole_names(read_weights(weights_path)),
        weights_path,
        may_miss=family.NEW_IN_CLASSIFIER,
        leave_out=(*family.NOT_IN_CLASSIFIER, *family.OF_CLASSES),
    )
    return model, loading


def load_tensors(model, tensors, where, *, may_miss=(), leave_out=()):
    """Load tensors into a model, by name, and return what went where.

    Parameters
    ----------
    model : torch.nn.Module
    tensors : dict of str to tensor
    where : path-like
        For messages.
    may_miss : tuple of str
        Starts of the names that the file may lack; these stay as they are.
    leave_out : tuple of str
        Starts of the names that the file may have in excess.

    Returns
    -------
    dict
        Sorted names: ``loaded``; ``missing``, in the model only; ``unexpected``, in the file only.

    Raises
    ------
    InputError
        If any other tensor is missing, unknown or of another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    chosen = {k: v for k, v in tensors.items() if not k.startswith(tuple(leave_out) or ("\0",))}
    wrong = [k for k, v in chosen.items() if k in shapes and shapes[k] != tuple(v.shape)]
    whole = [k for k, v in chosen.items() if not v.is_floating_point()]
    missing = [k for k in shapes if k not in chosen]
    needed = [k for k in missing if not k.startswith(tuple(may_miss) or ("\0",))]
    unknown = [k for k in chosen if k not in shapes]
    if wrong or whole or needed or unknown:
        parts = (("of another shape", wrong), ("of another type", whole))
        parts += (("missing", needed), ("unknown", unknown))
        found = "; ".join(f"{len(v)} tensors {name}, e.g. {v[0]}" for name, v in parts if v)
        raise input_error(
            str(where),
            found=found,
            expected=f"the tensors of a {type(model).__name__} as its config.json describes it",
            remedy="use weights and config of the same model",
        )
    model.load_state_dict(chosen, strict=False)
    unexpected = sorted(k for k in tensors if k not in chosen)
    log.info(
        "%s: %d tensors loaded; missing, so new: %s; not used: %s",
        *(where, len(chosen), ", ".join(missing) or "none", ", ".join(unexpected) or "none"),
    )
    return {"loaded": sorted(chosen), "missing": sorted(missing), "unexpected": unexpected}


def load_classifier(weights_path, config_path):
    """Return a fine-tuned classifier, of `save_model` or of Geneformer, and what was loaded.

    Returns
    -------
    model : CellClassifier
        In eval mode.
    loading : dict
        As from `load_tensors`.
    """
    config = read_config(config_path)
    family = family_of(config)
    model = family.CellClassifier(config)
    tensors = family.whole_names(read_weights(weights_path))
    loading = load_tensors(model, tensors, weights_path, leave_out=family.BUFFERS)
    return model.eval(), loading


def load_trunk(weights_path, config_path):
    """Return the encoder of a masked-language model or classifier, in eval mode."""
    config = read_config(config_path)
    family = family_of(config)
    model = family.CellClassifier(config)
    load_tensors(
        model,
        family.whole_names(read_weights(weights_path)),
        weights_path,
        may_miss=family.NEW_IN_CLASSIFIER,
        leave_out=(*family.NOT_IN_CLASSIFIER, *family.OF_CLASSES),
    )
    return model.trunk.eval()


def save_model(model, weights_path, config_path):
    """Write weights (safetensors) and config.json, atomically and with the same bytes each time."""
    seen, unique = set(), {}
    for name, tensor in sorted(model.state_dict().items()):  # tied weights are stored once
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            unique[name] = tensor.detach().cpu().contiguous()
    write_tensors(safetensors.torch.save(unique, metadata={"format": "pt"}), weights_path)
    model.config.architectures = [model.architecture]
    with written(config_path) as part:
        model.config.to_json_file(part, use_diff=True)
