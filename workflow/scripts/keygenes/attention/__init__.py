"""Attention statistics, reduced while the model runs."""
