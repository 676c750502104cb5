# Where the workflow is, and what its config starts from, whether it runs by itself or is part of another
# workflow (docs/module.md).
# Comes in: config, of the command line or of the other workflow. Goes out: MODULE; FIRST (whether there was
# no target before); CONFIG_FILES to start from; what else Snakemake has read into the config, which it
# takes more from than we do: GIVEN_FILES, GIVEN_ENTRIES.
import copy
import logging
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import LocalSourceFile
from snakemake.utils import update_config


def moves_files(modifier):
    """Return whether a module statement, or one around it, gives the files of rules other places."""
    return modifier is not None and (
        bool(modifier.prefix) or modifier.modifies_prefixes or moves_files(modifier.inner_modifier)
    )


MODULE = not workflow.modifier.is_main_snakefile()
FIRST = workflow.default_target is None

if not isinstance(workflow.current_basedir, LocalSourceFile):
    raise WorkflowError(
        f"The workflow at {workflow.current_basedir}: found an address, expected a folder on this "
        "machine, where its scripts have their package beside them; clone it, and name the "
        "Snakefile of the clone."
    )
if moves_files(workflow.modifier.path_modifier):
    raise WorkflowError(
        "The module statement, key 'prefix' or 'replace_prefix': found another place for the files of "
        "the rules, expected results/{study}/; remove it, and name the study by the config key 'study'."
    )
sys.path.insert(0, str(Path(workflow.current_basedir).parent / "scripts"))

from keygenes.core.config import read_yaml
from keygenes.core.errors import InputError
from keygenes.core.places import located, of_workflow

DEFAULTS, LAID_OVER = of_workflow("config/config.yaml"), "config/config.yaml"
CONFIG_FILES = [DEFAULTS]
# In the working directory of a module, it is the other workflow's.
if not MODULE and LAID_OVER != DEFAULTS and Path(LAID_OVER).exists():
    CONFIG_FILES.append(LAID_OVER)

# The command line is for the config of the run, which a module may be passed whole, in part or not at all.
PASSED = workflow.modifier.skip_configfile
OF_RUN = not PASSED or config is workflow.modifier_stack[0].globals["config"]
GIVEN_FILES = workflow.overwrite_configfiles if OF_RUN else []
GIVEN_ENTRIES = workflow.config_settings.config_args if OF_RUN else []

if PASSED:  # Snakemake reads no config file then
    try:
        passed, config = copy.deepcopy(config), read_yaml(DEFAULTS)
    except InputError as error:
        logging.raiseExceptions = False
        raise WorkflowError(str(error)) from None
    update_config(config, passed)
