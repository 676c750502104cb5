"""What the rule file of a reader from outside may use.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keygenes.core.errors import input_error
from keygenes.core.readers import Reader
from keygenes.core.study import MAIN
from keygenes.core.study_files import StudyFiles


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
