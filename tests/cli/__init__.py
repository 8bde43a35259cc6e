"""The program `polku`, as a person at a terminal meets it."""
