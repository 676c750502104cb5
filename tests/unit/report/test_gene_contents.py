import report_tables as tables
from stated import names_in, numbers_in, states
from study_configs import made_study

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
    of = {"ROC-AUC", "sensitive", "dosage"}
    assert names_in(label, of) == of
    assert numbers_in(value) == [0.74, 0.68, 0.80]
    assert states(detail, 270)
    for control in ("random encoder 0.63", "shuffled labels 0.49", "logistic 0.66"):
        assert control in detail


def test_a_task_of_genes_has_one_section_with_its_figure_and_its_first_genes():
    metrics, genes, classes = tables.gene_class_tables()
    found = {"gene_classes": classes, "gene_metrics": metrics, "gene_scores": genes}
    found = {name: {"dosage": table} for name, table in found.items()}
    names = ["figure1_umap", "dose/forest", "dosage/gene_classes"]
    shown = {name: {"stem": f"figures/{name}"} for name in names}
    [section] = gene_sections(found, made_study(CONFIG), shown)
    assert "dosage" in section["title"]
    assert states(section["text"], len(classes), 95, 90), "listed, in the vocabulary, expressed"
    assert [f["stem"] for f in section["figures"]] == ["figures/dosage/gene_classes"]
    shown = section["tables"][1][1]
    assert shown["rank"].tolist() == list(range(1, 13))
    best = genes[(genes["regime"] == "pretrained") & genes["seed"].isna()].nlargest(12, "score")
    assert shown["ensembl_id"].tolist() == best["ensembl_id"].tolist()
    of_list = classes.set_index("ensembl_id")["class"]
    assert shown["class"].tolist() == of_list[shown["ensembl_id"]].tolist()
