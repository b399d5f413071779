"""Weight forms: how masked weights are held while a network trains."""
