"""The vocabulary and the rank-value encoding of cells."""
