"""The study that a config describes, with where its inputs lie; refused in one sentence.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keygenes.core.claims_file import read_claims
from keygenes.core.config import check, check_relations
from keygenes.core.places import located
from keygenes.core.resolve import read_registry, resolve
from keygenes.core.study import Study
from keygenes.core.study_files import StudyFiles

SECTIONS = {  # of each registry
    "datasets": ("datasets",),
    "models": ("vocabularies", "models"),
    "gene_sets": ("gene_sets", "gene_classes"),
}


class ReadStudy(NamedTuple):
    """A study, where its models' files and its inputs lie, and the path of its claims (or None)."""

    study: Study
    files: StudyFiles
    resolved: dict[str, Any]
    claims: str | None


def read_study(config: dict[str, Any], schema: Callable[[str], dict[str, Any]]) -> ReadStudy:
    """Return the study of a config that holds every default.

    Parameters
    ----------
    config : dict
    schema : function
        Takes the name of a schema: config, claims or a registry.

    Raises
    ------
    InputError
        For the first key of the config, a registry or the claims file that does not fit.
    """
    check(config, schema("config"), "config key")
    check_relations(config)
    resolved = resolved_inputs(config, schema)
    named = config["evidence"]["claims"]
    path = located(named) if named else None
    study = Study.of(config, resolved["entries"], read_claims(path, schema("claims")))
    return ReadStudy(study, StudyFiles(study, resolved["model_files"]), resolved, path)


def resolved_inputs(config: dict[str, Any], schema: Callable[[str], dict[str, Any]]) -> Any:
    """Return where the inputs of a config lie (of `core.resolve.resolve`), by its registries."""
    registries: dict[str, Any] = {}
    for name, sections in SECTIONS.items():
        found = read_registry(config["registries"][name], schema(name))
        registries |= {section: found.get(section, {}) for section in sections}
    return resolve(
        config,
        registries["datasets"],
        {name: registries[name] for name in SECTIONS["models"]},
        registries["gene_sets"],
        registries["gene_classes"],
    )
