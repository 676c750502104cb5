"""Says where a script ran: every Python that starts in an environment of the stand-in imports this.

At its end the script adds a line of JSON to the file that KEYGENES_WITNESS names: the script, its
environment, and the packages that it took from neither the environment nor Python itself.
"""

import atexit
import json
import os
import sys

HOMES = tuple(os.path.join(home, "") for home in (sys.prefix, sys.base_prefix))


def _testify(path):
    files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    foreign = {
        name.split(".")[0]
        for name, file in files.items()
        if os.path.isabs(file) and not file.startswith(HOMES)  # torch has files in name alone
    }
    line = {"script": sys.argv[0], "prefix": sys.prefix, "foreign": sorted(foreign)}
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if "KEYGENES_WITNESS" in os.environ:
    atexit.register(_testify, os.environ["KEYGENES_WITNESS"])
