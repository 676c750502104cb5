"""The text of docs/calibration.md, made from what the simulated studies found."""

import micro_worlds
import score_tables
from rates import NULLS, SETTINGS, exact_interval, table

from keygenes.evidence.primary import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED

WORLDS = 20  # micro worlds of a setting, when all are there
RIGHT_SHARE = 1 / (score_tables.B + 1)


def per_cent(yes, n):
    """Return a share in words: per cent, with its exact interval."""
    low, high = exact_interval(yes, n)
    return f"{100 * yes / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def chosen(found, names, columns):
    """Return rows for `table`: {words: {setting: entry}} of tests, {name of a test: words}."""
    return {
        words: {
            setting: found[setting][test]
            for setting in columns
            if setting in found and found[setting].get(test, {"n": 0})["n"]
        }
        for test, words in names.items()
    }


def headline(parts):
    """Return the first line: what the page says."""
    found = parts["score_tables"]
    both = {n: found[n][f"{SUPPORTED} {score_tables.B}"] for n in found}
    nulls = [both[n] for n in NULLS]
    worst = max(nulls, key=lambda entry: entry["yes"])
    strong = both["strong"]
    return (
        f"Where nothing is there, the verdict 'supported' is given in {per_cent(**_counts(worst))} "
        f"of simulated score tables at most, and in {per_cent(**_counts(strong))} where genes are "
        "planted strongly. All of this page is simulated."
    )


def _counts(entry):
    return {"yes": entry["yes"], "n": entry["n"]}


INTRODUCTION = """\
Made by `make calibration`; no number here is typed by hand. All of it is simulated: nothing on
this page is about any real cell. A row is a test, a column a setting, an entry the share of
simulated studies, in per cent, in which the test says yes, with its exact 95 % interval (Clopper
and Pearson); n is the number of studies. Where the setting holds nothing to find, that share is the
type-I error and should be 5 or less; where genes are planted it is power. Two kinds of studies,
told apart throughout:

- **simulated score tables**: numbers drawn as scores of genes, no model behind them;
- **trained models**: micro worlds, in which small transformers are really trained, on true and on
  dealt labels, and looked at with the package's own attention statistics and attributions.

Both go through the functions that judge a real study (`evidence/primary.py`,
`evidence/agreement.py`, `evidence/moderated.py`, `cells/relabel.py`). The settings:
"""


def settings_list():
    """Return the settings as a list in Markdown."""
    return "\n".join(f"- **{name}**: {words}" for name, words in SETTINGS.items())


def primary_section(found):
    """Return the section of the primary test on simulated score tables."""
    b, few, more = score_tables.B, score_tables.FEW, score_tables.MORE
    tests = {
        **{f"permuted {n}": f"permuted labels, B = {n}" for n in (few, 19, b, more)},
        "matched": "matched random sets",
        "above base rate": "AUPRC's interval over genes above the base rate",
        "any track": "any of four tracks, p as it is",
        "any track, max-T": "any of four tracks, max-T",
        "zero in interval": "interval of the effect holds 0",
    }
    outcomes = {
        f"{outcome} {n}": f"{outcome}, B = {n}"
        for n in (few, b, more)
        for outcome in (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE)
    }
    sizes = {"effect": "effect", "detectable": "effect that 80 % power would need"}
    return f"""\
## The primary test: simulated score tables

{score_tables.N_GENES} genes, a set of {score_tables.N_POSITIVE}; {score_tables.N_REPLICATES} \
replicates, each a fold, of {2 * score_tables.OF_CLASS} wells. Models that are trained on dealt \
labels score genes by the wells that happen to differ; all share a part that follows detection. \
Every model counts as one that has learned, which is the harder case: in a study a model without \
accuracy can support nothing.

{table(chosen(found, tests, SETTINGS), SETTINGS)}

p of {few} relabellings cannot be 0.05 or less; that of {b} is so in 1 of {b + 1} studies at most. \
Matched sets come from strata, and within a stratum the set's genes may still be the more widely \
detected: the matched test alone says yes too often where detection is all there is, so it never \
stands alone. Of four tracks each at its own p one is often above by chance; max-T counts that in. \
"AUPRC's interval over genes above the base rate" is no test of this package: it shows what a set \
of widely detected genes earns without any signal. The verdict asks for the permuted and the \
matched test and for an effect of {score_tables.MIN_EFFECT:g}; where genes are planted so weakly \
that the true effect is less, "not supported" is right. Its outcomes ("not testable" is for \
classifiers that cannot be trained again, and does not depend on data):

{table(chosen(found, outcomes, SETTINGS), SETTINGS)}

Sizes (differences of AUPRC; means over studies with 95 % intervals):

{table(chosen(found, sizes, SETTINGS), SETTINGS)}
"""


def anew_section(found):
    """Return the section on labels that are dealt anew for every fold."""
    deals = {"once": "dealt once, for all folds", "anew": "dealt anew for every fold"}
    rows = {
        f"{words}; trainings differ by {noise}": {
            "rejected, %": of_deals[how]["rejected"],
            "sd of the null": of_deals[how]["sd"],
        }
        for noise, of_deals in found.items()
        for how, words in deals.items()
    }
    of_anew = {noise: of_deals["anew"]["rejected"] for noise, of_deals in found.items()}
    too_many = [n for n, e in of_anew.items() if exact_interval(**_counts(e))[0] > RIGHT_SHARE]
    said = (
        f"Dealt anew it rejects too often where trainings differ by {' or '.join(too_many)}."
        if too_many
        else "What is rejected by either is what chance allows."
    )
    return f"""\
## One deal for all folds: simulated score tables

The permuted test, B = {score_tables.B}, where there is nothing to find. Folds share training \
wells, so models of two folds that were told the same labels agree more than models of two deals: \
a null dealt anew for every fold is too narrow, the less trainings of the same fold differ by \
themselves, the more so. The right share is {100 * RIGHT_SHARE:.1f} %. {said}

{table(rows, ["rejected, %", "sd of the null"])}
"""


def wells_section(found):
    """Return the section of the moderated t between wells on simulated score tables."""
    tests = {"any gene": "any gene at q < 0.05 (share of studies, %)"}
    shares = {
        "genes at p": "genes without a planted effect at p < 0.05",
        "planted at q": "planted genes at q < 0.05",
        "false at q": "genes at q < 0.05 that are not planted, of those at q < 0.05",
    }
    return f"""\
## Moderated t between wells: simulated score tables

{score_tables.N_REPLICATES * score_tables.OF_CLASS} treated against as many untreated wells, \
scores of each well as they are, nothing corrected for length or depth. What follows length or \
depth is found, as it should be by a test of difference: that is why q of uncorrected attention is \
no evidence, and residual attention is there (`tests/worlds/levels.py` has its level).

{table(chosen(found, tests, SETTINGS), SETTINGS)}

Shares of genes, from 0 to 1, means over studies:

{table(chosen(found, shares, SETTINGS), SETTINGS)}
"""


def trained_section(found):
    """Return the section of the micro worlds."""
    m = micro_worlds
    tests = {
        **{f"permuted, {track}": f"permuted labels, `{track}`" for track in m.TRACKS},
        "any track, max-T": "any track, max-T",
        **{f"matched, {track}": f"matched random sets, `{track}`" for track in m.TRACKS},
        "any gene, attention_received": "any gene at q < 0.05, `attention_received`",
        "learnt": "the model has learned",
        **{
            f"{outcome}, {track}": f"{outcome}, `{track}`"
            for track in m.VERDICTS
            for outcome in (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE)
        },
        **{
            f"{SUPPORTED} if learnt, {track}": f"{SUPPORTED}, `{track}`, had every model learned"
            for track in m.VERDICTS
        },
    }
    sizes = {
        "test accuracy": "accuracy in test wells",
        "training accuracy, true labels": "in training cells, true labels",
        "training accuracy, dealt labels": "in training cells, dealt labels",
        **{f"effect, {track}": f"effect, `{track}`" for track in m.TRACKS},
        **{f"genes at p, {track}": f"genes at p < 0.05, `{track}`" for track in m.TRACKS},
    }
    done = {name: entries["learnt"]["n"] for name, entries in found.items()}
    n_models = sum(done.values()) * 2 * (1 + m.B)
    short = (
        ""
        if min(done.get(name, 0) for name in SETTINGS) >= WORLDS
        else f" **Fewer than the {WORLDS} worlds a setting that are meant to be here**: the run "
        "was cut short; `make calibration` goes on with the rest."
    )
    listed = ", ".join(f"{name} {n}" for name, n in done.items())
    return f"""\
## Trained models: micro worlds

{n_models:,} classifiers in {sum(done.values())} worlds: {listed}.{short} A world has {m.N_GENES} \
genes, a set of {len(m.PLANTED)}, 2 replicates of {m.WELLS} wells of {m.CELLS} cells. An encoder \
of one layer, {m.HIDDEN} wide, is trained for {m.COURSE["epochs"]} epochs on one replicate and \
looked at in the other, and the same is done under {m.B} relabellings. Integrated gradients have \
{m.N_STEPS} points and {m.LOOKED_AT} cells of each well, which makes them noisier than in a study; \
all else has every test cell. So few worlds tell 5 % from 50, not from 10: they check that the \
simulated score tables are not of another world.

{table(chosen(found, tests, SETTINGS), SETTINGS)}

Means over worlds with 95 % intervals; effects are differences of AUPRC, shares go from 0 to 1:

{table(chosen(found, sizes, SETTINGS), SETTINGS)}
"""


def accuracy_section(rows):
    """Return the section of the intervals of accuracies."""
    lines = {}
    for row in rows:
        name = (
            f"{row['wells']} wells a dose, {row['folds']} folds, trained {row['seeds']} times, "
            f"models' sd {row['sd_models']:g}"
        )
        lines[name] = {
            column: {"kind": "share", "yes": row[column], "n": row["n"]}
            for column in ("jackknife", "own_models", "bootstrap")
        }
    return f"""\
## Intervals of an accuracy: simulated hits per well

Share of studies, in per cent, whose nominal 95 % interval holds the true accuracy \
(`tests/worlds/test_coverage.py`). `jackknife` is the package's, over wells and, where a fold is \
trained several times, over trainings; `own_models` is the same, held against the accuracy of the \
very models that were trained; `bootstrap`, percentiles over wells, is what it is not.

{table(lines, ["jackknife", "own_models", "bootstrap"])}
"""


def residuals_section(rows):
    """Return the section of residual attention where cells differ in size alone."""
    corrected = ("none", "length", "length and depth")
    lines = {f"{row['differs']}, {row['design']}": row["found"] for row in rows}
    return f"""\
## Residual attention: simulated cells that differ in size alone

Share of genes, from 0 to 1, at p < 0.05 by the moderated t between wells, mean over studies with \
95 % interval (`tests/levels.py`: 600 genes, 50 cells a well, attention that moves with rank, \
length and depth; treated cells 26 % shorter, 39 % less deep, both or neither). Columns: what \
attention is corrected for; the package corrects for length and depth. A jump of attention in the \
last fifth of each cell is what its smooth surfaces cannot follow.

{table(lines, corrected)}
"""


def claims_section(rows):
    """Return the section of the tests of claims."""
    verdicts = ("holds", "in_part", "fails", "undecided")
    lines = {}
    for row in rows:
        behind = "nothing behind it" if row["truth"] == "nothing" else "the claim is so"
        lines[f"`{row['test']}`, {behind}"] = {
            v: {"kind": "share", "yes": round(row[v] * row["n_studies"]), "n": row["n_studies"]}
            for v in verdicts
        }
    return f"""\
## Tests of claims: simulated tables

How often, in per cent, each test of a claim gives its verdicts where nothing is behind the claim, \
and where the claim is so (`tests/unit/evidence/claim_nulls.py`).

{table(lines, verdicts)}
"""


SECTIONS = {
    "score_tables": (primary_section, wells_section),
    "dealt_anew": (anew_section,),
    "micro_worlds": (trained_section,),
    "residuals": (residuals_section,),
    "accuracy": (accuracy_section,),
    "claims": (claims_section,),
}


def page(parts):
    """Return docs/calibration.md from {part: what was found}, a part that is None left out."""
    blocks = ["# Calibration", headline(parts), f"{INTRODUCTION}\n{settings_list()}"]
    for part, sections in SECTIONS.items():
        if parts.get(part):
            blocks += [section(parts[part]).rstrip() for section in sections]
    return "\n\n".join(blocks) + "\n"
