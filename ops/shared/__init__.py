"""Arithmetic that several operator families share."""
