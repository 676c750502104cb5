"""What the figure of the primary test says, read back from its artists."""

import numpy as np
import pytest
import report_tables as tables
from stated import states

from keygenes.report.figures_primary import primary_table, primary_test
from keygenes.report.wording import plural


def words(figure):
    figure.draw_without_rendering()
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


@pytest.mark.slow
def test_rows_are_the_primary_track_the_exploratory_ones_and_those_of_no_model():
    figure = primary_test(*tables.primary_tables(), task="level")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["attattr", "deletion"]
    assert set(names[2:4]) == {"attention total", "rollout"}
    assert names[4] == "wilcoxon" and set(names[5:]) == {"detection", "mean rank"}
    said = " ".join(" ".join(words(figure)).split())
    for part in (
        "supported",
        "AUPRC",
        "p53",
        plural(20, "relabelling"),
        plural(199, "relabelling"),
    ):
        assert part in said, part
    assert states(said, 40, 900), "genes of the set, of the primary track"
    assert figure.get_figwidth() < 11


@pytest.mark.slow
def test_every_relabelling_is_a_dot_and_the_true_labels_stand_out():
    scores, tests, primary = tables.primary_tables()
    panel = primary_test(scores, tests, primary).axes[0]
    drawn = [line.get_xdata() for line in panel.lines if line.get_marker() == "o"][:3]
    dealt = scores[(scores["track"] == "attattr") & (scores["relabelling"] > 0)]["auprc"]
    np.testing.assert_allclose(drawn[0], dealt)
    true = scores[(scores["track"] == "attattr") & (scores["relabelling"] == 0)]["auprc"]
    np.testing.assert_allclose(drawn[1], true[1:])  # further trainings
    np.testing.assert_allclose(drawn[2], true[:1])


@pytest.mark.slow
@pytest.mark.parametrize("signal", [0.0, 0.4, 2.0])
def test_beyond_the_threshold_of_max_t_p_is_at_most_0_05(signal):
    _, tests, _ = tables.primary_tables(signal=signal)
    models = tests[tests["permuted_p_max"].notna()]
    assert models["max_t_threshold"].notna().all()
    beyond = models["auprc"] > models["max_t_threshold"]
    assert (beyond == (models["permuted_p_max"] <= 0.05)).all()


@pytest.mark.slow
def test_too_few_relabellings_have_no_threshold_and_none_no_p():
    scores, tests, primary = tables.primary_tables(n=18)
    assert tests["max_t_threshold"].isna().all()
    scores, tests, primary = tables.primary_tables(n=0)
    assert tests["max_t_threshold"].isna().all()
    found = words(primary_test(scores, tests, primary))
    assert "1.000" not in found
    assert plural(20, "relabelling") not in " ".join(" ".join(found).split())


@pytest.mark.slow
def test_the_table_holds_what_is_drawn():
    scores, tests, _ = tables.primary_tables()
    table = primary_table(scores, tests)
    assert len(table) == len(scores)
    assert table["role"].notna().all()
    marked = table.dropna(subset=["max_t_threshold"])
    assert set(marked["track"]) == set(tests.loc[tests["role"] != "reference", "track"])


@pytest.mark.slow
def test_a_set_without_genes_is_said_so():
    scores, tests, primary = tables.primary_tables()
    figure = primary_test(scores, tests.assign(auprc=np.nan), primary)
    assert any(words(figure)) and not any(axes.has_data() for axes in figure.axes)
