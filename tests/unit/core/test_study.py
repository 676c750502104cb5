import pytest
from messages import assert_sentence
from running import laid_over
from study_configs import STUDIES, record_of, study

from keygenes.core.errors import InputError
from keygenes.core.reader_files import ReaderFiles
from keygenes.core.runs import Run
from keygenes.core.study_files import StudyFiles


@pytest.fixture(autouse=True)
def _here(repository, monkeypatch):
    monkeypatch.chdir(repository)


@pytest.mark.parametrize("name", STUDIES)
def test_every_regime_has_one_kind_and_its_runs(name):
    record = record_of(study(name))
    kinds = [*record.finetuned, *record.brought, *record.logistic]
    assert sorted(kinds) == sorted(record.regimes) and len(set(kinds)) == len(kinds)
    for regime in record.regimes:
        seeds = record.seeds if regime in record.finetuned else record.seeds[:1]
        assert record.runs_of(regime) == [Run(f, s) for f in record.folds for s in seeds]
    assert set(record.trunk_of.values()) == set(record.trunks)


def test_the_study_of_the_thesis():
    record = record_of(study("config"))
    assert (
        record.main == "full" and record.main_attended and record.leading_track == "attention_total"
    )
    assert record.paired_tasks == record.tasks == ["dose", "level"]
    assert record.by_cell == {"full_random_split": "full"}
    assert "full_random_split" not in record.attended and "pretrained" in record.attended
    assert record.controls == ["random_encoder", "random_frozen", "permuted_labels"]
    assert record.counterpart_of("full_equal_length", "level") == "full"
    assert record.counterpart_of("full", "level") is None
    assert record.pairs_on_variants("level") == [
        [("full_equal_length", "frozen_equal_length"), ("full", "frozen")]
    ]
    assert StudyFiles(record, {}).runs_of_job("relabelled2.fold1.seed1") == [Run(1, 1, 2)]
    assert record.run_before("fold2.seed2") == Run(2, 1)
    assert record.run_before("fold2.seed1") is None
    assert record.run_for("linear_probe", "fold2.seed3") == Run(2, 1)


def test_relabellings_share_jobs_and_folders():
    changed = {"evidence": {"permutations": 20, "relabellings_per_job": 5}}
    record = record_of(laid_over(study("config"), changed))
    files = StudyFiles(record, {})
    assert [files.batch_of(b) for b in (1, 5, 6, 20)] == [(1, 1), (1, 5), (2, 1), (4, 5)]
    assert files.relabellings_of(2) == [6, 7, 8, 9, 10]
    assert files.folder_of(Run(3, 1, 7)) == "relabelled2.fold3.seed1/2"
    assert files.folder_of(Run(3, 2)) == "fold3.seed2"
    of_batch = files.of_batch("models/level/full/relabelled2.fold3.seed1/x")
    assert of_batch[1] == files.run_file("models", "level", "full", Run(3, 1, 7), "x")
    assert len(record.primary_runs()) == 3 * 3 + 20 * 3


def test_what_a_run_reads_follows_from_its_regime():
    record = record_of(study("config"))
    files = StudyFiles(record, {})
    run = Run(2, 3)
    assert files.splits_of("full", "level", run).endswith("cells/splits/fold2.parquet")
    assert "splits_random" in files.splits_of("full_random_split", "level", run)
    assert "relabelled/level/3.fold2" in files.labels_of("permuted_labels", "level", run)
    assert files.tokens_of("shuffled_order").endswith("tokens/shuffled.parquet")
    assert files.weights_of("pretrained", "level", run).endswith("pretrained/model.safetensors")
    brought = StudyFiles(record, {"weights": "w", "config": "c"})
    assert brought.weights_of("pretrained", "level", run) == "w"


FOREST = {"name": "forest", "rules": "README.md", "title": "a forest", "score": "impurity"}


@pytest.mark.parametrize(
    ("changed", "main", "leading"),
    [
        ({"readers": []}, None, "wilcoxon"),
        ({"regimes": []}, None, "wilcoxon"),
        ({"readers": [FOREST]}, "forest", "forest"),
        ({"readers": ["geneformer", FOREST], "regimes": []}, "forest", "forest"),
    ],
)
def test_without_an_encoder_nothing_is_asked_of_one(changed, main, leading):
    record = record_of(laid_over(study("config"), changed))
    assert (record.main, record.leading_track, record.main_attended) == (main, leading, False)
    assert not (record.regimes or record.pairs or record.attended or record.attributed)
    assert record.primary is None and record.claims is None and not record.relabellings
    assert record.paired_tasks == [] and record.primary_runs() == []


def test_a_reader_stands_beside_the_encoder():
    changed = {"readers": ["geneformer", FOREST, {**FOREST, "name": "once", "random": False}]}
    record = record_of(laid_over(study("config"), changed))
    assert record.main == "full" and list(record.readers) == ["forest", "once"]
    assert record.predicting == [*record.regimes, "forest", "once"]
    assert record.of_task(record.predicting, "dose")[-2:] == ["forest", "once"]
    assert len(record.runs_of("forest")) == 9 and len(record.runs_of("once")) == 3
    files = StudyFiles(record, {})
    forest, once = (ReaderFiles(files, reader) for reader in record.readers.values())
    assert forest.name == "forest" and forest.predictions != once.predictions
    filled = forest.scores.format(task="level", fold=2, seed=3)
    assert filled.endswith("readers/forest/level/fold2.seed3/scores.tsv")


def test_a_study_may_compare_no_models():
    record = record_of(laid_over(study("config"), {"attention": {"pairs": []}}))
    assert record.main_attended and record.paired_tasks == [] and "full" in record.attended
    assert "pretrained" not in record.attended


def test_what_a_rule_file_asks_in_vain_is_named():
    record = record_of(laid_over(study("config"), {"readers": [FOREST]}))
    reader = ReaderFiles(StudyFiles(record, {}), record.readers["forest"])
    with pytest.raises(InputError) as error:
        reader.options["trees"]
    assert_sentence(error, "'readers.forest.options.trees'")
    with pytest.raises(AttributeError, match="'label'.*labels"):
        _ = reader.label
    reader.check_made([reader.predictions, reader.scores])
    with pytest.raises(InputError) as error:
        reader.check_made([reader.predictions])
    assert_sentence(error, "README.md", "READER.scores")


def test_genes_of_the_model_in_question_are_counted_where_it_has_no_attention():
    files = StudyFiles(record_of(study("config")), {})
    found = files.gene_tables("by_gene", "dose")
    assert {model for model, _, _ in found} == set(
        files.study.of_task(files.study.attended, "dose")
    )
    assert all("/attention/dose/" in path for path in found.values())
    assert {m for m, _, _ in files.gene_tables("by_gene", "dose", ["full"])} == {"full"}
    alone = StudyFiles(record_of(laid_over(study("config"), {"readers": []})), {})
    found = alone.gene_tables("by_well", "level")
    assert list(found) == [(None, fold, 1) for fold in (1, 2, 3)]
    assert found[None, 2, 1].endswith("evidence/level/counted/fold2.by_well.parquet")
