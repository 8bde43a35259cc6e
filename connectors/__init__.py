"""Sources and sinks: the border between Polku's topics and the systems of a company."""
