"""Addresses of files and folders, taken apart and put together."""

from __future__ import annotations


def split_address(address: str) -> tuple[str, str]:
    """Return the address of the folder of a file, or its path, and the file's name."""
    head, mark, query = address.partition("?") if "://" in address else (address, "", "")
    above, _, name = head.rpartition("/")
    return f"{above}{mark}{query}", name


def join_address(folder: str, name: str) -> str:
    """Return the address, or the path, of what is called `name` in a folder."""
    head, mark, query = folder.partition("?") if "://" in folder else (folder, "", "")
    return f"{head.rstrip('/')}/{name}{mark}{query}" if head else name
