"""The rules of Polku, and nothing else: no I/O, clock, chance or log. Time is an argument, effects are returned."""
