"""Polku beside independent programs that do the same work, on one Kafka, in one run: `make bench`."""
