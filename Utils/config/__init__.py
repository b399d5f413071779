"""Configuration of a run: settings, command-line parser, YAML files of flags, and recipes for omitted values."""
