"""What trains of a model and what stays frozen."""

from keygenes.core.errors import input_error
from keygenes.core.parts import chosen_by, patterns_of


def train_only(model, parts, where="config key 'regimes'"):
    """Let only the parameters that a regime names be trained; return their names.

    Parameters
    ----------
    parts : list of str
        Parts of the model or shell patterns on parameter names (`core.parts.patterns_of`), read
        from the first to the last: ``part`` adds, ``!part`` takes out again. ``{last}`` stands for
        the last layer's index.
    where : str
        What messages call them.

    Raises
    ------
    InputError
        If a pattern matches no parameter of the model.
    """
    names = [name for name, _ in model.named_parameters()]
    last = str(model.config.num_hidden_layers - 1)
    patterns = [pattern.replace("{last}", last) for pattern in patterns_of(parts)]
    trained, idle = chosen_by(patterns, names)
    if idle:
        raise input_error(
            where,
            found=f"the pattern '{idle[0]}', which matches no parameter",
            expected="parts such as head and layer.last, or freeze_layers, within the "
            f"{model.config.num_hidden_layers} layers that the model has",
            remedy="correct it",
        )
    if not trained:
        raise input_error(
            where,
            found=f"{', '.join(parts)}, which leaves no parameter to train",
            expected="at least one part of the model",
            remedy="add head",
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    return [name for name in names if name in trained]


def frozen_layers(model):
    """Return how many layers, counted from the embeddings, give the same output all through.

    0 where the embeddings train. A part that is frozen above one that trains does not count.
    """
    if any(p.requires_grad for p in model.trunk.embeddings.parameters()):
        return 0
    for n, layer in enumerate(model.trunk.layers):
        if any(p.requires_grad for p in layer.parameters()):
            return n
    return len(model.trunk.layers)


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
