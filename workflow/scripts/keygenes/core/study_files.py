"""Where the files of a study's models lie: paths of runs, of what they read and of what they make.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keygenes.core.runs import Run, run_named
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

    # Relabelled models share jobs: so many are dealt, trained and looked at by each.

    @property
    def per_job(self) -> int:
        """Relabellings that share a job."""
        return self.study.evidence["relabellings_per_job"] if self.study.relabellings else 1

    def batch_of(self, relabelling: int) -> tuple[int, int]:
        """Return the batch of a relabelling, and its place there, both from 1 on."""
        batch, place = divmod(relabelling - 1, self.per_job)
        return batch + 1, place + 1

    def relabellings_of(self, batch: int) -> list[int]:
        """Return the numbers of the relabellings of a batch; of batch 0, which deals none, none."""
        first = self.per_job * (batch - 1) + 1
        return list(range(first, first + self.per_job)) if batch else []

    def runs_of_job(self, name: str) -> list[Run]:
        """Return the runs that share a job: that of the name, or of its number the relabellings."""
        job = run_named(name)
        return [job._replace(relabelling=b) for b in self.relabellings_of(job.relabelling)] or [job]

    # Files of runs.

    def folder_of(self, run: Run) -> str:
        """Return the folder of a run: fold1.seed2; relabelled2.fold1.seed1/3: batch 2, place 3."""
        if not run.relabelling:
            return run.name
        batch, place = self.batch_of(run.relabelling)
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

    def gene_tables(
        self, name: str, task: str, models: Iterable[str] | None = None
    ) -> dict[tuple[str | None, int, int], str]:
        """Return {(model, fold, seed): path} of a table of genes, 'by_gene' or 'by_well'.

        Of all models whose attention is looked at, or of some. The one in question is always among
        them: where it has none, the genes of its cells are counted without it (`count_genes`).
        """
        study = self.study
        found: dict[tuple[str | None, int, int], str] = {}
        for model in study.attended if models is None else models:
            if model in study.of_task(study.attended, task):
                for run in study.runs_of(model):
                    path = self.run_file("attention", task, model, run, f"{name}.parquet")
                    found[model, run.fold, run.seed] = path
        if not study.main_attended:
            for fold in study.folds:
                path = self.out(f"evidence/{task}/counted/fold{fold}.{name}.parquet")
                found[study.main, fold, study.seeds[0]] = path
        return found

    def of_batch(self, path: str) -> list[str]:
        """Return the paths of a file of all runs of a batch, for outputs; wildcards stay."""
        folder, name = path.rsplit("/", 1)
        return [self.out(f"{folder}/{i + 1}/{name}") for i in range(self.per_job)]

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
        batch, place = self.batch_of(relabelling)
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
