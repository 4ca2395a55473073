"""Drills: each shows one thing about faults that a chaos run, which mixes them, does not show by itself."""
