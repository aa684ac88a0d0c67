"""safetensors files of strangers. Their parser makes an object of each tensor that the header names, with no
bound: a header of 86 MB takes 3 GB."""

LENGTH_BYTES = 8
"""At the beginning: the header's length."""
MOST_OF_HEADER = 1 << 20
"""Bytes. A network of a thousand layers takes a tenth."""


def check_header(beginning: bytes) -> None:
    """Looks at the file's first `LENGTH_BYTES`, before its parser does. Raises `ValueError`."""
    if int.from_bytes(beginning[:LENGTH_BYTES], "little") > MOST_OF_HEADER:
        raise ValueError(f"its header claims more than {MOST_OF_HEADER >> 20} MiB")
