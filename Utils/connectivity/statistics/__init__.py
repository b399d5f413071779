"""Statistics of a mask: numbers that may tell which sparse networks train well."""
