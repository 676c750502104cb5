"""Simulates studies whose right answer is known and writes docs/calibration.md from what is found.

    make calibration             # or: make calibration QUICK=1

Each part is kept under results/calibration/, micro worlds one by one: a run that was interrupted
goes on where it was, and --page-only writes the page from what is there.
"""

import argparse
import logging
import shutil
import sys
import time
from functools import partial
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
for folder in ("workflow/scripts", "tests", "tests/worlds", "tests/unit/evidence"):
    sys.path.insert(0, str(REPO / folder))
sys.path.insert(0, str(Path(__file__).parent))

import micro_worlds  # noqa: E402
import numpy as np  # noqa: E402
import score_tables  # noqa: E402
from page_text import SECTIONS, WORLDS, page  # noqa: E402
from rates import SETTINGS, mean  # noqa: E402

from keygenes.core.files import read_json, write_json, write_text  # noqa: E402
from keygenes.evidence.primary import ALPHA  # noqa: E402

STUDIES = {"score_tables": 1000, "dealt_anew": 4000, "residuals": 20, "accuracy": 1000}
STUDIES |= {"claims": 200}
QUICK = {"score_tables": 50, "dealt_anew": 200, "residuals": 2, "accuracy": 50, "claims": 20}
QUICK_WORLDS = 1


def accuracy(n_studies):
    """Return what `test_coverage.coverage_table` finds: a list of rows, counts for shares."""
    from test_coverage import coverage_table

    found = coverage_table(n_studies)
    for name in ("jackknife", "bootstrap", "own_models"):
        found[name] = (found[name] * n_studies).round().astype(int)
    return [row | {"n": n_studies} for row in found.to_dict("records")]


def claims(n_studies):
    """Return the verdicts of every test of a claim on studies with nothing behind it, as rows."""
    from claim_nulls import null_table

    return null_table(n_studies).to_dict("records")


def residuals(n_studies):
    """Return the share of genes at p < 0.05 where cells differ in size alone, as rows."""
    import levels

    designs = {
        **{f"{a} + {b} wells": {"n_wells": (a, b)} for a, b in ((3, 3), (6, 6), (6, 12))},
        "6 + 6 wells, 30 untreated cells to train": {"n_wells": (6, 6), "n_train": 30},
        "6 + 6 wells, depth acts in a jump": {"n_wells": (6, 6), "of_depth": levels.at_the_end},
    }
    rows = []
    for design, options in designs.items():
        for world in levels.SHIFTS:
            shares = {}
            for study in range(n_studies):
                rng = np.random.default_rng([study, 7])
                for name, p in levels.p_of_genes(rng, world, **options).items():
                    shares.setdefault(name, []).append((p < ALPHA).mean())
            found = {name: mean(values) for name, values in shares.items()}
            rows.append({"differs": world, "design": design, "found": found})
    return rows


PARTS = {
    **{
        f"score_tables.{name}": partial(score_tables.table, name) for name in score_tables.SIMULATED
    },
    "dealt_anew": score_tables.dealt_anew,
    "residuals": residuals,
    "accuracy": accuracy,
    "claims": claims,
}


def kept(name, folder, n_studies):
    """Return a part that was found before with as many studies; None where there is none."""
    path = folder / f"{name}.json"
    record = read_json(path) if path.exists() else {}
    return record["found"] if record.get("n_studies") == n_studies else None


def main():
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few studies, a minute or two")
    parser.add_argument("--afresh", action="store_true", help="forget what was found before")
    parser.add_argument("--minutes", type=float, help="train no other world after so many")
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    parser.add_argument("--records", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("keygenes").setLevel(logging.INFO)
    folder = options.records or REPO / "results" / f"calibration{'_quick' * options.quick}"
    usual = folder / "calibration.md" if options.quick else REPO / "docs/calibration.md"
    where = options.page or usual
    if options.afresh and folder.exists():
        shutil.rmtree(folder)
    sizes, n_worlds = (QUICK, QUICK_WORLDS) if options.quick else (STUDIES, WORLDS)
    wanted = set() if options.page_only else set(options.only or SECTIONS)
    parts = {}
    for name, run in PARTS.items():
        group, _, setting = name.partition(".")
        found = kept(name, folder, sizes[group])
        if found is None and group in wanted:
            write_json(
                {"n_studies": sizes[group], "found": run(sizes[group])}, folder / f"{name}.json"
            )
            found = kept(name, folder, sizes[group])
        if setting and found:
            parts.setdefault(group, {})[setting] = found
        elif found:
            parts[group] = found
    end = time.monotonic() + 60 * (options.minutes or float("inf"))

    def more():
        return "micro_worlds" in wanted and time.monotonic() < end

    parts["micro_worlds"] = micro_worlds.tables(n_worlds, folder / "worlds", more)
    if set(parts.get("score_tables", ())) == set(SETTINGS):
        write_text(page(parts), where)


if __name__ == "__main__":
    main()
