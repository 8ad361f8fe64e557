"""Folders on disk.

In reading order: `directory_source` (manifests in a folder), `directory_watch` (changes of that
folder), `file_cache_storage` (the cache of previews).
"""
