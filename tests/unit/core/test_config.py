import copy

import pytest
import yaml
from messages import assert_sentence

from keygenes.core import config as settings
from keygenes.core.errors import InputError


@pytest.fixture
def here(repository, monkeypatch):
    """Run where a user runs: registries name files relative to the repository."""
    monkeypatch.chdir(repository)
    return repository


@pytest.fixture
def study(here):
    return settings.read_yaml("config/config.yaml")


def schema(name):
    return settings.read_yaml(f"workflow/schemas/{name}.schema.yaml")


def registries(config):
    return [
        settings.read_registry(config["registries"][name], schema(name))
        for name in ("datasets", "models", "gene_sets")
    ]


def resolved(config):
    return resolved_with(config)


def put(config, key, value):
    """Set a nested key such as 'regimes.0.train'; a value of `...` removes it."""
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    for part in parents:
        config = config[part]
    if value is ...:
        del config[last]
    else:
        config[last] = value


def refused(config, key, value):
    put(config, key, value)
    with pytest.raises(InputError) as error:
        settings.check(config, schema("config"), "config key")
    return error


def laid_over(base, preset):
    """Return `base` with the keys of `preset` over it, as --configfile does."""
    merged = dict(base)
    for key, value in preset.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = laid_over(base[key], value) if nested else value
    return merged


@pytest.mark.parametrize("name", ["config", "demo", "laptop"])
def test_our_configs_are_valid_and_their_keys_fit_each_other(study, name):
    config = laid_over(study, settings.read_yaml(f"config/{name}.yaml"))
    settings.check(config, schema("config"), "config key")
    settings.check_relations(config)


CASES = {
    "unknown, near": ("select.dosis_um", [0], ["'select.dosis_um'", "unknown", "'doses_um'"]),
    "unknown, far": ("xyzzy", 1, ["'xyzzy'", "an unknown key", "remove it"]),
    "unknown, in a list": ("regimes.2.trian", ["*"], ["'regimes[2].trian'", "write 'train'"]),
    "version": ("version", 2, ["'version'", "found 2", "expected 1", "config/config.yaml"]),
    "version as text": ("version", "1", ["'version'", "found '1'", "expected 1"]),
    "type": ("finetune.epochs", "many", ["'finetune.epochs'", "'many'", "type integer"]),
    "a count with a point": ("finetune.epochs", 5.0, ["'finetune.epochs'", "5.0", "integer"]),
    "a count in quotes": ("finetune.epochs", "5", ["'finetune.epochs'", "whole", "without quotes"]),
    "type of a flag": ("seeds", 1, ["'seeds'", "found 1", "type array"]),
    "enum": ("split.by", "well", ["'split.by'", "'well'", "one of ['replicate', 'random']"]),
    "missing": ("compute.device", ..., ["'compute.device'", "found nothing", "add the key"]),
    "missing section": ("tokens", ..., ["'tokens'", "found nothing"]),
    "too small": ("evidence.n_bootstrap", 10, ["'evidence.n_bootstrap'", "found 10", "least 100"]),
    "not a share": ("split.test_fraction", 1, ["'split.test_fraction'", "less than 1"]),
    "empty": ("tasks", [], ["'tasks'", "found []", "at least 1"]),
    "twice": ("seeds", [1, 1], ["'seeds'", "[1, 1]", "different entries"]),
    "name": ("study", "a/b", ["'study'", "'a/b'", "letters, digits"]),
    "of two kinds": ("select.doses_um", "all", ["'select.doses_um'", "'all'", "array", "null"]),
    "in a list": ("select.doses_um", [0, -1], ["'select.doses_um[1]'", "found -1"]),
    "a cell task without classes": (
        "tasks.0.classes",
        ...,
        ["'tasks[0].classes'", "found nothing"],
    ),
    "a gene task without a list of genes": (
        *("tasks.0", {"name": "a", "type": "gene"}),
        ["'tasks[0].gene_classes'", "found nothing", "add the key"],
    ),
    "type of task": ("tasks.0.type", "genes", ["'tasks[0].type'", "one of ['cell', 'gene']"]),
    "one fold": ("gene_classification.folds", 1, ["'gene_classification.folds'", "least 2"]),
    "nothing but warm-up": (
        *("gene_classification.warmup_fraction", 1),
        ["'gene_classification.warmup_fraction'", "less than 1"],
    ),
    "a class without a list": ("tasks.0.classes", {"0": 0, "1": [1]}, ["'tasks[0].classes.0'"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_key_is_refused_in_one_sentence(study, case):
    key, value, parts = CASES[case]
    assert_sentence(refused(study, key, value), f"config key {parts[0]}", *parts)


@pytest.mark.parametrize("key", ["finetune.learning_rate", "pretrain.learning_rate"])
def test_a_number_that_yaml_reads_as_text_is_explained(study, key):
    value = yaml.safe_load("rate: 5e-5")["rate"]
    assert value == "5e-5"
    error = refused(study, key, value)
    assert_sentence(
        error, f"'{key}'", "found the text '5e-5'", "expected a number", "write 5.0e-05:"
    )


def test_the_number_as_text_in_a_regime_is_found_too(study):
    error = refused(study, "regimes.0.learning_rate", "1e-5")
    assert_sentence(error, "'regimes[0].learning_rate'", "found the text '1e-5'")


def test_of_several_wrong_keys_the_version_speaks_first(study):
    put(study, "attention.pears", 1)
    assert_sentence(refused(study, "version", 0), "config key 'version'")


def test_an_unknown_key_that_is_a_number(study):
    study["select"][5] = 1
    with pytest.raises(InputError) as error:
        settings.check(study, schema("config"), "config key")
    assert_sentence(error, "config key 'select", "an unknown key")


def test_a_complete_config_leaves_no_key_to_chance(study):
    """Deep merging would let a key that demo.yaml forgets come from config.yaml."""
    demo = settings.read_yaml("config/demo.yaml")
    settings.check(demo, schema("config"), "config key")
    assert set(demo) == set(study)


def test_a_long_value_is_shortened(study):
    error = refused(study, "mirror", list(range(1000)))
    assert_sentence(error, "'mirror'", "...")
    assert len(str(error.value)) < 250


def test_yaml_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError) as error:
        settings.read_yaml(tmp_path / "absent.yaml")
    assert_sentence(error, str(tmp_path / "absent.yaml"), "No such file")
    (tmp_path / "broken.yaml").write_text("a: [1, 2\nb: 3\n")
    with pytest.raises(InputError, match=r"not valid YAML .*line.*; correct the line\.$") as error:
        settings.read_yaml(tmp_path / "broken.yaml")
    assert str(error.value).startswith(str(tmp_path / "broken.yaml"))
    assert "\n" not in str(error.value)


def test_later_registries_win_entry_by_entry(here, tmp_path):
    own = {"datasets": {"mine": {"title": "mine", "layout": "h5ad"}}}
    own["datasets"]["sciplex2_kaggle"] = {"title": "other", "layout": "h5ad"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    merged = settings.read_registry(
        ["config/datasets.yaml", tmp_path / "own.yaml"], schema("datasets")
    )["datasets"]
    assert merged["sciplex2_kaggle"] == {"title": "other", "layout": "h5ad"}
    assert {"mine", "sciplex2_scperturb"} <= set(merged)


def test_a_wrong_registry_names_its_file(here, tmp_path):
    entry = {"title": "mine", "layout": "h5ad", "files": {"matrix": {"url": "https://a/b"}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}}))
    with pytest.raises(InputError) as error:
        settings.read_registry([tmp_path / "own.yaml"], schema("datasets"))
    where = f"{tmp_path / 'own.yaml'}, key 'datasets.mine.files.matrix.path'"
    assert_sentence(error, where, "found nothing", "add the key")


RELATIONS = {
    "two regimes": ("regimes.1.name", "frozen", ["'regimes'", "two entries named 'frozen'"]),
    "two tasks": ("tasks.1.name", "dose", ["'tasks'", "two entries named 'dose'"]),
    "nothing trains": ("regimes.0.train", ..., ["'regimes.frozen'", "only a name", "add one"]),
    "a reserved name": ("regimes.0.name", "pretrained", ["'regimes.pretrained'", "rename"]),
    "epochs of a regression": (
        *("regimes.5.epochs", 3),
        ["'regimes.linear_probe.epochs'", "'method' does not read", "features", "remove it"],
    ),
    "features of a training": (
        *("regimes.0.features", "expression"),
        ["'regimes.frozen.features'", "'train' does not read"],
    ),
    "two forms": (
        *("regimes.0.freeze_layers", 2),
        ["'regimes.frozen'", "train and freeze_layers", "give exactly one"],
    ),
    "a gene task with a column": (
        *("tasks.0", {"name": "a", "type": "gene", "gene_classes": "b", "column": "c"}),
        ["'tasks.a.column'", "type 'gene'", "gene_classes for genes"],
    ),
    "a cell task with a gene list": (
        *("tasks.0.gene_classes", "b"),
        ["'tasks.dose.gene_classes'", "type 'cell'"],
    ),
    "no cell task": (
        *("tasks", [{"name": "a", "type": "gene", "gene_classes": "b"}]),
        ["'tasks'", "only tasks of type 'gene'", "at least one task with classes of cells"],
    ),
    "no features": ("regimes.5.features", ..., ["'regimes.linear_probe.features'", "expression"]),
    "pair": ("attention.pairs", [["full", "half"]], ["'attention.pairs'", "'half'", "last_layer"]),
    "pair of a regression": (
        *("attention.pairs", [["full", "linear_probe"]]),
        ["'attention.pairs'", "'linear_probe'"],
    ),
    "key genes": ("evidence.regime", "ful", ["'evidence.regime'", "'ful'", "pretrained"]),
    "heads": (
        "pretrain.heads",
        5,
        ["'pretrain.hidden'", "256", "a multiple of pretrain.heads = 5"],
    ),
}


@pytest.mark.parametrize("case", RELATIONS)
def test_keys_that_do_not_fit_each_other(study, case):
    key, value, parts = RELATIONS[case]
    put(study, key, value)
    settings.check(study, schema("config"), "config key")  # valid taken key by key
    with pytest.raises(InputError) as error:
        settings.check_relations(study)
    assert_sentence(error, f"config key {parts[0]}", *parts)


def test_every_input_of_the_study_is_found_or_to_be_downloaded(study):
    found = resolved(study)
    assert found["dataset"]["layout"] == "scperturb"
    matrix = "resources/scperturb/SrivatsanTrapnell2020_sciplex2.h5ad"
    assert found["dataset_files"] == {"sciplex2_scperturb": {"matrix": matrix}}
    assert set(found["vocabulary_files"]) == {"tokens", "medians", "names"}
    assert found["model_files"]["weights"].endswith("Geneformer-V1-10M/model.safetensors")
    # a local file without checksum is used where it lies
    assert found["gene_set_files"]["p53_textbook"] == "resources/gene_sets/p53_textbook.tsv"
    assert found["gene_set_files"]["hallmark_p53"] == "resources/msigdb/h.all.v7.0.symbols.gmt"
    assert {kind: len(paths) for kind, paths in found["downloads"].items()} == {
        **{"dataset": 1, "model": 5, "gene_set": 1}
    }
    source = found["downloads"]["dataset"][matrix]
    assert source["name"] == "dataset 'sciplex2_scperturb', file 'matrix'"
    assert source["spec"]["md5"] == "12a48293a166a859f994551653a2ad8c"


def test_the_demo_downloads_nothing(here):
    found = resolved(settings.read_yaml("config/demo.yaml"))
    assert found["downloads"] == {"dataset": {}, "model": {}, "gene_set": {}}
    assert found["dataset_files"] == {"simulated_sciplex": {}, "simulated_atlas": {}}
    assert found["model"] is None
    assert found["vocabulary"] is None


UNRESOLVED = {
    "dataset": ("dataset", "sciplex2_scpertub", ["'dataset'", "config/datasets.yaml", "perturb'"]),
    "far dataset": ("dataset", "zzz", ["'dataset'", "'zzz'", "expected one of", "add an entry"]),
    "model": ("model", "geneformer_v1", ["'model'", "'geneformer_v1'", "config/models.yaml"]),
    "gene set": ("evidence.gene_sets", ["p53"], ["'evidence.gene_sets'", "'p53'", "hallmark_p53"]),
    "vocabulary of another": (
        *("tokens.vocabulary", "geneformer_v2"),
        ["'tokens.vocabulary'", "found 'geneformer_v2'", "expected 'geneformer_v1'"],
    ),
}


@pytest.mark.parametrize("case", UNRESOLVED)
def test_a_name_that_is_in_no_registry(study, case):
    key, value, parts = UNRESOLVED[case]
    put(study, key, value)
    with pytest.raises(InputError) as error:
        resolved(study)
    assert_sentence(error, f"config key {parts[0]}", *parts)


def test_the_dataset_to_pretrain_on_must_exist_too(here):
    demo = settings.read_yaml("config/demo.yaml")
    put(demo, "pretrain.dataset", "atlas")
    with pytest.raises(InputError) as error:
        resolved(demo)
    assert_sentence(error, "config key 'pretrain.dataset'", "'atlas'")


def resolved_with(study, **entries):
    datasets, models, gene_sets = copy.deepcopy(registries(study))
    datasets["datasets"].update(entries.get("datasets", {}))
    models["models"].update(entries.get("models", {}))
    classes = entries.get("gene_classes", {})
    return settings.resolve(study, datasets["datasets"], models, gene_sets["gene_sets"], classes)


def test_a_local_file_that_is_absent_and_one_with_a_checksum(study, tmp_path):
    study["dataset"] = "mine"
    entry = {"title": "mine", "layout": "h5ad", "files": {"matrix": {"path": "absent.h5ad"}}}
    with pytest.raises(InputError) as error:
        resolved_with(study, datasets={"mine": entry})
    assert_sentence(error, "dataset 'mine', file 'matrix', key 'path'", "absent.h5ad")

    (tmp_path / "mine.h5ad").write_bytes(b"x")
    spec = {"path": str(tmp_path / "mine.h5ad")}
    entry["files"]["matrix"] = spec
    found = resolved_with(study, datasets={"mine": entry})
    assert found["dataset_files"]["mine"]["matrix"] == spec["path"]
    assert found["downloads"]["dataset"] == {}

    spec["sha256"] = "0" * 64  # to be verified: it goes through a download of its own
    found = resolved_with(study, datasets={"mine": entry})
    assert found["dataset_files"]["mine"]["matrix"] == "resources/mine.h5ad"
    assert list(found["downloads"]["dataset"]) == ["resources/mine.h5ad"]


def test_a_dataset_without_files(study):
    study["dataset"] = "mine"
    with pytest.raises(InputError) as error:
        resolved_with(study, datasets={"mine": {"title": "mine", "layout": "h5ad"}})
    assert_sentence(error, "dataset 'mine'", "found no 'files'")


def test_a_model_folder_of_ones_own(study, tmp_path):
    study["model"] = "mine"
    models = {"mine": {"vocabulary": "geneformer_v1", "folder": str(tmp_path)}}
    with pytest.raises(InputError) as error:
        resolved_with(study, models=models)
    assert_sentence(error, "model 'mine', key 'folder'", str(tmp_path), "config.json")
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).touch()
    found = resolved_with(study, models=models)["model_files"]
    assert found["weights"] == str(tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").touch()  # preferred where both lie
    found = resolved_with(study, models=models)["model_files"]
    assert found["weights"] == str(tmp_path / "model.safetensors")
    assert found["config"] == str(tmp_path / "config.json")


def test_a_pretrained_model_needs_its_own_vocabulary(study):
    put(study, "tokens.vocabulary", "dataset")
    with pytest.raises(InputError) as error:
        resolved(study)
    assert_sentence(error, "config key 'tokens.vocabulary'", "found 'dataset'")


def test_a_regime_is_a_list_of_patterns_whatever_its_form():
    assert settings.trained_patterns({"name": "a", "train": ["classifier.*"]}) == ["classifier.*"]
    frozen = ["*", "!bert.encoder.layer.0.*", "!bert.encoder.layer.1.*"]
    assert settings.trained_patterns({"name": "a", "freeze_layers": 2}) == frozen
    assert settings.trained_patterns({"name": "a", "preset": "upstream"}) == ["*"]


def test_a_regime_s_own_keys_win_over_its_preset_and_that_over_the_section(study):
    section = {k: v for k, v in study["finetune"].items() if k != "cache"}  # how, not what
    assert settings.finetune_options(study["finetune"], {"name": "a", "train": ["*"]}) == section
    upstream = settings.finetune_options(section, {"name": "a", "preset": "upstream"})
    assert upstream == settings.PRESETS["upstream"]
    for preset in settings.PRESETS.values():
        assert set(section) == set(preset), "a preset leaves no key to the section"
    assert (upstream["epochs"], upstream["warmup_steps"], upstream["warmup_fraction"]) == (
        *(10, 500, None),
    )
    own = settings.finetune_options(section, {"name": "a", "preset": "upstream", "epochs": 2})
    assert own == {**upstream, "epochs": 2}


def test_which_regimes_train_the_embeddings(study):
    trained = {
        regime["name"]: settings.embeddings_train(settings.trained_patterns(regime))
        for regime in study["regimes"]
        if "method" not in regime
    }
    freeze = {"upstream_freeze6": True, "upstream_freeze5": True}
    assert trained == {"frozen": False, "last_layer": False, "full": True, **freeze}
    assert not settings.embeddings_train(["*", "!bert.embeddings.*"])
    assert settings.embeddings_train(["classifier.*", "bert.embeddings.LayerNorm.bias"])


def test_a_preset_is_a_regime_of_its_own(study):
    study["regimes"].append({"name": "upstream", "preset": "upstream"})
    settings.check(study, schema("config"), "config key")
    settings.check_relations(study)
    put(study, "regimes.0.preset", "thesis")
    with pytest.raises(InputError) as error:
        settings.check(study, schema("config"), "config key")
    assert_sentence(error, "config key 'regimes[0].preset'", "'thesis'", "upstream")


def test_a_classifier_brought_along(study, tmp_path):
    study["regimes"].append({"name": "theirs", "finetuned": "mine"})
    settings.check(study, schema("config"), "config key")
    settings.check_relations(study)
    entry = {"vocabulary": "geneformer_v1", "finetuned": str(tmp_path), "classes": ["low", "high"]}
    with pytest.raises(InputError) as error:
        resolved_with(study, models={"mine": entry})
    assert_sentence(error, "model 'mine', key 'finetuned'", str(tmp_path), "config.json")
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).touch()
    found = resolved_with(study, models={"mine": entry})
    assert found["finetuned"] == {
        "theirs": {
            "config": str(tmp_path / "config.json"),
            "weights": str(tmp_path / "pytorch_model.bin"),
            "classes": ["low", "high"],
        }
    }
    assert found["model_files"]["weights"].endswith("Geneformer-V1-10M/model.safetensors")
    put(study, "model", "mine")  # alone, its own encoder is the model to compare with
    found = resolved_with(study, models={"mine": entry})
    assert found["model_files"]["weights"] == str(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError) as error:
        resolved_with(study, models={"mine": {**entry, "vocabulary": "geneformer_v2"}})
    assert_sentence(error, "'tokens.vocabulary'", "'geneformer_v2', which model 'mine'")
    study["regimes"][-1]["finetuned"] = "geneformer_v1_10m"
    with pytest.raises(InputError) as error:
        resolved_with(study, models={"mine": entry})
    assert_sentence(error, "model 'geneformer_v1_10m'", "no key 'finetuned'")


GENE_TASK = {"name": "dosage", "type": "gene", "gene_classes": "mine"}
GENE_CLASSES = {"a": {"x": ["Yes"]}, "b": {"x": ["No"]}}


def test_a_gene_list_is_found_or_to_be_downloaded(study, tmp_path):
    study["tasks"].append(GENE_TASK)
    settings.check(study, schema("config"), "config key")
    settings.check_relations(study)
    (tmp_path / "genes.csv").touch()
    local = {"title": "mine", "file": {"path": str(tmp_path / "genes.csv")}}
    found = resolved_with(study, gene_classes={"mine": local})
    assert found["gene_class_files"] == {"mine": str(tmp_path / "genes.csv")}
    far = {"title": "mine", "file": {"mirror_path": "lists/genes.csv", "url": "https://a/b"}}
    found = resolved_with(study, gene_classes={"mine": far})
    assert found["gene_class_files"] == {"mine": "resources/lists/genes.csv"}
    assert "resources/lists/genes.csv" in found["downloads"]["gene_set"]
    with pytest.raises(InputError) as error:
        resolved_with(study, gene_classes={"mien": local})
    assert_sentence(error, "config key 'tasks.dosage.gene_classes'", "'mine'", "write 'mien'")


@pytest.mark.parametrize(
    ("classes", "parts"),
    [
        (GENE_CLASSES, None),
        ({"a": {"x": ["Yes"]}}, ["gene_classes.mine.classes'", "at least 2 entries"]),
        ({**GENE_CLASSES, "c": {}}, ["gene_classes.mine.classes.c'", "at least 1"]),
        (
            {**GENE_CLASSES, "c": {"x": [True]}},
            ["gene_classes.mine.classes.c.x[0]'", "found True", "YAML reads Yes and No"],
        ),
        (None, ["gene_classes.mine.classes'", "found nothing"]),
    ],
)
def test_a_registry_may_hold_lists_of_genes_with_classes(here, tmp_path, classes, parts):
    entry = {"title": "mine", "file": {"path": "genes.csv"}, "classes": classes}
    entry = {key: value for key, value in entry.items() if value is not None}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"gene_classes": {"mine": entry}}))
    if not parts:
        read = settings.read_registry([tmp_path / "own.yaml"], schema("gene_sets"))
        assert read["gene_classes"]["mine"] == entry
        return
    with pytest.raises(InputError) as error:
        settings.read_registry([tmp_path / "own.yaml"], schema("gene_sets"))
    assert_sentence(error, f"{tmp_path / 'own.yaml'}, key '", *parts)


def test_a_combined_dataset_is_read_as_its_members(study, tmp_path):
    (tmp_path / "a.h5ad").touch()
    member = {"title": "a", "layout": "h5ad", "files": {"matrix": {"path": f"{tmp_path}/a.h5ad"}}}
    both = {"title": "both", "combine": ["a", "b"]}
    datasets = {"a": member, "b": member, "both": both}
    study["dataset"] = "both"
    found = resolved_with(study, datasets=datasets)
    assert found["dataset"] == both
    assert found["combined"] == {"both": ["a", "b"]}
    assert set(found["dataset_files"]) == {"a", "b"}
    for wrong, parts in (
        (["a", "c"], ["config key 'datasets.both.combine'", "'c'"]),
        (["a", "both"], ["dataset 'both', key 'combine'", "'both', which combines"]),
    ):
        with pytest.raises(InputError) as error:
            resolved_with(study, datasets={**datasets, "both": {**both, "combine": wrong}})
        assert_sentence(error, *parts)


def test_a_dataset_is_read_from_a_layout_or_combined(here, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"datasets": {"x": {"title": "x", "combine": ["a", "b"]}}}))
    settings.read_registry([path], schema("datasets"))
    path.write_text(yaml.safe_dump({"datasets": {"x": {"title": "x"}}}))
    with pytest.raises(InputError) as error:
        settings.read_registry([path], schema("datasets"))
    assert_sentence(error, f"{path}, key 'datasets.x.layout'", "found nothing")
