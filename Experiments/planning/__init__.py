"""From a request to runs: resolve and validate settings, report status, estimate time, choose an executor."""
