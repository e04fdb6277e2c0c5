"""Codes in use: an index in memory (FAISS), a table past one machine (LanceDB), and your own pictures.

`index` and `store` are built in Chapter 17, `photos` in Chapter 18. Each is imported when it is asked for.
"""

from dhida_lib.search.index import CodeIndex, Found, pack, unpack

__all__ = ["CodeIndex", "Found", "pack", "unpack"]
