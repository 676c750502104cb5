"""Bad input ends a run with one sentence, no traceback, and nothing half-written."""

import copy
import pickle
import shutil

import anndata
import numpy as np
import pytest
import yaml
from conftest_names import copy_checkout
from messages import assert_sentence
from tiny_study import write_model

from keygenes.core.files import checksum
from keygenes.core.tables import read_table
from keygenes.inputs.simulate import simulate

STUDY = "bad"
COUNTS = f"results/{STUDY}/cells/counts.h5ad"
LABELS = f"results/{STUDY}/cells/labels.parquet"
