"""Untrusted safetensors files. Their parser creates an object for each tensor that the header names, without
a limit: a header of 86 MB takes 3 GB."""

LENGTH_BYTES = 8
"""Size of the header's length, at the beginning of the file."""
MOST_OF_HEADER = 1 << 20
"""Maximum size of the header in bytes; a network of a thousand layers takes a tenth."""


def check_header(beginning: bytes) -> None:
    """Checks the file's first `LENGTH_BYTES` before it is parsed. Raises `ValueError` for a large header."""
    if int.from_bytes(beginning[:LENGTH_BYTES], "little") > MOST_OF_HEADER:
        raise ValueError(f"its header claims more than {MOST_OF_HEADER >> 20} MiB")
