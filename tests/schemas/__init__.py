"""Tests of what crosses a border: encodings, rules, generated files."""
