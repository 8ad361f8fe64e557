"""Bytes to documents, with the position of every value.

In reading order: `yaml_documents`, `json_documents`, `document_builder`, `source_positions`.
"""
