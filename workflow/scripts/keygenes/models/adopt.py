"""A classifier that was fine-tuned elsewhere: checked, put in the task's order, and applied."""

import logging

import torch

from keygenes.core.errors import input_error
from keygenes.core.files import checksum, write_json
from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import predictions_table, task_cells
from keygenes.models.device import set_up_torch, token_budget
from keygenes.models.encoder import check_fit, load_classifier, save_model
from keygenes.models.finetune import class_logits
from keygenes.models.head import set_pooling

log = logging.getLogger("keygenes")


def output_order(config, names, classes, where):
    """Return, for each class of a task, which output of a classifier stands for it.

    Parameters
    ----------
    config : config of an encoder
        Its `id2label` names the outputs, unless `names` does.
    names : list of str or None
        Key 'classes' of the model's registry entry, in the order of the outputs.
    classes : list of str
        Of the task.
    where : path-like
        For messages.

    Raises
    ------
    InputError
        If the outputs are not named as the classes of the task.
    """
    if names is None:
        names = [str(config.id2label.get(i)) for i in range(config.num_labels)]
    if len(names) != config.num_labels or sorted(names) != sorted(classes):
        raise input_error(
            str(where),
            found=f"{config.num_labels} outputs, named {', '.join(names)}",
            expected=f"the classes of the task, {', '.join(classes)}",
            remedy="list them under 'classes' of the model in the registry, in the order of its "
            "outputs, or give the task the classes that the model was trained on",
        )
    return [names.index(name) for name in classes]


def reorder_outputs(model, order, classes):
    """Let a classifier give its outputs in another order, named by `classes`; in place."""
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order].clone())
        model.classifier.bias.copy_(model.classifier.bias[order].clone())
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {name: i for i, name in enumerate(classes)}


def adopt_model(
    *,
    tokens,
    labels,
    splits,
    vocabulary,
    weights,
    config,
    out_weights,
    out_config,
    out_predictions,
    out_loading,
    task,
    fold,
    classes,
    max_length,
    compute,
):
    """Write a brought classifier as this pipeline's own, and its predictions of the cells.

    Nothing is trained: every fold gets the same model, and its own test cells. Whether the model
    has seen these cells before, nothing here can tell.

    Parameters
    ----------
    weights, config : path-like
        A classifier of cells of transformers, of Geneformer or of this pipeline.
    classes : list of str or None
        Names of its outputs (`output_order`).
    """
    device = set_up_torch(compute)
    table = read_table(vocabulary)
    frame, cells, task_classes = task_cells(tokens, labels, splits, task, fold)
    model, loading = load_classifier(weights, config)
    if model.config.problem_type not in (None, "single_label_classification"):
        raise input_error(
            str(config),
            found=f"a model for {model.config.problem_type}",
            expected="a classifier that gives each cell one class",
            remedy="bring another model",
        )
    check_fit(model.config, vocabulary_size=len(table), max_length=max_length, where=str(config))
    reorder_outputs(model, output_order(model.config, classes, task_classes, config), task_classes)
    set_pooling(model.config, getattr(model.config, "classifier_pooling", None), table)
    model.to(device)
    log.info("%s: taken over as it is; make sure that it was not trained on these cells", weights)
    look = {"batch_tokens": token_budget(compute, model.config), "precision": compute.precision}
    logits = class_logits(model, cells, device=device, **look)
    if not torch.isfinite(logits).all():
        raise input_error(
            str(weights),
            found="weights with which some cells have no finite logits",
            expected="a trained classifier",
            remedy="check the file: its training may have failed",
        )
    probabilities = logits.double().softmax(1).numpy()
    write_table(
        predictions_table(frame, probabilities, task_classes), out_predictions, "predictions"
    )
    counts = {"trained": 0, "all": sum(p.numel() for p in model.parameters())}
    write_json(
        {"weights_sha256": checksum(weights), "parameters": counts, **loading, "trained": []},
        out_loading,
    )
    save_model(model, out_weights, out_config)
