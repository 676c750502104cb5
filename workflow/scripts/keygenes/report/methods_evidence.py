"""The methods in words: attention, expression, scores of genes, their tests, statistics."""

from keygenes.core.regimes import counterpart
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS, MANY_PASSES, TRACKS
from keygenes.evidence.primary import ALPHA, FEWEST, OF_WILCOXON
from keygenes.report.methods_cells import class_name, is_random, quoted, reference, stratum
from keygenes.report.methods_models import pooling
from keygenes.report.panels import spoken
from keygenes.report.wording import counted, listed, number, others_words, percent


def tracks_of(study, counts, kinds):
    """Return the tracks of models that the study has, of some kinds.

    Parameters
    ----------
    kinds : tuple of str
        `ATTENTION` or `ATTRIBUTIONS`.
    """
    if kinds == ATTRIBUTIONS and not study.attributed:
        return []
    if not study.attended:
        return []
    asked = [name for name in kinds if name in study.evidence["tracks"]]
    if not study.attention["pair_norms"]:
        asked = [name for name in asked if name != "norm_pair"]
    return [name for name in asked if name in counts.get("tracks", asked)]


def has_wells(counts):
    """Return whether wells are known; where nothing is said of them, they are taken to be."""
    return counts.get("has_wells", True)


def attention(study, counts, cited):
    """Yield what attention was reduced to, and how models were compared, where there are any."""
    if not study.attended:
        return
    keys = study.attention
    cells = _in_cells(keys["max_cells"])
    together = ", also of heads together" if keys["pair_norms"] else ""
    half = "; computed in bf16 where a GPU has it" if keys["precision"] == "auto" else ""
    yield (
        f"Attention received by a gene is its sum over a cell's queries (uniform: 1) per layer and "
        f"head, in {cells}; its residual is the log2 less what rank, length and depth predict in "
        f"{reference(study)} cells of training; norms weigh attention by the vectors it carries "
        f"[@kobayashi2020]{together}{half}"
    )
    if not study.pairs:
        return
    bounds = ["another training of a fold"] if len(study.seeds) > 1 else []
    bounds = bounds or (["another fold"] if len(study.folds) > 1 else [])
    pairs = [f"{a}/{b}" for a, b in study.pairs]
    yield (
        f"Models ({listed(pairs)}) were compared by cosine of attention, correlations and "
        "divergence of attention received, and its change at each rank, beside "
        f"{listed([*bounds, 'halves of the cells'])} of one model"
    )


def expression(study, counts, cited):
    """Yield how differential expression was tested."""
    keys, umap = study.expression, study.expression["umap"]
    wells = ""
    if has_wells(counts):
        wells = ", and by DESeq2 on counts summed per well [@love2014; @muzellec2023]"
    against = "vehicle" if reference(study) == "vehicle" else "the reference cells"
    yield (
        f"Differential expression of each class against the others and {against} was tested by "
        f"Wilcoxon's test between cells (counts per 10,000; log2 fold changes of means plus "
        f"{number(keys['pseudocount'])}){wells}"
    )
    if stratum(study) == "dose":
        yield (
            f"Genes respond to a dose at adjusted p < {number(keys['fdr'])} and |log2 fold "
            f"change| ≥ {number(keys['min_abs_log2fc'])}"
        )
    yield (
        f"UMAP [@mcinnes2018] used {number(umap['n_components'])} principal components of "
        f"{number(umap['n_variable_genes'])} variable genes"
    )


def tracks(study, counts, cited):
    """Yield how genes were scored."""
    options = study.evidence["attribution"]
    if own := [TRACKS[name].method for name in tracks_of(study, counts, ATTENTION)]:
        yield f"Genes were scored by attention received: {listed(own)}"
    found = tracks_of(study, counts, ATTRIBUTIONS)
    few = [name for name in found if name not in MANY_PASSES]
    many = [name for name in found if name in MANY_PASSES]
    parts = [
        f"{listed(TRACKS[name].method.format(**options) for name in some)} in {_in_cells(n)}"
        for some, n in ((few, options["max_cells"]), (many, options["costly_cells"]))
        if some
    ]
    if parts:
        last = [class_name(task, list(task["classes"])[-1]) for task in study.cell_tasks]
        checked = any(TRACKS[track].complete for track in found)
        yield (
            f"In {listed(study.attributed)}, the logit of {listed(last, 'or')} less the mean of "
            f"the others was attributed to genes by {', and by '.join(parts)}"
        )
        drawn = (few and options["max_cells"]) or (many and options["costly_cells"])
        rules = ["drawn evenly from classes and wells"] if drawn else []
        if checked:
            most = percent(options["max_completeness_error"])
            rules.append(f"dropped at completeness errors above {most}")
        if rules:
            yield f"Cells were {listed(rules)}"
    baselines = "differential expression, detection, mean rank, L1-penalised regression and chance"
    if study.regimes:
        yield f"Scores without a model were {baselines}"
    else:
        yield f"Genes were {'also ' if study.readers else ''}scored by {baselines}"
    regimes = study.regimes
    permuted = [name for name in regimes if "labels" in regimes[name] and name in study.attended]
    null = [(name, counterpart(name, regimes, "labels")) for name in permuted]
    for name, regime in null:
        if regime:
            yield f"The null of {regime} is {name}"


def _in_cells(n):
    """Return in how many test cells something is computed."""
    return "all test cells" if n is None else f"{counted(n, 'test cell')} per fold"


def tests(study, counts, cited):
    """Yield how scores were held against the model, known genes and each other."""
    keys = study.evidence
    faith, draws = keys["faithfulness"], counted(keys["faithfulness"]["n_random"], "draw")
    if study.attributed:
        cells = counted(keys["attribution"]["costly_cells"], "test cell")
        shares = listed(f"{100 * share:g}" for share in faith["fractions"])
        spared = pooling(study.finetune, study) == "first"
        yield (
            f"A score is faithful if masking its first {shares} % of genes, or all others, changes "
            "this difference more than random genes of the same ranks do [@deyoung2020], in "
            f"{cells} per fold and {draws}{'; the top-ranked gene stays' if spared else ''}"
        )
        if faith["randomised_cells"]:
            yield (
                "Weights were randomised from the output layer down [@adebayo2018] for "
                f"{counted(faith['randomised_cells'], 'test cell')} per fold"
            )
    of_main = f" of {study.main}" if study.main_attended else ""
    yield (
        "Regressions on expression were retrained without the first 1 to 20 % of genes of a score"
        f"{of_main} [@hooker2019], or as many equally detected ones ({draws})"
    )
    if keys["gene_sets"]:
        sets = [quoted(study.entries["gene_sets"][name], cited[name]) for name in keys["gene_sets"]]
        yield (
            f"Scores were held against {listed(sets)} by ROC-AUC, AUPRC and precision at 10 to 100 "
            f"genes, with p from {counted(keys['n_null_draws'], 'random set')} of other genes "
            "matched on detection and rank, and "
            f"{_agreement(counts)}"
        )
    else:
        yield f"Scores were held {_agreement(counts)}"


def _agreement(counts):
    """Return how scores were held against differential expression."""
    return (
        "against differential expression by rank-biased overlap [@webber2010] and Spearman's rho, "
        f"also partial and between halves of the {'wells' if has_wells(counts) else 'cells'}"
    )


def primary(study, counts, cited):
    """Yield how the one confirmatory test is made; nothing where the study has none."""
    keys = study.evidence
    test = keys["primary"]
    if not (test and study.regimes):
        return
    if not test["gene_set"]:
        yield "No gene set was named to test genes with, so that there is no verdict on them"
        return
    n = keys["permutations"]
    known = quoted(study.entries["gene_sets"][test["gene_set"]], cited[test["gene_set"]])
    yield (
        f"One test was named beforehand (task {test['task']}): whether {spoken(test['track'])} of "
        f"{test['regime']} ranks {known} higher than models without the classes do"
    )
    unit = counts.get("permuted_unit", "well" if has_wells(counts) else "cell")
    within = ", within each replicate," if unit == "well" else ""
    yield (
        "Its statistic T is the AUPRC over the test cells of all folds and the first training seed"
    )
    if not n:
        yield (
            "No model was trained on relabelled "
            f"{unit}s, so that the test could support nothing (it takes {FEWEST})"
        )
        return
    yield (
        f"For its null, {counted(n, 'relabelling')} dealt the classes to the {unit}s{within} once "
        "for all folds, none of them the labels as they are, and the regime was trained again on "
        "each, for as many epochs; labels entered through training alone"
    )
    yield (
        "p is one plus the number of relabellings whose T is as large, over one plus their number "
        "[@phipson2010]; the effect is T less their mean, its interval that of t for one more "
        f"relabelling ({n - 1} degrees of freedom; the gene set held fixed, T as variable as "
        "theirs)"
    )
    least = number(keys["min_effect"])
    yield (
        f"Supported means p ≤ {ALPHA:g} against these and against matched sets, and an effect of "
        f"at least {least}; not supported, an interval below {least}; all else is inconclusive"
    )
    yield (
        "Other tracks are exploratory, their p adjusted by the largest standardised T of each "
        f"relabelling (max-T); Wilcoxon's own T was held against {OF_WILCOXON} relabellings"
    )


def statistics(study, counts, cited):
    """Yield intervals, tests and their correction."""
    unit = counts.get("unit", "well" if study.split["by"] == "replicate" else "cell")
    n = listed(sorted(set(counts.get("n_units", {}).values())), "or")
    scored = "wells" if has_wells(counts) else "cells"
    resamples = counted(study.evidence["n_bootstrap"], "bootstrap resample")
    group = stratum(study)
    if counts.get("has_intervals", True):
        trainings = " and over trainings" if study.seeds[1:] and is_random(study) else ""
        merged = ", single ones with a neighbouring dose" if group == "dose" else ""
        yield (
            "Intervals (95 %) of accuracies and what follows from predictions are t intervals of a "
            f"jackknife over {unit}s within each {group}{f' (n = {n})' if n else ''}{merged}"
            f"{trainings}, with Satterthwaite's degrees of freedom [@satterthwaite1946]"
        )
    else:
        yield f"Accuracies have no interval, as one {unit} of each {group} was tested"
    with_sets = " with gene sets" if study.gene_sets else ""
    tested = (
        f", with p of moderated t between the last class and {reference(study)} [@smyth2004]"
        if has_wells(counts)
        else ""
    )
    between = f", and those of scores from the variance between {scored}{tested}"
    yield (
        f"Those of agreement{with_sets} are from {resamples} of genes"
        f"{between if study.attended else ''}"
    )
    yield "False discovery rates are over genes [@benjamini1995]"
    if claims := study.claims:
        yield (
            f"{others_words(claims['title'])} ({others_words(claims['source'])}) were tested "
            "beside controls, with one verdict a claim, that of its primary reading; one that "
            "holds before, but not after Holm's adjustment over claims is undecided [@holm1979]"
        )
