"""Outcomes of compared networks: accuracy, predictions, calibration, linear paths and operations."""
