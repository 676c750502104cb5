"""A study: what a checked config and the registry entries it uses come to, derived once.

Rules ask a `Study`; scripts and the report are handed what they need of it. Imported while
Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from keygenes.core.files import digest_of
from keygenes.core.parts import embeddings_train
from keygenes.core.readers import Reader, brought_readers, reader_in_question, reads_encoder
from keygenes.core.regimes import counterpart, finetune_options, trained_patterns
from keygenes.core.runs import Run, run_named
from keygenes.core.tasks import cell_tasks, gene_tasks

Section = dict[str, Any]
GENE_MODELS = ("pretrained", "random_encoder", "shuffled_labels", "logistic")  # and its controls
PRETRAINED = "pretrained"  # the base model, beside the regimes that start from it
MAIN = "main"  # the tokens as they are, beside the variants


@dataclass(frozen=True)
class Study:
    """What a study is made of.

    Attributes
    ----------
    name, dataset, model : str
        The latter two as the registries call them; model may be 'pretrain'.
    cell_tasks, gene_tasks : list of dict
        As the config has them.
    folds, seeds : list of int
    regimes : dict {name: entry}
        Models that are trained or taken over, in the config's order; none where no encoder reads.
    readers : dict {name: Reader}
        Those that were brought along.
    main : str or None
        The regime or reader in question.
    select, split, expression, tokens, pretrain, finetune, attention, evidence, gene_classification,
    compute : Section
        The options of a stage, with every default.
    entries : dict
        Registry entries that the study uses, of `core.resolve.resolve`.
    claims : dict or None
        title and source of the claims file.
    """

    name: str
    dataset: str
    model: str
    cell_tasks: list[Section]
    gene_tasks: list[Section]
    folds: list[int]
    seeds: list[int]
    regimes: dict[str, Section]
    readers: dict[str, Reader]
    main: str | None
    select: Section
    split: Section
    expression: Section
    tokens: Section
    pretrain: Section
    finetune: Section
    attention: Section
    evidence: Section
    gene_classification: Section
    compute: Section
    entries: Section
    claims: Section | None

    @classmethod
    def of(cls, config: Section, entries: Section, claims: Section | None = None) -> "Study":
        """Return the study of a checked config."""
        encoder = reads_encoder(config)
        derived = {
            "name": config["study"],
            "cell_tasks": cell_tasks(config),
            "gene_tasks": gene_tasks(config),
            "regimes": {r["name"]: r for r in config["regimes"] if encoder},
            "readers": brought_readers(config),
            "main": reader_in_question(config),
            "entries": entries,
            "claims": {k: claims[k] for k in ("title", "source")} if claims and encoder else None,
        }
        names = (field.name for field in fields(cls))
        return cls(**{n: derived[n] if n in derived else config[n] for n in names})

    # Tasks and data.

    @cached_property
    def tasks(self) -> list[str]:
        """Names of the tasks of cells."""
        return [task["name"] for task in self.cell_tasks]

    @cached_property
    def gene_classes(self) -> dict[str, str]:
        """{task of genes: its list of classes}."""
        return {task["name"]: task["gene_classes"] for task in self.gene_tasks}

    @cached_property
    def dataset_title(self) -> str:
        """What the registry calls the cells."""
        return self.entries["datasets"][self.dataset]["title"]

    @cached_property
    def model_title(self) -> str:
        """What the encoder is called."""
        model = self.entries["model"]
        return model["title"] if model else "a small encoder, pretrained here,"

    @cached_property
    def members(self) -> list[Section]:
        """Registry entries of the datasets that the cells come from."""
        datasets = self.entries["datasets"]
        names = datasets[self.dataset].get("combine") or [self.dataset]
        return [datasets[name] for name in names]

    @cached_property
    def simulated(self) -> bool | str:
        """What of the cells is simulated; False where they are real."""
        return next((m["simulated"] for m in self.members if m.get("simulated")), False)

    def has_columns(self, *columns: str) -> bool:
        """Return whether the cells have any of these columns; those of sci-Plex have all."""
        return any(
            entry["layout"] in ("kaggle", "geo")
            or (entry["layout"] == "scperturb" and "dose_factor" in entry)
            or bool(set(columns) & set(entry.get("columns", {})))
            for entry in self.members
        )

    @cached_property
    def designs(self) -> dict[str, str]:
        """How baselines have test cells held out, {design: folder of the splits}.

        grouped: as split.by says; random: cell by cell, unless grouped is that already.
        """
        found = {"grouped": "cells/splits", "random": "cells/splits_random"}
        if self.split["by"] == "random" or not self.has_columns("well", "replicate"):
            del found["random"]
        return found

    # Models.

    @cached_property
    def logistic(self) -> list[str]:
        """Regimes that are a logistic regression."""
        return [name for name, regime in self.regimes.items() if regime.get("method") == "logistic"]

    @cached_property
    def brought(self) -> list[str]:
        """Regimes that are classifiers fine-tuned elsewhere."""
        return [name for name, regime in self.regimes.items() if "finetuned" in regime]

    @cached_property
    def finetuned(self) -> list[str]:
        """Regimes that are fine-tuned here."""
        return [name for name in self.regimes if name not in (*self.logistic, *self.brought)]

    @cached_property
    def classifiers(self) -> list[str]:
        """Regimes whose model transformers reads."""
        return [*self.finetuned, *self.brought]

    @cached_property
    def trained(self) -> dict[str, list[str]]:
        """{fine-tuned regime: patterns of the parameters it trains}."""
        return {name: trained_patterns(self.regimes[name]) for name in self.finetuned}

    def options_of(self, regime: str) -> Section:
        """Return the options that a regime is fine-tuned with."""
        return finetune_options(self.finetune, self.regimes[regime])

    @cached_property
    def still(self) -> list[str]:
        """Regimes whose frozen layers need computing only once."""
        cached = self.finetune["cache"]
        return [n for n in self.finetuned if cached and not embeddings_train(self.trained[n])]

    @cached_property
    def trunk_of(self) -> dict[str, str]:
        """{regime: digest of what its frozen layers make of the cells}, where others may share it.

        Random weights are another model's with every seed.
        """
        shared = [name for name in self.still if "encoder" not in self.regimes[name]]
        return {name: digest_of(self._trunk(name))[:12] for name in shared}

    @cached_property
    def trunks(self) -> dict[str, Section]:
        """{digest: what frozen layers depend on besides the pretrained weights}."""
        return {digest: self._trunk(name) for name, digest in self.trunk_of.items()}

    def _trunk(self, name: str) -> Section:
        return {
            "patterns": self.trained[name],
            "pooling": self.options_of(name)["pooling"],
            "tokens": self.encoding_of(name),
        }

    def encoding_of(self, regime: str) -> str:
        """Return the encoding of the cells that a regime (or 'pretrained') reads."""
        return self.regimes.get(regime, {}).get("tokens", MAIN)

    @cached_property
    def encodings(self) -> list[str]:
        """'main' and the variants."""
        return [MAIN, *self.tokens["variants"]]

    @cached_property
    def by_cell(self) -> dict[str, str]:
        """{regime split by cell: the same regime with whole wells held out}."""
        found = {name: counterpart(name, self.regimes, "split") for name in self.regimes}
        return {name: other for name, other in found.items() if other}

    def of_task(self, regimes: Iterable[str], task: str) -> list[str]:
        """Return those of some regimes that a task has; every task has 'pretrained'."""
        if task in self.gene_classes:  # these have models of their own
            return list(regimes)
        return [
            name
            for name in regimes
            if name == PRETRAINED
            or name in self.readers
            or task in self.regimes.get(name, {}).get("tasks", self.tasks)
        ]

    def counterpart_of(self, regime: str, task: str) -> str | None:
        """Return the regime of a task that differs from another by its tokens alone, or None."""
        other = counterpart(regime, self.regimes, "tokens")
        return other if other and self.of_task([other], task) else None

    # What is asked of the models.

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of models whose attention is compared."""
        return [(a, b) for a, b in self.attention["pairs"] if self.regimes]

    @cached_property
    def paired_tasks(self) -> list[str]:
        """Tasks of cells with models whose attention is compared."""
        return [t for t in self.tasks if any(self.pairs_of(t, e) for e in self.encodings)]

    @cached_property
    def attended(self) -> list[str]:
        """Models whose attention is looked at.

        A split by cell leaves other test cells, which no one is compared on.
        """
        found = [name for name in self.classifiers if "split" not in self.regimes[name]]
        asked = [self.main, *(name for pair in self.pairs for name in pair)]
        return found + [PRETRAINED] * (PRETRAINED in asked)

    @cached_property
    def attributed(self) -> list[str]:
        """Regimes whose predictions are attributed to genes."""
        return [name for name in self.classifiers if name in self.evidence["regimes"]]

    @cached_property
    def main_attended(self) -> bool:
        """Whether the regime in question has attention to look at."""
        return self.main in self.attended

    @cached_property
    def leading_track(self) -> str:
        """The track by which genes are listed first: the thesis's measure where there is one."""
        if self.main_attended:
            return "attention_total"
        return self.main if self.main in self.readers else "wilcoxon"

    @cached_property
    def predicting(self) -> list[str]:
        """Regimes and readers: whatever predicts, but for the baselines."""
        return [*self.regimes, *self.readers]

    @cached_property
    def controls(self) -> list[str]:
        """Attended models that cannot know which genes tell the classes apart."""
        keys = {"labels", "encoder"}
        return [name for name in self.attended if keys & set(self.regimes.get(name, {}))]

    @cached_property
    def gene_sets(self) -> list[str]:
        """Gene sets that tracks are held against, the primary one first."""
        return list(self.evidence["gene_sets"])

    @cached_property
    def primary(self) -> Section | None:
        """The confirmatory test; without a gene set there is no verdict on genes, and None."""
        named = self.evidence["primary"] if self.regimes else None
        return named if named and named["gene_set"] else None

    @cached_property
    def primary_task(self) -> str:
        """The task of the primary test; 'none', which no one asks for, without it."""
        return self.primary["task"] if self.primary else "none"

    @cached_property
    def relabellings(self) -> range:
        """Numbers of the relabellings that models of the primary test's regime learn from."""
        asked = self.primary and self.primary["regime"] in self.finetuned
        return range(1, self.evidence["permutations"] + 1) if asked else range(0)

    def pairs_of(self, task: str, encoding: str) -> list[tuple[str, str]]:
        """Return the pairs of models of a task that read an encoding."""
        return [
            pair
            for pair in self.pairs
            if self.of_task(pair, task) == list(pair)
            and all(self.encoding_of(name) == encoding for name in pair)
        ]

    def compared(self, task: str, encoding: str) -> list[str]:
        """Return the models that some pair of a task and encoding names, each once."""
        return list(dict.fromkeys(n for pair in self.pairs_of(task, encoding) for n in pair))

    def corrected_pairs(self, task: str) -> list[tuple[str, str]]:
        """Return the pairs of a task shown before and after correction for length.

        They are the first on the study's tokens, and the first on each variant of equally long
        cells.
        """
        variants = self.tokens["variants"]
        encodings = [MAIN, *(name for name, v in variants.items() if v.get("length"))]
        return [pair for encoding in encodings for pair in self.pairs_of(task, encoding)[:1]]

    def on_variants(self, task: str) -> list[str]:
        """Return the regimes of a task that read a variant of the tokens, with counterparts."""
        found = []
        for name in self.of_task(self.attended, task):
            if self.encoding_of(name) != MAIN:
                found += [self.counterpart_of(name, task), name]
        return [name for name in dict.fromkeys(found) if name]

    def pairs_on_variants(self, task: str) -> list[list[Any]]:
        """Return the pairs of each variant, with the same pair on the main tokens or None."""
        found = []
        for encoding in self.tokens["variants"]:
            for pair in self.pairs_of(task, encoding):
                main = tuple(self.counterpart_of(name, task) for name in pair)
                found.append([pair, main if main in self.pairs else None])
        return found

    # Runs: every fold with every seed.

    def runs_of(self, regime: str) -> list[Run]:
        """Return the runs of a regime or reader: of one seed where nothing is left to chance."""
        trained = regime in self.finetuned or regime in self.readers and self.readers[regime].random
        seeds = self.seeds if trained else self.seeds[:1]
        return [Run(fold, seed) for fold in self.folds for seed in seeds]

    def runs(self, regimes: Iterable[str], task: str) -> list[list[Any]]:
        """Return [regime, fold, seed] of those of some regimes that a task has."""
        return [
            [regime, run.fold, run.seed]
            for regime in self.of_task(regimes, task)
            for run in self.runs_of(regime)
        ]

    def run_for(self, regime: str, run: Run | str) -> Run:
        """Return a regime's own run beside that of another: its fold, and a seed that it has."""
        run = run_named(run) if isinstance(run, str) else run
        return run if run in self.runs_of(regime) else run._replace(seed=self.seeds[0])

    def run_before(self, run: Run | str) -> Run | None:
        """Return the run that another one is held against, or None: nothing but chance differs.

        The fold's seed before; where there is one seed, the fold before.
        """
        run = run_named(run) if isinstance(run, str) else run
        key, among = ("seed", self.seeds) if len(self.seeds) > 1 else ("fold", self.folds)
        at = among.index(getattr(run, key))
        return run._replace(**{key: among[at - 1]}) if at else None

    def classifier_runs(self) -> list[tuple[str, str, str]]:
        """Return (task, regime, run) of every classifier that transformers reads, as names."""
        return [
            (task, regime, run.name)
            for task in self.tasks
            for regime in self.of_task(self.classifiers, task)
            for run in self.runs_of(regime)
        ]

    def primary_runs(self) -> list[Run]:
        """Return every run of the primary regime: on the labels as they are, then on dealt ones."""
        if not self.primary:
            return []
        dealt = [Run(fold, self.seeds[0], b) for b in self.relabellings for fold in self.folds]
        return [*self.runs_of(self.primary["regime"]), *dealt]

    def relabelling_of(self, regime: str, run: Run) -> int:
        """Return the relabelling that a run learns from, or 0: the labels as they are."""
        dealt = "labels" in self.regimes.get(regime, {})
        return run.relabelling or (self.seeds.index(run.seed) + 1 if dealt else 0)
