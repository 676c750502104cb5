"""Gene ids: how they are cleaned, and the few genes the simulator and the readers know by name."""

import re

import numpy as np
import pandas as pd

ENSEMBL_GENE = re.compile(r"(ENS[A-Z]*G[A-Z]*\d+)(\..*)?", re.IGNORECASE)

# Direct targets that p53 induces (Fischer, Oncogene 2017; Sullivan et al., Cell Death Differ 2018).
P53_INDUCED = {
    "MDM2": "ENSG00000135679",
    "CDKN1A": "ENSG00000124762",
    "TP53I3": "ENSG00000115129",
    "FDXR": "ENSG00000161513",
    "GDF15": "ENSG00000130513",
    "ZMAT3": "ENSG00000172667",
    "RRM2B": "ENSG00000048392",
    "SESN1": "ENSG00000080546",
    "BBC3": "ENSG00000105327",
    "BAX": "ENSG00000087088",
    "FAS": "ENSG00000026103",
    "TNFRSF10B": "ENSG00000120889",
    "AEN": "ENSG00000181026",
    "XPC": "ENSG00000154767",
    "SPATA18": "ENSG00000163071",
    "BTG2": "ENSG00000159388",
    "PHLDA3": "ENSG00000174307",
    "TP53INP1": "ENSG00000164938",
}

# Cell-cycle genes that fall when p53 halts the cycle through p21 and the DREAM complex
# (Engeland, Cell Death Differ 2018): indirect, and down.
P53_REPRESSED = {
    "CCNB1": "ENSG00000134057",
    "CDC20": "ENSG00000117399",
    "PLK1": "ENSG00000166851",
    "CDK1": "ENSG00000170312",
    "TOP2A": "ENSG00000131747",
    "MKI67": "ENSG00000148773",
    "CENPF": "ENSG00000117724",
    "BIRC5": "ENSG00000089685",
}

# The 13 protein-coding genes of the human mitochondrial genome.
MITOCHONDRIAL = {
    "MT-ND1": "ENSG00000198888",
    "MT-ND2": "ENSG00000198763",
    "MT-CO1": "ENSG00000198804",
    "MT-CO2": "ENSG00000198712",
    "MT-ATP8": "ENSG00000228253",
    "MT-ATP6": "ENSG00000198899",
    "MT-CO3": "ENSG00000198938",
    "MT-ND3": "ENSG00000198840",
    "MT-ND4L": "ENSG00000212907",
    "MT-ND4": "ENSG00000198886",
    "MT-ND5": "ENSG00000198786",
    "MT-ND6": "ENSG00000198695",
    "MT-CYB": "ENSG00000198727",
}

RIBOSOMAL = {
    "RPS2": "ENSG00000140988",
    "RPS3": "ENSG00000149273",
    "RPS3A": "ENSG00000145425",
    "RPS4X": "ENSG00000198034",
    "RPS5": "ENSG00000083845",
    "RPS6": "ENSG00000137154",
    "RPS7": "ENSG00000171863",
    "RPS8": "ENSG00000142937",
    "RPS9": "ENSG00000170889",
    "RPS12": "ENSG00000112306",
    "RPS14": "ENSG00000164587",
    "RPS15": "ENSG00000115268",
    "RPS16": "ENSG00000105193",
    "RPS18": "ENSG00000231500",
    "RPS19": "ENSG00000105372",
    "RPS23": "ENSG00000186468",
    "RPS24": "ENSG00000138326",
    "RPS27A": "ENSG00000143947",
    "RPSA": "ENSG00000168028",
    "RPL3": "ENSG00000100316",
    "RPL4": "ENSG00000174444",
    "RPL5": "ENSG00000122406",
    "RPL7": "ENSG00000147604",
    "RPL7A": "ENSG00000148303",
    "RPL8": "ENSG00000161016",
    "RPL10": "ENSG00000147403",
    "RPL11": "ENSG00000142676",
    "RPL13": "ENSG00000167526",
    "RPL13A": "ENSG00000142541",
    "RPL15": "ENSG00000174748",
    "RPL18A": "ENSG00000105640",
    "RPL19": "ENSG00000108298",
    "RPL23": "ENSG00000125691",
    "RPL26": "ENSG00000161970",
    "RPL28": "ENSG00000108107",
    "RPL30": "ENSG00000156482",
    "RPL32": "ENSG00000144713",
    "RPL34": "ENSG00000109475",
    "RPL37": "ENSG00000145592",
    "RPL41": "ENSG00000229117",
    "RPLP0": "ENSG00000089157",
    "RPLP1": "ENSG00000137818",
    "RPLP2": "ENSG00000177600",
}

HOUSEKEEPING = {
    "ACTB": "ENSG00000075624",
    "GAPDH": "ENSG00000111640",
    "EEF1A1": "ENSG00000156508",
    "B2M": "ENSG00000166710",
    "TPT1": "ENSG00000133112",
    "FTL": "ENSG00000087086",
    "FTH1": "ENSG00000167996",
    "TUBA1B": "ENSG00000123416",
    "HSP90AB1": "ENSG00000096384",
    "PPIA": "ENSG00000196262",
    "UBC": "ENSG00000150991",
    "EEF2": "ENSG00000167658",
    "ENO1": "ENSG00000074800",
    "PKM": "ENSG00000067225",
    "KRT8": "ENSG00000170421",
    "KRT18": "ENSG00000111057",
}


def clean_ids(ids):
    """Return gene ids without version, in upper case, and which of them are Ensembl gene ids.

    Parameters
    ----------
    ids : array-like of str, [n_genes]
        What is no Ensembl gene id is passed through unchanged (as text).

    Returns
    -------
    cleaned : ndarray of object, [n_genes]
    is_ensembl : ndarray of bool, [n_genes]
    """
    text = pd.Series(np.asarray(ids, dtype=object)).astype(str).str.strip()
    matches = [ENSEMBL_GENE.fullmatch(value) for value in text]
    cleaned = [
        match.group(1).upper() if match else value
        for match, value in zip(matches, text, strict=True)
    ]
    return np.array(cleaned, dtype=object), np.array([match is not None for match in matches])


def is_mitochondrial(ensembl_ids, symbols):
    """Return which genes lie on the mitochondrial genome, by symbol or, where unnamed, by id.

    Parameters
    ----------
    ensembl_ids, symbols : array-like of str, [n_genes]
    """
    by_symbol = pd.Series(np.asarray(symbols, dtype=object)).astype(str).str.upper()
    by_id = pd.Series(np.asarray(ensembl_ids, dtype=object)).isin(set(MITOCHONDRIAL.values()))
    return (by_symbol.str.startswith("MT-") | by_id).to_numpy()
