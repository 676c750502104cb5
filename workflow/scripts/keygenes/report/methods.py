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


def methods(config, references, *, entries, counts, software, simulated, claims=None):
    """Return the methods of a study as paragraphs, and the works that they cite.

    Parameters
    ----------
    config : dict
        With the order of its keys: the last class of a task is the one that is explained.
    references : dict
        Of `references.read_references`.
    entries : dict
        Registry entries that the study uses, as `core.resolve.resolve` gives them: datasets {name:
        entry}, model and vocabulary (entry or None), gene_sets and gene_classes {name: entry}.
    counts : dict
        Of `study_counts.study_counts`. What it lacks is left out.
    software : dict {package: [versions]}
    simulated : str, True or False
        What of the data is simulated. It is said first.
    claims : dict, optional
        title and source of the claims that were tested.

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
        for name, entry in entries[kind].items()
    }
    cited["model"] = citation(entries["model"] or {}, references)
    study = (config, entries, counts, cited)
    paragraphs, keys = [], {}
    for sentences in (
        methods_cells.data(*study, simulated),
        methods_cells.encoding(*study),
        methods_models.models(*study),
        methods_models.controls(*study),
        methods_evidence.attention(*study),
        methods_evidence.expression(*study),
        methods_evidence.tracks(*study),
        methods_evidence.tests(*study),
        methods_evidence.primary(*study),
        methods_models.gene_tasks(*study),
        [*methods_evidence.statistics(*study, claims), *computing(software)],
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
