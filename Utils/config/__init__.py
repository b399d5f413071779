"""Configuration of a run: settings, the parser that reads them, files that hold them, recipes that complete them."""
