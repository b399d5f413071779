"""The study: loads networks, computes the tables of each part, and tests claims."""
