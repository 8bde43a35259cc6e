"""The shell without a broker."""
