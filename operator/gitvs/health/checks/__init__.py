"""The types of check, as generators that yield what they wait for: `results`, `tcp`."""
