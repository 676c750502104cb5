"""Figures and pages, from tables alone."""
