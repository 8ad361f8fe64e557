"""Bytes to documents, with the position of every value.

In reading order: `yaml_documents`, `json_documents`, `document_builder`, `source_positions`, and
`sound_part` (what can be judged of a document with errors).
"""
