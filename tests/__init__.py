"""Tests of Polku."""
