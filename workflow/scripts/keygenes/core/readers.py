"""Readers: what turns cells into predictions, and into scores of genes.

One is ours: Geneformer, whose regimes the config lists. Others are brought along: a rule file from
outside makes their tables (docs/extending.md). Baselines and differential expression are always
there. Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keygenes.core.errors import input_error
from keygenes.core.places import located
from keygenes.core.regimes import RESERVED_REGIMES
from keygenes.core.tracks import TRACKS

GENEFORMER = "geneformer"
CODE = (".smk", ".py", ".r", ".jl", ".sh", ".yaml", ".yml", ".toml", ".json")  # beside a rule file


@dataclass(frozen=True)
class Reader:
    """A reader that was brought along.

    Attributes
    ----------
    name : str
        In tables, and of its folder; its track is called so too.
    rules : str
        Path of its rule file.
    title : str
        What it is called in text.
    score, unit : str
        What its score of a gene is, and in which unit.
    method : str
        How it works, in a sentence of the methods.
    citation : str
        DOIs, as registries have them; may be empty.
    random : bool
        Whether its seed matters; else each fold is read once.
    options : dict
        For its rules.
    files : list of str
        Paths of further files that it is made of, such as weights: recorded by their checksums.
    """

    name: str
    rules: str
    title: str
    score: str
    unit: str = ""
    method: str = ""
    citation: str = ""
    random: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def brought_readers(config: dict[str, Any]) -> dict[str, Reader]:
    """Return {name: reader} of those that a config brings along, in its order."""
    records = [record for record in config["readers"] if isinstance(record, dict)]
    found = {}
    for record in records:
        files = [located(path) for path in record.get("files", [])]
        places = {"rules": located(record["rules"]), "files": files}
        found[record["name"]] = Reader(**{**record, **places})
    return found


def reads_encoder(config: dict[str, Any]) -> bool:
    """Return whether an encoder is trained or taken over: else no key about one is read."""
    return GENEFORMER in config["readers"] and bool(config["regimes"])


def reader_in_question(config: dict[str, Any]) -> str | None:
    """Return the regime or reader that the study is about.

    Without an encoder evidence.regime may still name a regime, as the default does: then it is the
    one reader that was brought along, or None where there is none.
    """
    named, readers = config["evidence"]["regime"], list(brought_readers(config))
    if reads_encoder(config) or named in readers:
        return named
    return readers[0] if readers else None


def check_readers(config: dict[str, Any]) -> None:
    """Raise an `InputError` where the readers of a config do not fit the rest of it."""
    taken = {regime["name"]: "a regime" for regime in config["regimes"]}
    taken |= dict.fromkeys(RESERVED_REGIMES, "a baseline, or the model before training,")
    taken |= dict.fromkeys(TRACKS, "a track") | {GENEFORMER: "the encoder"}
    for reader in brought_readers(config).values():
        where = f"config key 'readers.{reader.name}"
        if reader.name in taken:
            raise input_error(
                f"{where}'",
                found=f"the name of {taken[reader.name]}",
                expected="a name that nothing else has in the tables",
                remedy="rename the reader",
            )
        for key, path in [("rules", reader.rules), *(("files", path) for path in reader.files)]:
            if not Path(path).is_file():
                raise input_error(
                    f"{where}.{key}'",
                    found=f"no file at {path}",
                    expected="a Snakemake rule file" if key == "rules" else "a file",
                    remedy="correct the path (relative to the folder you run in or to keygenes')",
                )
    names = [r["name"] for r in config["readers"] if isinstance(r, dict)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise input_error(
            f"config key 'readers.{twice[0]}'",
            found="two readers of this name",
            expected="different names",
            remedy="rename the reader",
        )
    _check_question(config)


def _check_question(config: dict[str, Any]) -> None:
    """Refuse a study of several readers that does not say which it is about."""
    readers = list(brought_readers(config))
    if reads_encoder(config) or len(readers) < 2 or config["evidence"]["regime"] in readers:
        return
    raise input_error(
        "config key 'evidence.regime'",
        found=f"'{config['evidence']['regime']}'",
        expected=f"one of {', '.join(readers)}",
        remedy="name the reader that the study is about",
    )


def code_of(reader: Reader) -> list[str]:
    """Return the paths of a reader's rule file, of code beside it, and of its files."""
    beside = sorted(Path(reader.rules).parent.iterdir())
    found = [str(p) for p in beside if p.suffix.lower() in CODE and p.is_file()]
    return list(dict.fromkeys([reader.rules, *found, *reader.files]))
