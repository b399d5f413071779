"""Planning of runs: resolve and validate settings, report status, estimate time, choose an executor."""
