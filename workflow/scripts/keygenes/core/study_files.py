"""Where the files of a study's models lie: paths of runs, of what they read and of what they make.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keygenes.core.errors import input_error
from keygenes.core.readers import Reader
from keygenes.core.runs import Run
from keygenes.core.study import MAIN, PRETRAINED, Study


@dataclass(frozen=True)
class StudyFiles:
    """Paths of a study's files.

    Attributes
    ----------
    study : Study
    model : dict {'weights', 'config': path}
        The pretrained model; empty where the study pretrains its own.
    """

    study: Study
    model: Mapping[str, str]

    def out(self, path: str) -> str:
        """Return a path in the study's results folder; {wildcards} stay."""
        return f"results/{self.study.name}/{path}"

    def base_model(self, part: str) -> str:
        """Return the path of the pretrained model's 'weights' or 'config'."""
        made = {"weights": "model.safetensors", "config": "config.json"}
        return self.model.get(part) or self.out(f"models/pretrained/{made[part]}")

    def gene_set(self, name: str) -> str:
        """Return the path of the table that says which genes of the study a gene set lists."""
        return self.out(f"evidence/gene_sets/{name}.parquet")

    def encoded(self, encoding: str) -> str:
        """Return the path of the cells' tokens in an encoding."""
        return self.out("tokens.parquet" if encoding == MAIN else f"tokens/{encoding}.parquet")

    def tokens_of(self, regime: str) -> str:
        """Return the path of the tokens that a regime (or 'pretrained') reads."""
        return self.encoded(self.study.encoding_of(regime))

    def readers(self) -> list["ReaderFiles"]:
        """Return what the rule file of each reader that was brought along may use."""
        return [ReaderFiles(self, reader) for reader in self.study.readers.values()]

    # Files of runs.

    def folder_of(self, run: Run) -> str:
        """Return the folder of a run: fold1.seed2; relabelled2.fold1.seed1/3: batch 2, place 3."""
        if not run.relabelling:
            return run.name
        batch, place = self.study.batch_of(run.relabelling)
        return f"{run._replace(relabelling=batch).name}/{place}"

    def run_file(self, kind: str, task: str, regime: str, run: Run | str, name: str) -> str:
        """Return the path of one file of a run."""
        folder = run if isinstance(run, str) else self.folder_of(run)
        return self.out(f"{kind}/{task}/{regime}/{folder}/{name}")

    def of_runs(self, kind: str, name: str, regimes: Iterable[str], task: str) -> list[str]:
        """Return the paths of one file for every run of some regimes, as `Study.runs` has them."""
        return [
            self.run_file(kind, task, regime, run, name)
            for regime in self.study.of_task(regimes, task)
            for run in self.study.runs_of(regime)
        ]

    def of_batch(self, path: str) -> list[str]:
        """Return the paths of a file of all runs of a batch, for outputs; wildcards stay."""
        folder, name = path.rsplit("/", 1)
        return [self.out(f"{folder}/{i + 1}/{name}") for i in range(self.study.per_job)]

    def of_primary(self, kind: str, name: str, regimes: Iterable[str] | None = None) -> list[str]:
        """Return the paths of one file of every run of the primary regime.

        With `regimes`, only where it is one of them.
        """
        primary = self.study.primary
        if not primary or (regimes is not None and primary["regime"] not in regimes):
            return []
        return [
            self.run_file(kind, primary["task"], primary["regime"], run, name)
            for run in self.study.primary_runs()
        ]

    def of_classifiers(self, name: str) -> list[str]:
        """Return the paths of one file of every classifier, as `Study.classifier_runs` has them."""
        return [
            self.run_file("models", task, regime, run, name)
            for task, regime, run in self.study.classifier_runs()
        ]

    # What a run reads.

    def splits_of(self, regime: str, task: str, run: Run) -> str:
        """Return the path of a run's splits: the fold's, those by cell, or of a relabelling."""
        if relabelling := self.study.relabelling_of(regime, run):
            return self.relabelled_cells(task, relabelling, run.fold, "splits")
        by_cell = "split" in self.study.regimes.get(regime, {})
        return self.out(f"cells/{'splits_random' if by_cell else 'splits'}/fold{run.fold}.parquet")

    def labels_of(self, regime: str, task: str, run: Run) -> str:
        """Return the path of what a run is told of the cells: their labels, or dealt ones."""
        if relabelling := self.study.relabelling_of(regime, run):
            return self.relabelled_cells(task, relabelling, run.fold, "labels")
        return self.out("cells/labels.parquet")

    def relabelled_cells(self, task: str, relabelling: int, fold: int, table: str) -> str:
        """Return the path of the labels or splits of one relabelling."""
        batch, place = self.study.batch_of(relabelling)
        return self.out(f"cells/relabelled/{task}/{batch}.fold{fold}/{place}/{table}.parquet")

    # What a run makes.

    def weights_of(self, regime: str, task: str, run: Run | str) -> str:
        """Return the path of a run's weights; 'pretrained' is the base model."""
        if regime == PRETRAINED:
            return self.base_model("weights")
        return self.run_file("models", task, regime, run, "model.safetensors")

    def config_of(self, regime: str, task: str, run: Run | str) -> str:
        """Return the path of the config.json that goes with `weights_of`."""
        if regime == PRETRAINED:
            return self.base_model("config")
        return self.run_file("models", task, regime, run, "config.json")

    def by_rank_of(self, regime: str, task: str, run: Run | str) -> str:
        """Return the path of a run's attention per rank."""
        return self.run_file("attention", task, regime, run, "by_rank.parquet")

    def by_well_of(self, regime: str, task: str, run: Run | str) -> str:
        """Return the path of a run's attention per well."""
        return self.run_file("attention", task, regime, run, "by_well.parquet")


class ReaderOptions(dict[str, Any]):
    """The options of a reader from outside; one that is missing is named with its config key."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._name = name

    def __missing__(self, key: str) -> Any:
        raise input_error(
            f"config key 'readers.{self._name}.options.{key}'",
            found="nothing",
            expected="the option, which the rule file of the reader asks for",
            remedy="add it",
        )


class ReaderFiles:
    """What the rule file of a reader from outside may use (docs/extending.md).

    Attributes
    ----------
    name : str
    options : dict
    rules : str
        Its own path.
    files : list of str
        Of the config.
    counts, labels, splits, vocabulary, tokens : str
        What it reads. The path of the splits has the wildcard {fold}.
    folder : str
        For files of its own, with the wildcards {task}, {fold} and {seed}.
    predictions, scores : str
        What it makes, there.
    log, benchmark : str
        With the same wildcards.
    """

    def __init__(self, files: StudyFiles, reader: Reader) -> None:
        run = f"{reader.name}/{{task}}/fold{{fold}}.seed{{seed}}"
        dotted = run.replace("/", ".")
        self.name, self.files = reader.name, reader.files
        self.options = ReaderOptions(reader.name, reader.options)
        self.rules = str(Path(reader.rules).resolve())
        self.counts = files.out("cells/counts.h5ad")
        self.labels = files.out("cells/labels.parquet")
        self.splits = files.out("cells/splits/fold{fold}.parquet")
        self.vocabulary = files.out("vocabulary.parquet")
        self.tokens = files.encoded(MAIN)
        self.folder = files.out(f"readers/{run}")
        self.predictions = f"{self.folder}/predictions.tsv"
        self.scores = f"{self.folder}/scores.tsv"
        self.log = files.out(f"logs/{dotted}.log")
        self.benchmark = files.out(f"benchmarks/{dotted}.tsv")

    def __getattr__(self, name: str) -> Any:
        there = ", ".join(key for key in vars(self) if not key.startswith("_"))
        raise AttributeError(f"READER has no '{name}'; it has {there}")

    def check_made(self, made: Iterable[str]) -> None:
        """Raise an `InputError` where no rule makes the tables of the reader.

        Parameters
        ----------
        made : iterable of str
            Outputs of the rules that there are, with their wildcards.
        """
        made = {re.sub(r"\{(\w+),[^{}]*\}", r"{\1}", path) for path in made}  # constraints
        for table in ("predictions", "scores"):
            if getattr(self, table) not in made:
                raise input_error(
                    self.rules,
                    found=f"no rule that makes READER.{table}",
                    expected="one with READER.predictions and READER.scores among its output",
                    remedy="add it to the output of a rule",
                )
