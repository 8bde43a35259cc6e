"""Tests of the sinks and their delivery."""
