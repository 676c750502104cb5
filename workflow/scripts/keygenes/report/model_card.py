"""A card for every classifier of a study, and its vocabulary beside it: a folder to hand on.

The folders are as transformers reads them already (config.json, model.safetensors); nothing is
copied but the vocabulary, without which the tokens mean nothing.
"""

import os
import re
from pathlib import Path

import jinja2
import yaml

from keygenes import __version__
from keygenes.core.files import read_json, write_text
from keygenes.core.runs import run_named
from keygenes.core.shown import printable
from keygenes.core.tables import read_table, write_tsv
from keygenes.report.gene_export import simulated_note
from keygenes.report.methods_cells import drawn_words
from keygenes.report.methods_models import converging, kept_epoch, schedule, what_trains
from keygenes.report.summaries import covered, not_learnt
from keygenes.report.wording import number, plural

TEMPLATE = Path(__file__).resolve().with_suffix(".md")  # read by its rule as an input
HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/")
HUB_LICENCE = re.compile(r"(apache|mit|bsd|cc|gpl|lgpl|agpl|mpl|afl|ecl)(-[a-z0-9.]+)*")
CONTROLS = {  # keys of a regime that make a control of it
    "labels": "it was trained on permuted labels, which mean nothing, and is tested on such.",
    "encoder": "its encoder started at random, without pretraining.",
    "tokens": "it reads cells that were changed on purpose.",
    "split": "it was trained on cells of the wells that test it.",
}
POOLINGS = {
    "first": "position 0",
    "cls": "position 0, the token <cls>",
    "mean": "the mean over the genes of a cell",
}


def hub_repository(entry):
    """Return the repository ('owner/name') that a model's files come from, or None."""
    urls = [spec.get("url", "") for spec in entry.get("files", {}).values()]
    found = {match[1] for url in urls if (match := HUB.match(url))}
    return found.pop() if len(found) == 1 else None


def front_matter(base, simulated):
    """Return what the head of a card tells machines, as YAML.

    No `pipeline_tag`: cells are no text, and there is no tokenizer to run.

    Parameters
    ----------
    base : dict
        Registry entry of the pretrained model; empty where there is none.
    simulated : str or bool
    """
    tags = ["biology", "single-cell", "gene-expression", "keygenes"]
    tags += ["simulated-data"] if simulated else []
    head = {"library_name": "transformers", "tags": tags}
    if repository := hub_repository(base):
        head["base_model"] = repository
    if licence := base.get("licence"):
        known = HUB_LICENCE.fullmatch(licence.lower().replace(" ", "-"))
        head |= {"license": known[0]} if known else {"license": "other", "license_name": licence}
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def accuracies(metrics, regime, run):
    """Return the test accuracy of a model, of its regime over all folds, of the commonest class.

    Parameters
    ----------
    metrics : table 'metrics' of the task
    regime : str
    run : core.runs.Run

    Returns
    -------
    list of dict
        name, value, ci_low, ci_high, n_cells, n_units, unit, covered (what the interval is over);
        the first is the model's.
    """
    rows = metrics[(metrics["metric"] == "accuracy") & (metrics["split"] == "test")]
    rows = rows.astype({"regime": object, "design": object})
    design = rows.loc[rows["regime"] == regime, "design"].iloc[0]
    rows = rows[rows["design"] == design]
    own = (rows["fold"] == run.fold) & (rows["seed"] == run.seed)
    of_fold = (rows["fold"] == run.fold) & rows["seed"].isna()
    every = rows["fold"].isna() & rows["seed"].isna()
    wanted = {
        f"this model ({run.name})": (regime, own),
        f"always the commonest class, fold {run.fold}": ("majority", of_fold),
        f"`{regime}`, all models": (regime, every),
        "always the commonest class, all folds": ("majority", every),
    }
    found = []
    for name, (of, chosen) in wanted.items():
        row = rows[chosen.fillna(False) & (rows["regime"] == of)].iloc[0]
        found.append({"name": name, **row.to_dict(), "covered": covered(row)})
    return found


def origin(regime, base, finetuned, pretrained):
    """Return the sentence that says where the weights come from.

    Parameters
    ----------
    regime : dict
        As the config has it.
    base : dict
        Registry entry of the pretrained model; empty where the study pretrained one itself.
    finetuned : dict or None
        Registry entry of a classifier that was brought along.
    pretrained : str or None
        Path of the encoder that the study pretrained, from the folder of the card.
    """
    if finetuned:
        return f"It was fine-tuned elsewhere: {printable(finetuned['title'])}."
    if "encoder" in regime:
        return "All of it started at random."
    if base:
        return f"It started from {printable(base['title'])}."
    return f"It started from an encoder that the study pretrained itself (`{pretrained}/`)."


def training(options, config):
    """Return what was used of the options of a training, as (what, how) in words.

    Parameters
    ----------
    options : dict
        Of the config. An attention dropout that is null was the encoder's own.
    config : dict
        Config of the trained model, which has the dropouts that it was trained with.
    """
    own = options["attention_dropout"] is None
    dropout = number(float(config["attention_probs_dropout_prob"]))
    return [
        ("epochs", converging(options) or f"{number(options['epochs'])}; {kept_epoch(options)}"),
        ("batch", plural(options["batch_size"], "cell")),
        ("optimiser", f"AdamW, weight decay {number(options['weight_decay'])}"),
        ("learning rate", f"{number(options['learning_rate'])}, {schedule(options)}"),
        ("gradients", f"clipped at norm {number(options['max_grad_norm'])}"),
        ("attention dropout", f"{dropout}{', as in the encoder' if own else ''}"),
    ]


def model_card(
    *,
    study,
    task,
    regime,
    run,
    config,
    loading,
    predictions,
    metrics,
    entry,
    patterns,
    options,
    finetuned,
    base,
    pretrained,
    dataset,
    held_out,
    encoding,
    tokens,
    room,
    framed,
    simulated,
):
    """Return the model card of one classifier, as Markdown.

    Parameters
    ----------
    run : str
        Name of its run, as of its folder: fold1.seed2.
    config, loading : dict
        Its config.json and loading.json.
    predictions, metrics : tables of the model and of the task
    entry : dict
        The regime as the config has it.
    patterns : list of str or None
        Of the parameters that trained; None: taken over.
    options : dict
        Of training.
    finetuned, base, pretrained
        See `origin`.
    dataset : dict
        Its registry entry.
    held_out : str
        What was held out whole: well, replicate or cell.
    encoding : dict or None
        The variant of the tokens that the regime reads.
    tokens : str
        Path of the tokens it reads, from its folder.
    room : int
        Genes per cell.
    framed : bool
        Whether special tokens stand around a cell.
    simulated : str or bool
    """
    run = run_named(run)
    pooling = config.get("classifier_pooling", "first")
    page = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    page.filters["count"] = number
    template = page.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        front_matter=front_matter({} if finetuned or "encoder" in entry else base, simulated),
        title=f"{study}: {task} by {regime}, fold {run.fold}, seed {run.seed}",
        simulated_note=simulated_note(simulated) if simulated else "",
        controls=[said for key, said in CONTROLS.items() if key in entry],
        study=study,
        task=task,
        regime=regime,
        run=run,
        version=__version__,
        origin=origin(entry, base, finetuned, pretrained),
        brought=finetuned is not None,
        config=config,
        parameters=loading["parameters"],
        pooling=POOLINGS[pooling],
        mean_pooling=pooling == "mean",
        classes=sorted((int(i), printable(name)) for i, name in config["id2label"].items()),
        patterns=patterns,
        trained=what_trains(entry) if patterns else "",
        options=training(options, config) if patterns else [],
        dataset={
            key: printable(dataset.get(key, default))
            for key, default in (("title", ""), ("licence", "not known"), ("citation", ""))
        },
        n=predictions["split"].astype(str).value_counts().to_dict(),
        held_out=held_out,
        accuracies=accuracies(metrics, regime, run),
        not_learnt=not_learnt(metrics, regime),
        tokens=tokens,
        room=room,
        framed=framed,
        variant=drawn_words(encoding) if encoding else "",
    )


def write_model_cards(
    *,
    models,
    metrics,
    splits,
    vocabulary,
    study,
    regimes,
    base,
    pretrained,
    dataset,
    max_length,
    simulated,
):
    """Write README.md and vocabulary.tsv into the folder of every classifier.

    Parameters
    ----------
    models : list of dict
        task, regime, run (its name), and paths: config, loading, predictions, card, vocabulary.
    metrics : dict {task: path}
    splits, vocabulary : path-like
    regimes : dict {regime: dict}
        entry, patterns, options, finetuned and encoding (see `model_card`); tokens, a path.
    base, dataset : dict
        Registry entries.
    pretrained : path-like or None
        Folder of the encoder that the study pretrained itself.
    max_length : int
        Tokens per cell.
    """
    table = read_table(vocabulary)
    specials = int(table["ensembl_id"].isin(["<cls>", "<eos>"]).sum())
    metrics = {task: read_table(path) for task, path in metrics.items()}
    units = read_table(splits)["unit"].astype(str)
    for model in models:
        task, regime = model["task"], model["regime"]
        how, folder = dict(regimes[regime]), Path(model["card"]).parent
        tokens = os.path.relpath(how.pop("tokens"), folder)
        encoder = pretrained and Path(os.path.relpath(pretrained, folder)).as_posix()
        card = model_card(
            study=study,
            task=task,
            regime=regime,
            run=model["run"],
            config=read_json(model["config"]),
            loading=read_json(model["loading"]),
            predictions=read_table(model["predictions"]),
            metrics=metrics[task],
            **how,
            base=base,
            pretrained=encoder,
            dataset=dataset,
            held_out="cell" if "split" in how["entry"] else units.iloc[0],
            tokens=Path(tokens).as_posix(),
            room=max_length - specials,
            framed=specials > 0,
            simulated=simulated,
        )
        write_text(card, model["card"])
        write_tsv(table[["token", "ensembl_id", "median"]], model["vocabulary"], digits=17)
