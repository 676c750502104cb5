"""Encoders: loading, pretraining, fine-tuning regimes, evaluation."""
