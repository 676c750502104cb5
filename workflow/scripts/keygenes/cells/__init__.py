"""Which cells and genes enter the study, their labels and their splits."""
