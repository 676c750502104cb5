"""Which gene a name means: an Ensembl id, a symbol, an old symbol, or what a program made of one.

A name is held against symbols as they are written, then against old names and aliases, and where
nothing fits so, against both in upper case. What spreadsheets and anndata do to symbols is undone
where only one gene can have been meant: dates (``1-Mar``, ``Sep-02``) and the ``-1`` that makes
names unique. What fits several genes is none of them.
"""

import re

import numpy as np
import pandas as pd

from keygenes.core.shown import LONGEST_ID, shortened
from keygenes.inputs.genes import ENSEMBL_GENE

# Spellings of an absent name, in lower case.
MISSING = frozenset(
    ("", "nan", "na", "n/a", "#n/a", "none", "null", "<na>", "unknown", "undefined", "-", "--")
    + (".", "?", "nat")
)

# How a name was understood, and what became of it where it was not.
ID, SYMBOL, ALIAS, CASE, SUFFIX, DATE = "id", "symbol", "alias", "case", "suffix", "date"
AMBIGUOUS, UNKNOWN, NO_NAME = "ambiguous", "unknown", "no name"
AS_WRITTEN = (ID, SYMBOL)  # what leaves no doubt

# Symbols that spreadsheets take for dates, by month: new and old names of a family of genes, and
# its highest number. They were renamed for that reason, so a list has either.
FAMILIES = {
    3: {("MARCHF", "MARCH"): 11, ("MTARC", "MARC"): 2},
    9: {("SEPTIN", "SEPT", "SEP"): 15},
    12: {("DELEC", "DEC"): 2},
}
MONTHS = {"mar": 3, "mrz": 3, "mär": 3, "sep": 9, "dec": 12, "dez": 12}
DAY_MONTH = re.compile(r"(\d{1,2})[-./ ]{1,2}([A-Za-zä]{3,9})\.?(?:[-./ ]{1,2}\d{2,4})?")
MONTH_DAY = re.compile(r"([A-Za-zä]{3,9})\.?[-./ ]{1,2}(\d{1,2})")
YEAR_FIRST = re.compile(r"\d{4}-(\d{1,2})-(\d{1,2})(?:[ T][\d:.]*)?")
YEAR_LAST = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.]\d{2,4}")
MEMBER = re.compile(r"([A-Z]{3,6})(\d{1,2})")  # of a family
REPEATED = re.compile(r"(.+)[-.]\d{1,3}")  # as anndata and R make names unique

COLUMNS = ("name", "ensembl_id", "kind")  # of table 'gene_names'
SPECIES = {"ENSMUSG": "mouse", "ENSRNOG": "rat", "ENSDARG": "zebrafish"}
KINDS = (  # of names that are no human gene's: pattern, what it is called
    (re.compile(r"ENS[A-Z]*[TPE]\d{6,}(\.\d+)?"), "Ensembl ids of transcripts, proteins or exons"),
    (re.compile(r"\d+(\.0)?"), "bare numbers (Entrez ids?)"),
    (re.compile(r"[NX][MRP]_\d+(\.\d+)?"), "RefSeq ids"),
    (re.compile(r"\d+_(s_|x_|a_)?at"), "probe ids"),
)


def given_names(names):
    """Return names as an object array of str without blanks around them, None where one is missing.

    Parameters
    ----------
    names : array-like of anything, [n]
    """
    values = pd.Series(np.asarray(names, dtype=object))
    text = values.astype(str).str.strip()
    return np.where(values.isna() | text.str.lower().isin(MISSING), None, text).astype(object)


def plain_id(name):
    """Return an Ensembl gene id in upper case and without its version; None if it is none."""
    match = ENSEMBL_GENE.fullmatch(name)
    return match.group(1).upper() if match else None


def dates_of(name):
    """Return the (month, day) that a name can be read as: one, two where day and month may swap."""
    if match := DAY_MONTH.fullmatch(name):
        pairs = [(MONTHS.get(match[2][:3].lower()), int(match[1]))]
    elif match := MONTH_DAY.fullmatch(name):
        pairs = [(MONTHS.get(match[1][:3].lower()), int(match[2]))]
    elif match := YEAR_FIRST.fullmatch(name):
        pairs = [(int(match[1]), int(match[2]))]
    elif match := YEAR_LAST.fullmatch(name):
        pairs = [(int(match[1]), int(match[2])), (int(match[2]), int(match[1]))]
    else:
        return []
    return [(month, day) for month, day in pairs if month in FAMILIES]


def former_names(symbol):
    """Return what else a gene of a family that was renamed is called: MARCH1 of MARCHF1."""
    match = MEMBER.fullmatch(symbol)
    families = [family for of_month in FAMILIES.values() for family in of_month]
    family = next((f for f in families if match and match[1] in f), ())
    return [f"{prefix}{match[2]}" for prefix in family if prefix != match[1]]


def like_mouse(name):
    """Return whether a symbol is written as those of mouse and rat: Cdkn1a, mt-Nd1."""
    letters = name.removeprefix("mt-")
    return (
        letters[:1].isupper()
        and letters[1:] == letters[1:].lower()
        and letters[1:] != letters[1:].upper()
        and not re.search(r"\dorf\d", letters)
        and not dates_of(name)
    )


def kind_of_names(names):
    """Return in words what most of some names look like, with an example.

    Parameters
    ----------
    names : sequence of str or None
    """
    given = [str(name) for name in names if name is not None]
    if not given:
        return "no names"
    kinds = {}
    for name in given:
        kinds.setdefault(_kind(name), []).append(name)
    kind, members = max(kinds.items(), key=lambda item: len(item[1]))
    return f"{kind} such as {shortened(members[0], 40)!r}"


def _kind(name):
    if found := plain_id(name):
        prefix = re.match(r"[A-Z]+", found)[0]
        if prefix in ("ENSG", "ENSGR"):
            return "Ensembl ids"
        return f"Ensembl ids of {SPECIES.get(prefix, 'another species')}"
    for pattern, kind in KINDS:
        if pattern.fullmatch(name):
            return kind
    if dates_of(name):
        return "dates"
    return "mouse symbols" if like_mouse(name) else "names"


def _collected(pairs, key=str):
    """Return {key of name: tuple of the distinct ids that it stands for}."""
    found = {}
    for name, gene in pairs:
        ids = found.setdefault(key(name), ())
        if gene not in ids:
            found[key(name)] = (*ids, gene)
    return found


class KnownGenes:
    """Genes, and all that they are called.

    Parameters
    ----------
    ensembl_ids : array-like of str, [n_genes], or None
        Ids that count as known; None: every Ensembl id does.
    symbols : array-like of str, [n_genes], optional
        Their symbols, which come before those of `names`.
    names : table 'gene_names', optional
        Symbols and aliases of a dictionary; its genes need not be among `ensembl_ids`.
    """

    def __init__(self, ensembl_ids=None, symbols=None, names=None):
        self.ids = None if ensembl_ids is None else set(ensembl_ids)
        layers, others = [], []
        if symbols is not None:
            pairs = zip(given_names(symbols), ensembl_ids, strict=True)
            layers.append([(name, gene) for name, gene in pairs if name is not None])
        if names is not None:
            rows = list(zip(*(names[c].astype(str) for c in COLUMNS), strict=True))
            layers.append([(name, gene) for name, gene, kind in rows if kind == SYMBOL])
            others = [(name, gene) for name, gene, kind in rows if kind == ALIAS]
        self._symbols = [_collected(layer) for layer in layers]
        self._upper = [_collected(layer, str.upper) for layer in layers]
        self._aliases = [_collected(others)]
        self._upper_aliases = [_collected(others, str.upper)]
        self.symbol_of = {}
        for layer in layers:
            for name, gene in layer:
                self.symbol_of.setdefault(gene, name)

    def __contains__(self, gene):
        return gene is not None and (self.ids is None or gene in self.ids)

    @staticmethod
    def _in(layers, name):
        """Return the one id of a name in the first layer that has it; AMBIGUOUS, or None."""
        several = ()
        for layer in layers:
            ids = layer.get(name, ())
            ids = tuple(gene for gene in ids if gene in several) if several else ids
            if len(ids) == 1:
                return ids[0]
            several = several or ids
        return AMBIGUOUS if several else None

    def find(self, name, any_case=True):
        """Return (Ensembl id or None, how it was found) of a name that is no date and unrepeated.

        Parameters
        ----------
        name : str
        any_case : bool
            Whether upper and lower case may differ.
        """
        if self.ids is not None and name in self.ids:
            return name, ID
        if gene := plain_id(name):
            other = None if gene in self else self._in(self._aliases, gene)
            return (gene, ID) if other in (None, AMBIGUOUS) else (other, ALIAS)
        former = former_names(name)
        ways = [
            (self._symbols, [name], SYMBOL),
            (self._symbols, former, ALIAS),
            (self._aliases, [name, *former], ALIAS),
        ]
        if any_case:
            upper = name.upper()
            former = former_names(upper)
            ways += [
                (self._upper, [upper], CASE),
                (self._upper, former, ALIAS),
                (self._upper_aliases, [upper, *former], ALIAS),
            ]
        for layers, spellings, how in ways:
            genes = {self._in(layers, spelling) for spelling in spellings} - {None}
            if genes:
                gene = genes.pop()
                clear = not genes and gene != AMBIGUOUS
                return (gene, how) if clear else (None, AMBIGUOUS)
        return None, UNKNOWN

    def of_date(self, name, taken):
        """Return (Ensembl id or None, how) of a name that a spreadsheet may have made a date.

        Parameters
        ----------
        taken : set of str
            Ids that others of the same names stand for.
        """
        meant = [
            f"{family[0]}{day}"
            for month, day in dates_of(name)
            for family, last in FAMILIES[month].items()
            if 1 <= day <= last
        ]
        genes = {self.find(symbol)[0] or symbol for symbol in meant}
        if not genes - set(meant):
            return None, UNKNOWN
        genes = genes - taken if len(genes) > 1 else genes
        clear = len(genes) == 1 and not genes & set(meant)
        return (genes.pop(), DATE) if clear else (None, AMBIGUOUS)


def find_genes(names, known):
    """Return which gene each of some names means.

    Where most names are written as those of mice, case is not evened out: none is a human gene.

    Parameters
    ----------
    names : array-like of str or missing, [n]
    known : KnownGenes

    Returns
    -------
    DataFrame [n]
        name (None where missing); ensembl_id (None where the name means none, or more than one);
        how ('id', 'symbol', 'alias', 'case', 'suffix', 'date', or why not: 'ambiguous', 'unknown',
        'no name').
    """
    names = given_names(names)
    distinct = list(dict.fromkeys(name for name in names if name is not None))
    written = [name for name in distinct if plain_id(name) is None]
    any_case = 2 * sum(map(like_mouse, written)) <= len(written)
    found = {
        name: known.find(name, any_case) if len(name) <= LONGEST_ID else (None, UNKNOWN)
        for name in distinct
    }
    taken = {gene for gene, _ in found.values() if gene is not None}
    left = [name for name, (_, how) in found.items() if how == UNKNOWN and len(name) <= LONGEST_ID]
    found |= {name: known.of_date(name, taken) for name in left if dates_of(name)}
    for name in left:
        match = REPEATED.fullmatch(name)
        if found[name][1] == UNKNOWN and match and match[1] in found:
            gene, how = found[match[1]]
            found[name] = (gene, how if gene is None else SUFFIX)
    found[None] = (None, NO_NAME)
    return pd.DataFrame(
        {
            "name": names,
            "ensembl_id": pd.Series([found[name][0] for name in names], dtype=object),
            "how": pd.Series([found[name][1] for name in names], dtype=object),
        }
    )


def one_name_per_gene(found):
    """Return the names of a matrix's columns with those in doubt taken back.

    Two columns are two measurements, so that at most one of two names stands for a gene. A name as
    it is written wins over what could be another name of the same gene; of several such, and of
    dates that come twice, none is taken. Columns of one name are of one gene, also where a suffix
    keeps them apart.

    Parameters
    ----------
    found : result of `find_genes`
    """
    found = found.copy()
    suffixed = zip(found["name"], found["how"] == SUFFIX, strict=True)
    base = pd.Series(
        [REPEATED.fullmatch(name)[1] if with_it else name for name, with_it in suffixed]
    )
    of_base = dict(zip(found["name"], found["how"], strict=True))
    how = base.map(of_base)
    certain = how.isin(AS_WRITTEN)
    genes = found["ensembl_id"]
    doubtful = genes.notna() & ~certain
    n_names = base[doubtful].groupby(genes[doubtful]).nunique()
    twice = base[doubtful & (how == DATE)].value_counts()
    bad = doubtful & (
        genes.isin(set(genes[certain].dropna()))
        | genes.isin(n_names[n_names > 1].index)
        | base.isin(twice[twice > 1].index)
    )
    found.loc[bad, "ensembl_id"] = None
    found.loc[bad, "how"] = AMBIGUOUS
    return found
