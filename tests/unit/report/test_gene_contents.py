import report_tables as tables

from keygenes.report.contents import gene_sections
from keygenes.report.headline import gene_headline

CONFIG = {
    "study": "s",
    "tasks": [
        {"name": "dose", "column": "dose_um", "classes": {}},
        {"name": "dosage", "type": "gene", "gene_classes": "mine"},
    ],
    "evidence": {"n_key_genes": 12},
}


def test_the_headline_has_the_interval_and_every_control():
    metrics, _, _ = tables.gene_class_tables()
    label, value, detail = gene_headline("dosage", metrics)
    assert label == "ROC-AUC of sensitive genes, task dosage"
    assert value == "0.74 (0.68 to 0.80)"
    for part in ("n = 270 genes", "random encoder 0.63", "shuffled labels 0.49", "logistic 0.66"):
        assert part in detail


def test_a_task_of_genes_has_one_section_with_its_figure_and_its_first_genes():
    metrics, genes, classes = tables.gene_class_tables()
    found = {"gene_classes": classes, "gene_metrics": metrics, "gene_scores": genes}
    found = {name: {"dosage": table} for name, table in found.items()}
    names = ["figure1_umap", "dose/forest", "dosage/gene_classes"]
    shown = {name: {"stem": f"figures/{name}"} for name in names}
    [section] = gene_sections(found, CONFIG, shown)
    assert section["title"] == "Gene classes, task dosage"
    assert "300 genes are listed; 95% are in the vocabulary, 90% are expressed" in section["text"]
    assert [f["stem"] for f in section["figures"]] == ["figures/dosage/gene_classes"]
    shown = section["tables"][1][1]
    assert shown["rank"].tolist() == list(range(1, 13))
    best = genes[(genes["regime"] == "pretrained") & genes["seed"].isna()].nlargest(12, "score")
    assert shown["ensembl_id"].tolist() == best["ensembl_id"].tolist()
    of_list = classes.set_index("ensembl_id")["class"]
    assert shown["class"].tolist() == of_list[shown["ensembl_id"]].tolist()
