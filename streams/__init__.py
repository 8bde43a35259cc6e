"""Polku's engine and the program around it."""
