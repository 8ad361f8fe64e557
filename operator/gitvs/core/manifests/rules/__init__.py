"""The rules that no schema can say: each yields every problem that it finds."""
