"""Code that all experiments share, one package per topic; imports point down (`docs/design.md`)."""
