"""keygenes: which genes does a foundation model look at, and is that real?"""

__version__ = "0.2.0"
