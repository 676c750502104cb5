"""From counts and annotation of any source to the canonical matrix, checked.

The canonical matrix is an AnnData with raw counts (CSR, float32, sorted indices) of all measured
genes. `var` is indexed by Ensembl gene id (no version, unique) and has the columns ``symbol`` and
``given_id``, the id as supplied. Where columns of one gene were summed, ``obsm["given_counts"]``
(CSR, float32) keeps them apart and ``uns["given_columns"]`` names them (given_id, ensembl_id).
``uns["named_genes"]`` has a row per column of the source that was not read by an Ensembl id: name,
ensembl_id (empty: the column is left out of the matrix), symbol and how it was read.
`obs` is indexed by cell name and has

- ``n_counts`` (float64): the cell's total over all measured genes, as supplied where it is;
- ``n_genes`` (int64): genes with a count; ``percent_mito`` (float64, %) where such genes are known;
- where known: ``drug``, ``dose_token``, ``well``, ``replicate`` (categorical text), ``dose_um``
  (float64, uM, NaN unknown) and the hash columns of `HASH_COLUMNS`;
- every other column of the source under its own name.

Text of obs is that of `keygenes.core.values`, so that a value has one spelling from here on.
"""

import logging
import re

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.shown import LONGEST_ID
from keygenes.core.values import plain_column, texts_of, value_text
from keygenes.inputs.dataset import Dataset
from keygenes.inputs.gene_columns import (
    columns_by_id,
    columns_by_symbol,
    left_out,
    noted,
    require_names,
)
from keygenes.inputs.genes import is_mitochondrial

log = logging.getLogger("keygenes")

UNASSIGNED = "unassigned"  # drug of a cell whose hash named none; never the vehicle
HASH_COLUMNS = ("top_to_second_best_ratio", "qval_demultiplexing", "hash_umis")
TEXT_COLUMNS = ("drug", "dose_token", "well", "replicate")
NUMBER_COLUMNS = ("n_counts", "dose_um", *HASH_COLUMNS)
OBS_COLUMNS = (*TEXT_COLUMNS, *NUMBER_COLUMNS)
VAR_COLUMNS = ("ensembl_id", "symbol")

# The eight steps of sci-Plex 2's dilution series, per drug times its factor in uM.
DOSE_TOKENS = ("0", "0.1", "0.5", "1", "5", "10", "50", "100")

# Nutlin_100_AA01: drug, dose token, plate letter and well. SAHA_100_E09 lacks the plate letter.
OLIGO = re.compile(r"(?P<drug>.+)_(?P<token>[0-9.]+)_(?P<well>[A-Z]?[A-H](?P<column>\d{2}))")

MISSING = ("", "nan", "na", "n/a", "none", "<na>")  # spellings of an absent number or symbol


def parse_oligo(oligos):
    """Split hash names such as ``Nutlin_100_AA01``.

    Parameters
    ----------
    oligos : array-like of str or missing, [n_cells]

    Returns
    -------
    pandas.DataFrame
        Columns drug, dose_token, well (text, None where the name is missing or unlike this).
    """
    rows = []
    for oligo in np.asarray(oligos, dtype=object):
        short = isinstance(oligo, str) and len(oligo) <= LONGEST_ID
        match = OLIGO.fullmatch(oligo) if short else None
        rows.append(match.group("drug", "token", "well") if match else (None, None, None))
    return pd.DataFrame(rows, columns=["drug", "dose_token", "well"], dtype=object)


def replicate_of_well(wells):
    """Return the replicate of sci-Plex 2 wells, from the plate column.

    Columns 01, 04, 07, 10 are rep1; 02, 05, 08, 11 rep2; 03, 06, 09, 12 rep3.

    Parameters
    ----------
    wells : array-like of str or missing, [n_cells]

    Returns
    -------
    ndarray of object, [n_cells]
        None where the well is missing.
    """
    wells = np.asarray(wells, dtype=object)
    return np.array(
        [f"rep{(int(well[-2:]) - 1) % 3 + 1}" if isinstance(well, str) else None for well in wells],
        dtype=object,
    )


def dose_in_um(drugs, tokens, factors):
    """Return doses in uM: token times the factor of the drug.

    Parameters
    ----------
    drugs, tokens : array-like of str or missing, [n_cells]
    factors : dict of str to float
        uM per dose token.

    Returns
    -------
    ndarray of float64, [n_cells]
        NaN where drug or token is missing. Rounded to ten digits, so that 0.1 x 2.5 is 0.25.
    """
    scale = pd.Series(np.asarray(drugs, dtype=object)).map(factors).to_numpy(np.float64)
    product = to_floats(tokens) * scale
    return np.array([float(f"{value:.10g}") for value in product], dtype=np.float64)


def add_wells(obs, wells):
    """Add well and, as the plate's design implies, replicate to obs of sci-Plex 2, in place."""
    obs["well"] = wells.to_numpy()
    obs["replicate"] = replicate_of_well(wells)


def doses_are_um(drugs, doses, factors):
    """Return whether doses are uM: none of the tokens, but each a token times its factor."""
    pairs = {
        (drug, float(dose))
        for drug, dose in zip(words_of(drugs), to_floats(doses), strict=True)
        if drug in factors and not np.isnan(float(dose))
    }
    tokens = np.array([float(token) for token in DOSE_TOKENS])
    if all(np.isclose(dose, tokens).any() for _, dose in pairs):
        return False
    return all(np.isclose(dose, tokens * factors[drug]).any() for drug, dose in pairs)


def add_dose(obs, entry, path):
    """Add dose_um and a tidy dose_token to obs that has drug and dose_token, in place."""
    if "dose_token" not in obs:
        return
    drugs = words_of(obs["drug"])
    factors = {
        value_text(drug): float(factor) for drug, factor in (entry.get("dose_factor") or {}).items()
    }
    numbers = to_floats(obs["dose_token"])
    # Nothing is nothing in any unit, and a dose that is not known needs no factor.
    needed = {drug for drug, dose in zip(drugs, numbers, strict=True) if drug and abs(dose) > 0}
    unknown = sorted(needed - set(factors))
    if unknown:
        raise input_error(
            "registry key 'dose_factor'",
            found="factors for " + (", ".join(factors) or "no drug"),
            expected=f"one for each drug of {path}, also for " + ", ".join(unknown),
            remedy="add the uM per dose token of each drug",
        )
    # A cell without a drug has no dose, whatever its column says.
    obs["dose_token"] = [
        None if drug is None or np.isnan(number) else f"{number:g}"
        for drug, number in zip(drugs, numbers, strict=True)
    ]
    without = {drug: 1.0 for drug in drugs if drug is not None}
    obs["dose_um"] = dose_in_um(drugs, obs["dose_token"], without | factors)


def to_floats(column):
    """Return a column as float64, NaN where it holds no number."""
    values = pd.Series(np.asarray(column, dtype=object))
    return pd.to_numeric(values, errors="coerce").to_numpy(np.float64)


def words_of(column):
    """Return the texts of a column (`core.values`) as an object array, None where missing."""
    texts = texts_of(column)
    return np.where(texts.isna(), None, np.asarray(texts, dtype=object))


def to_texts(column):
    """Return symbols, or what is to be numbers, as an object array of str, None where missing.

    Here the words none and NA say so too.
    """
    values = pd.Series(np.asarray(column, dtype=object))
    texts = values.astype(str)
    return np.where(values.isna() | texts.str.lower().isin(MISSING), None, texts).astype(object)


def rename_columns(frame, names):
    """Return `frame` with columns renamed; a column that had the new name already gives way."""
    names = {old: new for old, new in names.items() if old in frame and old != new}
    return frame.drop(columns=[new for new in names.values() if new in frame]).rename(columns=names)


def require_columns(frame, columns, path, what):
    """Raise `InputError` if `frame`, the `what` of the file at `path`, lacks one of `columns`."""
    missing = [column for column in columns if column not in frame]
    if missing:
        there = ", ".join(map(repr, frame.columns)) or "(none)"
        index = " (or 'index')" if what == "var" else ""
        raise input_error(
            str(path),
            found=f"{what} columns {there}",
            expected=f"a column {missing[0]!r}",
            remedy=f"name the right column{index} under 'columns:' in the dataset registry, leave "
            "out what there is not, or choose another layout",
        )


def _require_cells(names, path):
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        raise input_error(
            str(path),
            found=f"{len(repeated):,} cell names more than once, such as {repeated[0]!r}",
            expected="a name of its own for each cell",
            remedy="make the names unique, e.g. with anndata's obs_names_make_unique",
        )


def _numbers(column, name, path):
    """Return an obs column as float64; text that is no number at all is refused."""
    numbers = to_floats(column)
    text = to_texts(column)
    wrong = np.isnan(numbers) & np.array([value is not None for value in text])
    if wrong.any():
        raise input_error(
            str(path),
            found=f"{text[wrong][0]!r} in the column for {name!r}",
            expected="numbers",
            remedy=f"correct 'columns: {name}:' in the dataset registry",
        )
    if np.isinf(numbers).any():
        raise input_error(
            str(path),
            found=f"an infinite value in the column for {name!r}",
            expected="numbers, or nothing where a value is missing",
            remedy="correct the column",
        )
    return numbers


def canonical_matrix(counts, obs, ids, symbols, path, names=None):
    """Check the parts of a dataset and return what makes the matrix of this module's docstring.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, or what has such `blocks`, [n_cells, n_genes]
        Checked as they are read.
    obs : pandas.DataFrame, [n_cells]
        Canonical names where the meaning is known.
    ids : array-like of str, [n_genes], or None
        None: genes are known by their symbols alone.
    symbols : array-like of str, [n_genes], or None
    path : path-like
        For messages.
    names : table 'gene_names', optional
        Which gene each symbol is; without ids only.

    Returns
    -------
    keygenes.inputs.dataset.Dataset
    """
    obs = obs.copy()
    obs.index = obs.index.astype(str)
    obs.index.name = "cell"
    _require_cells(obs.index, path)
    require_names(obs.index, "cell name", path)
    by_symbol = ids is None
    columns = (
        columns_by_symbol(symbols, names, path) if by_symbol else columns_by_id(ids, symbols, path)
    )
    kept = columns["ensembl_id"].notna().to_numpy()
    ids, symbols = columns["ensembl_id"].to_numpy()[kept], columns["symbol"].to_numpy()[kept]
    given_ids = ids if by_symbol else columns["name"].to_numpy()[kept]
    codes, unique = pd.factorize(ids)  # in the order in which they come first
    first = np.unique(codes, return_index=True)[1]
    summed = np.flatnonzero(np.bincount(codes)[codes] > 1)
    genes = np.full(len(columns), -1)  # what is left out counts in the totals alone
    genes[kept] = codes
    mitochondrial = is_mitochondrial(columns["ensembl_id"], columns["symbol"])
    mitochondrial[kept] = mitochondrial[kept][first][codes]  # as the first column of each gene
    for name in obs:
        obs[name] = plain_column(obs[name])
    for name in NUMBER_COLUMNS:
        if name in obs:
            obs[name] = _numbers(obs[name], name, path)

    for name in TEXT_COLUMNS:
        if name in obs:
            texts = pd.Series(texts_of(obs[name])).astype(object)
            texts = texts.fillna(UNASSIGNED) if name == "drug" else texts
            obs[name] = pd.Categorical(texts)
            require_names(list(obs[name].cat.categories), name, path)
    for name in ("well", "replicate"):
        values = obs[name].cat.categories if name in obs else []
        if words := [text for text in values if text.lower() in MISSING]:
            log.warning(
                "%s: '%s' is taken as the name of a %s; leave it empty where there is none",
                *(path, words[0], name),
            )
    if "dose_um" in obs:  # one number each, as they are compared: 0.3 also where it was computed
        obs["dose_um"] = texts_of(obs["dose_um"]).astype(np.float64)

    var = pd.DataFrame(
        {"symbol": symbols[first], "given_id": given_ids[first]},
        index=pd.Index(unique, name="ensembl_id", dtype=object),
    )
    n_summed = len(given_ids) - len(var)
    log.info(
        *("%s: %s cells x %s genes%s", path, f"{len(obs):,}", f"{len(var):,}"),
        f"; columns summed, as their id was there before: {n_summed:,}" if n_summed else "",
    )
    if lost := left_out(columns):
        log.warning("%s: genes left out, though their counts are part of n_counts: %s", path, lost)
    uns = {"named_genes": rows} if len(rows := noted(columns)) else {}
    # Upstream's tokenizer does not sum all that is summed here, so `tokens.upstream` needs both.
    if len(summed):
        uns["given_columns"] = {"given_id": given_ids[summed], "ensembl_id": ids[summed]}
    apart = np.flatnonzero(kept)[summed]
    return Dataset(counts, obs, var, genes, mitochondrial, apart, uns, path)
