"""Activations of compared networks: how alike their units are, and pictures of what each unit sees."""
