"""The methods in words: encoder, regimes, controls, baselines, and tasks of genes."""

from keygenes.core.parts import part_of
from keygenes.core.regimes import kind_of, trained_patterns
from keygenes.report.methods_cells import drawn_words, is_random, quoted, title_of
from keygenes.report.wording import counted, listed, number, others_words, percent

PARTS = {
    "embeddings": "the embeddings",
    "layers": "all layers",
    "layer.last": "the last layer",
    "pooler": "the pooler",
    "encoder": "the encoder",
    "output": "the output layer",
}
LONGEST_METHOD = 2000  # characters of how a reader works, as its record may have them
CONTROL_KEYS = ("encoder", "labels", "tokens", "split")
READ = {
    "first": "the last hidden state of their top-ranked gene",
    "cls": "the last hidden state of <cls>",
    "mean": "the mean of their last hidden states",
}
FEATURES = {
    "hidden_state": "hidden states",
    "expression": "log-normalised expression",
}


def what_trains(regime):
    """Return which parameters a regime trains, in words."""
    if frozen := regime.get("freeze_layers"):
        layers = "first layer" if frozen == 1 else f"first {counted(frozen, 'layer')}"
        return f"all but the {layers}"
    patterns = trained_patterns(regime)
    added = [_part(p) for p in patterns if not p.startswith("!")]
    removed = [_part(p[1:]) for p in patterns if p.startswith("!")]
    text = "all parameters" if "*" in patterns else listed(added)
    return f"{text} but {listed(removed)}" if removed else text


def _part(pattern):
    part = part_of(pattern)
    if part and part not in PARTS:
        return part.replace(".", " ")
    return PARTS.get(part, f"parameters {others_words(pattern)}")


def pooling(options, study):
    """Return what a classifier reads: 'first', 'mean' or 'cls'."""
    framed = (study.entries["vocabulary"] or {}).get("version") == "v2"  # <cls> stands first
    own = options["pooling"] or "first"
    return "cls" if framed and own == "first" else own


def models(study, counts, cited):
    """Yield what the encoder was, and how it was fine-tuned; nothing where none is read."""
    if not (study.regimes or study.gene_tasks):
        return
    if study.model == "pretrain":
        yield _pretraining(study, cited)
        encoder = "It"
    else:
        shape = ""
        if "n_layers" in counts:
            layers, heads = (counted(counts[f"n_{k}s"], k) for k in ("layer", "head"))
            shape = f", {layers} of {heads}"
        encoder = f"{title_of(study.entries['model'])}{shape}{cited['model']}"
    if brought := study.brought:
        yield f"Classifiers fine-tuned elsewhere were used as they were ({listed(brought)})"
    section = study.finetune
    plain = [r for r in map(study.regimes.get, study.finetuned) if kind_of(r) == "trained"]
    each = [f"{what_trains(regime)} ({regime['name']}{_own(study, regime)})" for regime in plain]
    if not study.finetuned:
        yield f"{encoder} was the encoder"
        return
    training = f", training {'; '.join(each[:-1])}{'; or ' if each[1:] else ''}{each[-1]}"
    yield (
        f"{encoder} was fine-tuned to classify cells by {READ[pooling(section, study)]}"
        f"{training if each else ''}"
    )
    yield (
        f"Cross-entropy was minimised by AdamW [@loshchilov2019] for "
        f"{counted(section['epochs'], 'epoch')} ({_optimiser(section)}); {kept_epoch(section)}"
    )


def kept_epoch(options):
    """Return which epoch of a training was kept, in words."""
    if options["keep_epoch"] == "last":
        return "the last epoch was kept"
    return "the epoch of least validation loss was kept"


def converging(options):
    """Return how a head was trained until it converged, in words; '' where it was not."""
    how = options["converge"]
    if not how:
        return ""
    return (
        "until its validation loss had not fallen for "
        f"{counted(how['patience'], 'epoch')}, {number(how['max_epochs'])} at most, at a learning "
        f"rate of {number(how['learning_rate'])}"
    )


def _pretraining(study, cited):
    """Return how the encoder was pretrained."""
    keys, name = study.pretrain, study.pretrain["dataset"]
    shape = f"{counted(keys['layers'], 'layer')} of {counted(keys['heads'], 'head')}"
    return (
        f"The encoder was a BERT [@devlin2019] shaped like Geneformer ({shape}, width "
        f"{number(keys['hidden'])}), pretrained on at most {counted(keys['max_cells'], 'cell')} of "
        f"{quoted(study.entries['datasets'][name], cited[name])} with "
        f"{percent(keys['mask_fraction'])} of the tokens masked "
        f"({counted(keys['epochs'], 'epoch')} of AdamW, learning rate "
        f"{number(keys['learning_rate'])}, linear warm-up over 10 % of steps and decay, "
        f"weight decay {number(keys['weight_decay'])}, batches of "
        f"{counted(keys['batch_size'], 'cell')}, {percent(keys['valid_fraction'])} for validation)"
    )


def schedule(options):
    """Return how the learning rate of a training rises and falls, in words."""
    steps, share = options["warmup_steps"], options["warmup_fraction"]
    if not steps or share == 0:
        return "linear decay"
    over = counted(steps, "step")
    if share is not None:
        over = f"{percent(share)} of steps, {number(steps)} at most,"
    return f"linear warm-up over {over} and decay"


def _optimiser(options):
    """Return the options of a training in words."""
    parts = [
        f"learning rate {number(options['learning_rate'])}",
        schedule(options),
        f"weight decay {number(options['weight_decay'])}",
        f"batches of {counted(options['batch_size'], 'cell')}",
    ]
    if options["attention_dropout"] is not None:
        rate = options["attention_dropout"]
        parts.append(f"attention dropout {number(rate)}" if rate else "no attention dropout")
    parts.append(f"gradients clipped at norm {number(options['max_grad_norm'])}")
    return ", ".join(parts)


def _own(study, regime):
    """Return in words what a regime's training has of its own, to follow its name."""
    options = study.options_of(regime["name"])
    same = {**study.finetune, "converge": None}
    differ = {k for k, value in options.items() if value != same[k]}
    parts = [converging(options)] if options["converge"] else []
    if "epochs" in differ:
        parts.append(counted(options["epochs"], "epoch"))
    if differ - {"epochs", "pooling", "converge", "keep_epoch"}:
        parts.append(_optimiser(options))
    if "keep_epoch" in differ and not options["converge"]:
        parts.append(kept_epoch(options))
    if "pooling" in differ and options["pooling"]:
        parts.append(f"by {READ[options['pooling']]}")
    return f": {', '.join(parts)}" if parts else ""


def readers(study, counts, cited):
    """Yield what else read the cells, how, and what its score of a gene is."""
    also = " also" if study.regimes else ""
    for name, reader in study.readers.items():
        unit = f" ({others_words(reader.unit)})" if reader.unit else ""
        yield (
            f"The cells were{also} read by {others_words(reader.title)}{cited['reader', name]}, "
            f"{name} in tables"
        )
        if reader.method:
            yield others_words(reader.method, LONGEST_METHOD)
        yield f"Its score of a gene is {others_words(reader.score)}{unit}"
        if not reader.random and is_random(study) and study.seeds[1:]:
            yield "It has no seed and was trained once per fold"


# Controls and baselines


def _control(regime, study, counts):
    """Return what makes a regime a control, in words."""
    parts = []
    if "encoder" in regime:
        parts.append("random first weights")
    if "labels" in regime:
        units = "wells" if counts.get("has_wells", True) else "cells"
        parts.append(f"labels permuted among {units}")
    if "tokens" in regime:
        section = study.tokens
        keys = {**section, **section["variants"][regime["tokens"]]}
        parts.append(drawn_words(keys) or "genes as ranked")
    if "split" in regime:
        parts.append("a split by cell")
    return listed(parts)


def _base(regime, study):
    """Return what a control repeats: the regime that it differs from by its control keys alone."""

    def bare(one):
        return {k: v for k, v in one.items() if k not in ("name", "tasks", *CONTROL_KEYS)}

    for other in study.regimes.values():
        if kind_of(other) != "control" and bare(other) == bare(regime):
            return other["name"]
    if "method" in regime:
        return f"a logistic regression on {FEATURES[regime['features']]}"
    if "finetuned" in regime:
        return "a classifier that others had fine-tuned"
    return f"training of {what_trains(regime)}{_own(study, regime)}"


def controls(study, counts, cited):
    """Yield the controls, probes and baselines, and how predictions were scored."""
    chosen = [regime for regime in study.regimes.values() if kind_of(regime) == "control"]
    groups = {}
    for regime in chosen:
        words = f"{_control(regime, study, counts)} ({regime['name']})"
        groups.setdefault(_base(regime, study), []).append(words)
    if groups:
        each = [f"{base} with {listed(words, 'or')}" for base, words in groups.items()]
        yield f"Controls repeated {'; and '.join(each)}"
    yield from _limited(study, chosen)
    probes = [
        f"{FEATURES[regime['features']]} ({regime['name']})"
        for regime in study.regimes.values()
        if kind_of(regime) == "probe"
    ]
    features = [*probes, "cell length", "the top-ranked gene", "genes present", "their ranks"]
    features += ["variable genes", "principal components", "counts at equal depth"]
    yield (
        "Baselines were the commonest class, gradient boosting, and logistic regressions on "
        f"{listed(features, 'or')}; test cells of all folds were pooled"
    )


def _limited(study, regimes):
    """Yield which controls were trained for some of the tasks alone."""
    names = study.tasks
    of_tasks = {}
    for regime in regimes:
        tasks = regime.get("tasks", study.tasks)
        if set(tasks) != set(names):
            of_tasks.setdefault(tuple(tasks), []).append(regime["name"])
    for tasks, some in of_tasks.items():
        rest = [regime["name"] for regime in regimes if regime["name"] not in some]
        who = f"The control {some[0]} was" if len(some) == 1 else f"Controls {listed(some)} were"
        if len(rest) < len(some) > 1:
            who = f"All but {listed(rest)} were" if rest else "These were"
        task = f"task {tasks[0]}" if len(tasks) == 1 else f"tasks {listed(tasks)}"
        yield f"{who} trained for {task} alone"


# Tasks of genes


def gene_tasks(study, counts, cited):
    """Yield how genes were classified, where a task asks for it."""
    tasks = study.gene_tasks
    if not tasks:
        return
    keys = study.gene_classification
    named = [
        f"{quoted(study.entries['gene_classes'][name], cited[name])}, task {task['name']}"
        for task in tasks
        for name in [task["gene_classes"]]
    ]
    yield (
        "Genes were classified as in Geneformer [@theodoris2023], by a linear layer on the last "
        f"hidden states of their tokens ({'; '.join(named)})"
    )
    cells = "all cells"
    if keys["max_cells"] is not None:
        cells = f"at most {counted(keys['max_cells'], 'cell')} per seed"
    yield (
        f"In {cells} that express a listed gene, training of {what_trains(keys)} took "
        f"{counted(keys['epochs'], 'epoch')} ({_optimiser(keys)})"
    )
    yield (
        f"Genes were held out in {counted(keys['folds'], 'fold')}, stratified by class, and scored "
        "by their mean probability over cells; controls were an encoder of random weights, "
        "permuted labels, and a logistic regression on detection and mean rank"
    )
    yield (
        "Areas under the ROC curve have 95 % intervals from "
        f"{counted(keys['n_bootstrap'], 'resample')} of the genes"
    )
