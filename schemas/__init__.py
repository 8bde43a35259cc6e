"""What crosses a border of Polku: published contracts, the journal's entries, definitions, and their encodings."""
