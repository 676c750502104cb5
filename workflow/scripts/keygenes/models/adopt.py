"""A classifier that was fine-tuned elsewhere: checked, put in the task's order, and applied."""

import logging

import torch

from keygenes.core.errors import input_error
from keygenes.core.files import checksum, write_json
from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import predictions_table, task_cells
from keygenes.models.device import Hardware, set_up_torch, token_budget
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


def adopt_model(files, model_files, out, *, classes, compute):
    """Write a brought classifier as this pipeline's own, and its predictions of the cells.

    Nothing is trained: every fold gets the same model, and its own test cells. Whether the model
    has seen these cells before, nothing here can tell.

    Parameters
    ----------
    files : TaskFold
    model_files : ModelFiles
        Of a classifier of cells of transformers, of Geneformer or of this pipeline.
    out : dict {name: path-like}
        weights, config, predictions, loading.
    classes : list of str or None
        Names of its outputs (`output_order`).
    """
    device = set_up_torch(compute)
    weights, config, vocabulary, max_length = model_files
    table = read_table(vocabulary)
    frame, cells, task_classes = task_cells(*files)
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
    hardware = Hardware(device, compute.precision, token_budget(compute, model.config))
    logits = class_logits(model, cells, hardware)
    if not torch.isfinite(logits).all():
        raise input_error(
            str(weights),
            found="weights with which some cells have no finite logits",
            expected="a trained classifier",
            remedy="check the file: its training may have failed",
        )
    probabilities = logits.double().softmax(1).numpy()
    predictions = predictions_table(frame, probabilities, task_classes)
    write_table(predictions, out["predictions"], "predictions")
    counts = {"trained": 0, "all": sum(p.numel() for p in model.parameters())}
    write_json(
        {"weights_sha256": checksum(weights), "parameters": counts, **loading, "trained": []},
        out["loading"],
    )
    save_model(model, out["weights"], out["config"])
