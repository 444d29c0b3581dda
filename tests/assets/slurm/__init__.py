"""Captured answers of real Slurms."""
