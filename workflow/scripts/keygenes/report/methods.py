"""The methods of a study in words, ready for a paper: made from its config, and true to it.

Every sentence is about a key that is on; what the config switches off is not spoken of. The rooms
of the workflow have their sentences in `methods_cells`, `methods_models` and `methods_evidence`,
where works are named by their keys (``[@theodoris2023]``).
"""

from keygenes.report import methods_cells, methods_evidence, methods_models
from keygenes.report.references import keys_of_citation, with_marks
from keygenes.report.wording import listed, others_words, sentence

PACKAGES = {  # as a paper calls them
    "torch": "PyTorch {} [@paszke2019]",
    "transformers": "transformers {} [@wolf2020]",
    "scikit-learn": "scikit-learn {} [@pedregosa2011]",
    "scanpy": "scanpy {} [@wolf2018]",
    "anndata": "anndata {} [@virshup2024]",
    "pydeseq2": "PyDESeq2 {}",
    "illico": "illico {}",
}


def methods(study, references, *, counts, software):
    """Return the methods of a study as paragraphs, and the works that they cite.

    Parameters
    ----------
    study : Study
        With the classes of tasks in the config's order: the last one is explained.
    references : dict
        Of `references.read_references`.
    counts : dict
        Of `study_counts.study_counts`. What it lacks is left out.
    software : dict {package: [versions]}

    Returns
    -------
    paragraphs : list of str
        Plain text with marks such as (Theodoris et al., 2023).
    keys : list of str
        Of the works cited, in the order of their marks.
    """
    cited = {
        name: citation(entry, references)
        for kind in ("datasets", "gene_sets", "gene_classes")
        for name, entry in study.entries[kind].items()
    }
    cited["model"] = citation(study.entries["model"] or {}, references)
    for name, reader in study.readers.items():
        cited["reader", name] = citation({"citation": reader.citation}, references)
    about = (study, counts, cited)
    paragraphs, keys = [], {}
    for sentences in (
        methods_cells.data(*about),
        methods_cells.encoding(*about),
        methods_models.models(*about),
        methods_models.readers(*about),
        methods_models.controls(*about),
        methods_evidence.attention(*about),
        methods_evidence.expression(*about),
        methods_evidence.tracks(*about),
        methods_evidence.tests(*about),
        methods_evidence.primary(*about),
        methods_models.gene_tasks(*about),
        [*methods_evidence.statistics(*about), *computing(software)],
    ):
        text, found = with_marks(" ".join(map(sentence, sentences)), references)
        paragraphs.append(text)
        keys.update(dict.fromkeys(found))
    return [text for text in paragraphs if text], list(keys)


def citation(entry, references):
    """Return what follows the title of a registry entry: the keys of its works, unknown DOIs."""
    keys, others = keys_of_citation(entry.get("citation"), references)
    known = f" [{'; '.join(f'@{key}' for key in keys)}]" if keys else ""
    return known + "".join(f" (doi:{others_words(doi)})" for doi in others)


def computing(software):
    """Yield what the study ran with, and what is recorded of it."""
    versions = {package: " and ".join(found) for package, found in software.items()}
    own = f" {versions['keygenes']}" if "keygenes" in versions else ""
    snakemake = f" {versions['snakemake']}" if "snakemake" in versions else ""
    used = [f"Snakemake{snakemake} [@molder2021]"]
    used += [f"Python {versions['python']}"] if "python" in versions else []
    used += [text.format(versions[name]) for name, text in PACKAGES.items() if name in versions]
    yield (
        f"Software was keygenes{own} with {listed(used)}; an RO-Crate records checksums "
        "[@soilandreyes2022; @leo2024]"
    )
