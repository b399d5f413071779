"""Everything that experiments share, one package per question; imports point down (`docs/design.md`)."""
