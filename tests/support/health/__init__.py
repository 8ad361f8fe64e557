"""Health checks without a checker process: results are given, and moments pass when a test says."""
