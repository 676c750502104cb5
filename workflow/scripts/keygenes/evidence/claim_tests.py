"""The tests that a claim can be put to: one function each, tables in, a verdict out.

Every test takes the study's tables, a task and the parameters that the claims file gives, and
returns `outcome`. A claim holds where what it says is so, in every run, and no control explains it;
in part where one of these is lacking; else it fails. A claim of no difference holds where the 90 %
interval lies within the margin, fails where all of it lies outside, and is undecided between. What
the study lacks raises `NotTestable`.

Every test also says what a study with nothing behind it is, and how often that would earn 'holds'
and 'in part'; what is earned so more than 1 time in 10 is no 'holds' (`outcomes.outcome`).
Intervals are those of the tables (95 %, over wells); where a table has none, the range over models
stands in their place and is named so. A small p speaks for the claim.
"""

from keygenes.evidence.claims_of_accuracy import (
    accuracy,
    accuracy_difference,
    beats_controls,
    confusion_within,
)
from keygenes.evidence.claims_of_genes import (
    gene_position,
    group_leads,
    group_share,
    targets_in_top,
)
from keygenes.evidence.claims_of_inputs import input_changes
from keygenes.evidence.claims_of_layers import (
    change_is_small,
    largest_change,
    largest_norm,
    layers_change_most,
)
from keygenes.evidence.claims_of_lists import lists_differ, top_is_unchanged, uncorrelated
from keygenes.evidence.claims_of_ranks import (
    loses_beyond_median,
    peak_at_gene,
    peak_below_median,
    shift_peaks,
)

TESTS = {
    test.__name__: test
    for test in (
        accuracy,
        accuracy_difference,
        beats_controls,
        confusion_within,
        layers_change_most,
        change_is_small,
        largest_norm,
        largest_change,
        shift_peaks,
        peak_at_gene,
        loses_beyond_median,
        peak_below_median,
        group_leads,
        group_share,
        gene_position,
        lists_differ,
        top_is_unchanged,
        uncorrelated,
        targets_in_top,
        input_changes,
    )
}
