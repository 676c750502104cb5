"""Configuration files: read, checked, and refused in one sentence.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import yaml

from keygenes.core.config_errors import key_text, schema_error
from keygenes.core.errors import InputError, input_error
from keygenes.core.readers import brought_readers, check_readers, reads_encoder
from keygenes.core.regimes import check_questions, check_regimes
from keygenes.core.shown import printable, printable_lines, shortened, unfit_name
from keygenes.core.tasks import cell_tasks

MAX_BYTES = 1 << 20  # of a YAML file; the largest here has 20 kB
MAX_VALUES, MAX_DEPTH = 100_000, 50  # with every alias written out
LONGEST_TEXT = 10_000  # characters
LONGEST_KEY = 200  # characters of a key's path in a message
RESERVED_VARIANTS = ("main", "report", "corpus", "corpus_report")  # of files under tokens/


# JSON's 5.0 is an integer; here what counts layers or epochs must be written as one.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def check(document: Any, schema: dict[str, Any], where: str) -> None:
    """Raise an `InputError` for the first key of a document that its schema refuses."""
    check_values(document, where)
    errors = sorted(
        _Validator(schema).iter_errors(document),
        key=lambda e: (e.validator != "const", [str(p) for p in e.absolute_path]),
    )
    if errors:
        error = errors[0]
        while error.context:  # of several alternatives, the one that came furthest
            error = max(error.context, key=lambda e: len(e.absolute_path))
        raise schema_error(error, where)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Plain values alone, and no key twice: YAML itself would let the last one win in silence."""

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's node; refuse a mapping with one key twice."""
        document = super().get_single_node()
        rest, seen = [document], set()
        while rest:
            node = rest.pop()
            if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
                names = [(key.tag, key.value) for key in keys]
                if len(set(names)) < len(names):
                    key = next(k for i, k in enumerate(keys) if names[i] in names[:i])
                    problem = f"the key '{key.value}' twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                rest += [part for pair in node.value for part in pair]
            else:
                rest += node.value
        return document


def _syntax_error(error: yaml.MarkedYAMLError, path: str | Path) -> InputError:
    """Return the `InputError` of YAML that cannot be read: file and line, then what is wrong."""
    place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
    started = f" that starts in line {error.context_mark.line + 1}" if error.context_mark else ""
    within = f" {error.context}{started}" if error.context else ""
    reason = printable(" ".join(f"{error.problem}{within}".split()))
    return InputError(f"{path}{place}: not valid YAML ({reason}); correct the line.")


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file: plain values, in a file of a sensible size."""
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise input_error(
                str(path),
                found=f"a file of {size:,} bytes",
                expected=f"YAML of at most {MAX_BYTES:,} bytes",
                remedy="split it into several files",
            )
        text = Path(path).read_text(encoding="utf-8")
        document = yaml.load(text, _Loader) or {}
    except OSError as error:
        raise input_error(
            str(path), found=error.strerror, expected="a YAML file", remedy="correct the path"
        ) from error
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, path) from error
    # a date, a number or a depth that there is not; text that is no UTF-8 or has a NUL
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        reason = printable(" ".join(str(error).split()))
        raise InputError(f"{path}: not valid YAML ({reason}); correct the line.") from error
    check_values(document, f"{path}, key")
    return document


def command_line(entries: Iterable[str] | None) -> list[dict[str, Any]]:
    """Return what --config says, read as a config file is.

    Snakemake has laid it over the config already, but with what stands in lists and sections as
    text: [1, 2] as ['1', '2'], and null as 'null'.

    Parameters
    ----------
    entries : list of str
        'key=value' each, the value in YAML.

    Returns
    -------
    list of dict
        One for each entry, in their order.

    Raises
    ------
    InputError
        If a value is no YAML.
    """
    parts = []
    for entry in entries or ():
        key, _, text = entry.partition("=")
        try:
            parts.append({key: yaml.load(text, _Loader)})
        except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
            problem = " ".join(str(getattr(error, "problem", None) or error).split())
            raise input_error(
                f"--config {key}",
                found=f"{shortened(text, 80)!r}, which is not valid YAML ({printable(problem)})",
                expected="a value as in a config file",
                remedy="correct it (a space follows each colon), or write it in a file that you "
                "give with --configfile",
            ) from error
    return parts


def check_values(document: Any, where: str) -> None:
    """Raise an `InputError` for what YAML can say and nothing here can use.

    That is a key that is no text, a number that is none or is beyond what counts, characters that
    cannot be seen, and a document that is small as a file and endless with its aliases.

    Parameters
    ----------
    document : object
    where : str
        E.g. ``"config key"``.
    """

    def refuse(path: tuple[str | int, ...], found: str, expected: str, remedy: str) -> NoReturn:
        raise input_error(
            f"{where} '{shortened(key_text(path), LONGEST_KEY)}'",
            found=found,
            expected=expected,
            remedy=remedy,
        )

    left, rest = MAX_VALUES, [((), document)]
    while rest:
        path, value = rest.pop()
        left -= 1
        if left < 0 or len(path) > MAX_DEPTH:
            refuse(
                path[:3],
                f"more than {MAX_VALUES:,} values, or {MAX_DEPTH} levels, with aliases",
                "a document of a sensible size",
                "write out what the aliases stand for",
            )
        if isinstance(value, dict):
            for key, part in value.items():
                if not isinstance(key, str):
                    refuse((*path, str(key)), f"the key {key!r}", "text", "write it in quotes")
                if unfit_name([key]):
                    refuse((*path, key), "a key " + unfit_name([key])[1], "a name", "correct it")
                rest.append(((*path, key), part))
        elif isinstance(value, list):
            rest += [((*path, i), part) for i, part in enumerate(value)]
        elif isinstance(value, str):
            if (lines := printable_lines(value)) != value or len(value) > LONGEST_TEXT:
                found = "text with characters that cannot be seen"
                if lines == value:
                    found = f"text of {len(value):,} characters"
                refuse(
                    path,
                    found,
                    f"at most {LONGEST_TEXT:,} characters that can be seen",
                    "correct it",
                )
        elif isinstance(value, float) and not math.isfinite(value):
            refuse(path, repr(value), "a finite number", "correct it")
        elif isinstance(value, int) and not -(2**53) <= value <= 2**53:
            refuse(path, "a whole number of more than 53 bits", "a smaller one", "correct it")


def encoding(section: dict[str, Any], variant: str | None = None) -> dict[str, Any]:
    """Return what section 'tokens' draws at random when it encodes a cell.

    Parameters
    ----------
    section : dict
    variant : str, optional
        Of 'variants': its keys replace those of the section.

    Returns
    -------
    dict
        length, depth, order and seed; empty where nothing is drawn.
    """
    keys = {key: section[key] for key in ("length", "depth", "order")}
    keys |= section["variants"][variant] if variant else {}
    drawn = keys["length"] or keys["depth"] or keys["order"] != "ranked"
    return {**keys, "seed": section["seed"]} if drawn else {}


def check_tokens(section: dict[str, Any]) -> None:
    """Raise an `InputError` where keys of section 'tokens' do not fit each other."""
    if section["upstream"] and (drawn := encoding(section)):
        key = next(k for k in ("length", "depth", "order") if drawn[k] not in (None, "ranked"))
        raise input_error(
            f"config key 'tokens.{key}'",
            found="a draw beside tokens.upstream: true",
            expected="either upstream's tokens to the letter, or a draw",
            remedy="make it an entry of tokens.variants, or set upstream to false",
        )
    for name in [None, *section["variants"]]:
        key = f"tokens.variants.{name}" if name else "tokens"
        if name in RESERVED_VARIANTS:
            raise input_error(
                f"config key '{key}'",
                found="a name that other files have",
                expected=f"a name other than {', '.join(RESERVED_VARIANTS)}",
                remedy="rename the variant",
            )
        length = encoding(section, name).get("length")
        if length and length["subsample"] > section["max_length"]:
            raise input_error(
                f"config key '{key}.length.subsample'",
                found=length["subsample"],
                expected=f"at most tokens.max_length = {section['max_length']}",
                remedy="lower it",
            )


def check_relations(config: dict[str, Any]) -> None:
    """Raise an `InputError` where keys of a valid config do not fit each other."""
    names = [regime["name"] for regime in config["regimes"]]
    for key, values in {
        "regimes": names,
        "tasks": [task["name"] for task in config["tasks"]],
    }.items():
        repeated = [v for v in values if values.count(v) > 1]
        if repeated:
            raise input_error(
                f"config key '{key}'",
                found=f"two entries named '{repeated[0]}'",
                expected="different names",
                remedy="rename one",
            )
    for task in config["tasks"]:
        foreign = {"column", "classes"} if task.get("type") == "gene" else {"gene_classes"}
        if wrong := sorted(foreign & set(task)):
            raise input_error(
                f"config key 'tasks.{task['name']}.{wrong[0]}'",
                found=f"a key that a task of type '{task.get('type', 'cell')}' does not have",
                expected="column and classes for cells, gene_classes for genes",
                remedy="remove it or correct the task's type",
            )
    if not cell_tasks(config):
        raise input_error(
            "config key 'tasks'",
            found="only tasks of type 'gene'",
            expected="at least one task with classes of cells, which the rest of the study needs",
            remedy="add one with name, column and classes",
        )
    if config["study"] == "compare":
        raise input_error(
            "config key 'study'",
            found="'compare', the folder of studies held against each other",
            expected="another name",
            remedy="rename the study",
        )
    n_dealt, per_job = (config["evidence"][k] for k in ("permutations", "relabellings_per_job"))
    if n_dealt % per_job:
        raise input_error(
            "config key 'evidence.relabellings_per_job'",
            found=f"{per_job} of {n_dealt} relabellings",
            expected="a number that divides evidence.permutations: every job has as many",
            remedy=f"set evidence.permutations to {n_dealt + per_job - n_dealt % per_job}",
        )
    check_readers(config)
    check_regimes(config)
    if reads_encoder(config):
        check_questions(config, brought_readers(config))
    check_tokens(config["tokens"])
    if config["pretrain"]["hidden"] % config["pretrain"]["heads"]:
        raise input_error(
            "config key 'pretrain.hidden'",
            found=config["pretrain"]["hidden"],
            expected=f"a multiple of pretrain.heads = {config['pretrain']['heads']}",
            remedy="change one of them",
        )
