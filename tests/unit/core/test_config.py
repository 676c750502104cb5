import pytest
import yaml
from messages import assert_sentence
from running import whole_config
from studies import put, schema

from keygenes.core import config as settings
from keygenes.core.errors import InputError


def refused(config, key, value):
    put(config, key, value)
    with pytest.raises(InputError) as error:
        settings.check(config, schema("config"), "config key")
    return error


@pytest.mark.parametrize("name", ["config", "demo", "demo_thesis", "laptop"])
def test_our_configs_are_valid_and_their_keys_fit_each_other(here, name):
    config = whole_config(f"config/{name}.yaml")
    settings.check(config, schema("config"), "config key")
    settings.check_relations(config)


CASES = {
    "unknown, near": ("select.dosis_um", [0], ["'select.dosis_um'", "unknown", "'doses_um'"]),
    "unknown, far": ("xyzzy", 1, ["'xyzzy'", "an unknown key", "remove it"]),
    "unknown, in a list": ("regimes.2.trian", ["*"], ["'regimes[2].trian'", "write 'train'"]),
    "version": ("version", 3, ["'version'", "found 3", "expected 2", "config/config.yaml"]),
    "old version": ("version", 1, ["'version'", "expected 2", "'folds: [...]'", "upgrading.md"]),
    "version as text": ("version", "2", ["'version'", "found '2'", "expected 2"]),
    "type": ("finetune.epochs", "many", ["'finetune.epochs'", "'many'", "type integer"]),
    "a count with a point": ("finetune.epochs", 5.0, ["'finetune.epochs'", "5.0", "integer"]),
    "a count in quotes": ("finetune.epochs", "5", ["'finetune.epochs'", "whole", "without quotes"]),
    "type of a flag": ("seeds", 1, ["'seeds'", "found 1", "type array"]),
    "enum": ("split.by", "well", ["'split.by'", "'well'", "one of ['replicate', 'random']"]),
    "a reader of none": ("readers", ["scgtp"], ["'readers[0]'", "'scgtp'"]),
    "a reader's record": ("readers", [{"name": "mine"}], ["'readers[0].rules'"]),
    "missing": ("study", ..., ["'study'", "found nothing", "add the key"]),
    "missing in a section": ("tokens.length", {}, ["'tokens.length.subsample'", "found nothing"]),
    "too small": ("evidence.n_bootstrap", 10, ["'evidence.n_bootstrap'", "found 10", "least 100"]),
    "not a share": ("split.test_fraction", 1, ["'split.test_fraction'", "less than 1"]),
    "empty": ("tasks", [], ["'tasks'", "found []", "at least 1"]),
    "twice": ("seeds", [1, 1], ["'seeds'", "[1, 1]", "different entries"]),
    "no counts": ("tokens.depth", 10, ["'tokens.depth'", "found 10", "at least 50"]),
    "a variant of nothing": ("tokens.variants.a", {}, ["'tokens.variants.a'", "at least 1"]),
    "a variant of what is no draw": (
        *("tokens.variants.a", {"max_length": 100}),
        ["'tokens.variants.a.max_length'", "one of depth, length, order"],
    ),
    "a control that is none": (
        *("regimes.0.labels", "shuffled"),
        ["'regimes[0].labels'", "'shuffled'"],
    ),
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


@pytest.mark.slow
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
    assert_sentence(error, "config key 'select.5'", "the key 5", "write it in quotes")


def test_a_long_value_is_shortened(study):
    error = refused(study, "mirror", list(range(1000)))
    assert_sentence(error, "'mirror'", "...")
    assert len(str(error.value)) < 250


def test_yaml_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError) as error:
        settings.read_yaml(tmp_path / "absent.yaml")
    assert_sentence(error, str(tmp_path / "absent.yaml"), "No such file")
    (tmp_path / "broken.yaml").write_text("a: [1, 2\nb: 3\n")
    with pytest.raises(
        InputError, match=r"sequence that starts in line 1\); correct.*\.$"
    ) as error:
        settings.read_yaml(tmp_path / "broken.yaml")
    assert str(error.value).startswith(f"{tmp_path / 'broken.yaml'}, line 2: not valid YAML (")
    assert "\n" not in str(error.value)
    assert "\n" not in str(error.value)


READER = {"name": "forest", "rules": "README.md", "title": "a forest", "score": "impurity"}
RELATIONS = {
    "two regimes": ("regimes.1.name", "frozen", ["'regimes'", "two entries named 'frozen'"]),
    "two tasks": ("tasks.1.name", "dose", ["'tasks'", "two entries named 'dose'"]),
    "nothing trains": ("regimes.0.train", ..., ["'regimes.frozen'", "only a name", "add one"]),
    "a reserved name": ("regimes.0.name", "pretrained", ["'regimes.pretrained'", "rename"]),
    "epochs of a regression": (
        *("regimes.linear_probe.epochs", 3),
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
    "no features": (
        "regimes.linear_probe.features",
        ...,
        ["'regimes.linear_probe.features'", "expression"],
    ),
    "pair": ("attention.pairs", [["full", "half"]], ["'attention.pairs'", "'half'", "last_layer"]),
    "pair of a regression": (
        *("attention.pairs", [["full", "linear_probe"]]),
        ["'attention.pairs'", "'linear_probe'"],
    ),
    "key genes": ("evidence.regime", "ful", ["'evidence.regime'", "'ful'", "pretrained"]),
    "epochs of random weights": (
        *("regimes.linear_probe.encoder", "random"),
        ["'regimes.linear_probe.encoder'", "'method' does not read"],
    ),
    "a variant of counts": (
        *("regimes.logistic_genes.tokens", "shuffled"),
        ["'regimes.logistic_genes.tokens'", "read from counts", "hidden_state"],
    ),
    "two controls at once": (
        *("regimes.permuted_labels.split", "random"),
        ["'regimes.permuted_labels.split'", "permuted labels in a split by cell"],
    ),
    "a variant that is none": (
        *("regimes.full_equal_length.tokens", "equal"),
        ["'regimes.full_equal_length.tokens'", "found 'equal'", "equal_length, equal_depth"],
    ),
    "a task that is none": (
        *("regimes.random_encoder.tasks", ["levels"]),
        ["'regimes.random_encoder.tasks'", "'levels'", "dose, level"],
    ),
    "a pair of two encodings": (
        *("attention.pairs", [["full", "full_equal_length"], ["full", "frozen"]]),
        ["'attention.pairs'", "[full, full_equal_length]", "different tokens"],
    ),
    "a pair of a variant and the pretrained model": (
        *("attention.pairs", [["full_equal_length", "pretrained"]]),
        ["'attention.pairs'", "different tokens"],
    ),
    "a pair of another split": (
        *("attention.pairs", [["full_random_split", "full"]]),
        ["'attention.pairs'", "'full_random_split'", "none with split: random"],
    ),
    "a pair without a task": (
        *("regimes.full_equal_length.tasks", ["dose"]),
        ["'attention.pairs'", "no task in common"],
    ),
    "a reader called as a regime": (
        *("readers", [{**READER, "name": "full"}]),
        ["'readers.full'", "rename the reader"],
    ),
    "a reader called as a track": (
        *("readers", [{**READER, "name": "rollout"}]),
        ["'readers.rollout'", "rename the reader"],
    ),
    "two readers of one name": (
        *("readers", ["geneformer", READER, {**READER, "title": "another"}]),
        ["'readers.forest'", "rename the reader"],
    ),
    "a reader without its rules": (
        *("readers", [{**READER, "rules": "nowhere.smk"}]),
        ["'readers.forest.rules'", "nowhere.smk"],
    ),
    "several readers, and which is in question": (
        *("readers", [READER, {**READER, "name": "trees"}]),
        ["'evidence.regime'", "'full'", "forest, trees"],
    ),
    "key genes of some tasks": (
        *("evidence.regime", "permuted_labels"),
        ["'evidence.regime'", "not for task 'dose'", "a regime of all tasks"],
    ),
    "key genes of another split": (
        *("evidence.regime", "full_random_split"),
        ["'evidence.regime'", "none with split: random"],
    ),
    "to be attributed": (
        *("evidence.regimes", ["full", "logistic_genes"]),
        ["'evidence.regimes'", "'logistic_genes'"],
    ),
    "attribution of a model without a classifier": (
        *("evidence.regimes", ["pretrained"]),
        ["'evidence.regimes'", "'pretrained'"],
    ),
    "primary of another task": (
        *("evidence.primary.task", "kind"),
        ["'evidence.primary.task'", "'kind'", "dose, level", "null"],
    ),
    "primary without its gene set": (
        *("evidence.gene_sets", ["p53_textbook"]),
        ["'evidence.primary.gene_set'", "'hallmark_p53'", "p53_textbook"],
    ),
    "primary track that is not scored": (
        *("evidence.tracks", ["attention_total"]),
        ["'evidence.primary.track'", "'integrated_gradients'"],
    ),
    "primary of a model that is not attributed": (
        *("evidence.primary.regime", "upstream_freeze6"),
        ["'evidence.primary.track'", "'upstream_freeze6'", "add the regime there"],
    ),
    "primary whose last epoch is chosen": (
        *("regimes.full.keep_epoch", "best"),
        ["'evidence.primary.regime'", "keep_epoch: last"],
    ),
    "more than a head to convergence": (
        *("regimes.full.converge", True),
        ["'regimes.full.converge'", "more than the head"],
    ),
    "more genes than fit": (
        *("tokens.length", {"subsample": 3000}),
        ["'tokens.length.subsample'", "3000", "tokens.max_length = 2048"],
    ),
    "more genes than fit, in a variant": (
        *("tokens.variants.equal_length.length.subsample", 3000),
        ["'tokens.variants.equal_length.length.subsample'", "3000"],
    ),
    "a variant called as other files are": (
        *("tokens.variants", {"corpus": {"depth": 100}}),
        ["'tokens.variants.corpus'", "rename the variant"],
    ),
    "heads": (
        "pretrain.heads",
        5,
        ["'pretrain.hidden'", "256", "a multiple of pretrain.heads = 5"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", RELATIONS)
def test_keys_that_do_not_fit_each_other(study, case):
    key, value, parts = RELATIONS[case]
    if key == "tokens.variants":  # which the study's regimes name
        study["tokens"]["variants"].update(value)
    else:
        put(study, key, value)
    settings.check(study, schema("config"), "config key")  # valid taken key by key
    with pytest.raises(InputError) as error:
        settings.check_relations(study)
    assert_sentence(error, f"config key {parts[0]}", *parts)


@pytest.mark.parametrize(
    ("key", "value"), [("depth", 500), ("length", {"subsample": 100}), ("order", "shuffled")]
)
def test_upstream_s_tokens_to_the_letter_draw_nothing(study, key, value):
    put(study, "tokens.upstream", True)
    settings.check_relations(study)  # variants are encodings of their own
    put(study, f"tokens.{key}", value)
    with pytest.raises(InputError) as error:
        settings.check_relations(study)
    assert_sentence(error, f"config key 'tokens.{key}'", "tokens.upstream: true", "variants")


def test_a_variant_replaces_its_own_keys_of_the_encoding(study):
    section = study["tokens"]
    assert settings.encoding(section) == {}, "nothing is drawn, so nothing depends on the seed"
    equal = {"length": {"subsample": 500}, "depth": None, "order": "ranked", "seed": 1}
    assert settings.encoding(section, "equal_length") == equal
    section["depth"] = 800
    assert settings.encoding(section) == {**equal, "length": None, "depth": 800}
    assert settings.encoding(section, "equal_length") == {**equal, "depth": 800}
    assert settings.encoding(section, "equal_depth")["depth"] == 1000


def test_a_training_option_that_gene_classification_does_not_read(study):
    """Each token is classified by its own state: nothing is pooled."""
    error = refused(study, "gene_classification.pooling", "mean")
    assert_sentence(error, "'gene_classification.pooling'", "an unknown key")


def test_jobs_of_relabellings_are_all_of_one_size(study):
    put(study, "evidence.permutations", 20)
    put(study, "evidence.relabellings_per_job", 8)
    with pytest.raises(InputError) as error:
        settings.check_relations(study)
    assert_sentence(error, "'evidence.relabellings_per_job'", "8 of 20", "permutations to 24")


def test_the_command_line_says_what_a_file_would():
    entries = ["folds=[1,2]", "select={drug: null, doses_um: [0, 1.25]}", "study=a=b", "mirror="]
    assert settings.command_line(entries) == [
        {"folds": [1, 2]},
        {"select": {"drug": None, "doses_um": [0, 1.25]}},
        {"study": "a=b"},
        {"mirror": None},
    ]
    assert settings.command_line(None) == []


@pytest.mark.parametrize(
    "text", ["{a: [}", "{a: 1, a: 2}", "[" * 2000, "!!python/name:os.system x"]
)
def test_a_command_line_that_is_no_yaml_is_named(text):
    with pytest.raises(InputError) as error:
        settings.command_line([f"select={text}"])
    assert_sentence(error, "--config select", "not valid YAML", "--configfile")


def test_classes_and_vehicle_take_words_numbers_and_logicals(study):
    study["select"]["vehicle"]["value"] = True
    study["select"]["drug"] = 5
    study["tasks"][0]["classes"] = {"no": [False, 0, "0"], "yes": [True, 1.5, "yes"]}
    settings.check(study, schema("config"), "config key")


def test_a_date_is_to_be_quoted(study):
    import datetime

    study["tasks"][0]["classes"] = {"a": ["x"], "b": [datetime.date(2024, 1, 2)]}
    with pytest.raises(InputError) as error:
        settings.check(study, schema("config"), "config key")
    assert_sentence(error, "config key 'tasks[0].classes.b[0]'", "date", "quotes")


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("folds", 1, ["'folds'", "found 1", "a list"]),
        ("study", 2024, ["'study'", "found 2024", "quotes"]),
        ("select", "Nutlin", ["'select'", "'Nutlin'", "braces"]),
        ("select.drug:null", None, ["'select.drug'", "colon", "a space"]),
    ],
)
def test_the_remedy_says_how_a_section_or_a_list_is_written(study, key, value, parts):
    assert_sentence(refused(study, key, value), *parts)
