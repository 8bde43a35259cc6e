"""Whole stories, told and checked row by row."""
