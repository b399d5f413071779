"""The report of a comparison: one HTML page with its figures and tables."""
