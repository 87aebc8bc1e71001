"""Folders of files that are written whole, on a disk or in an object store.

A file is finished or not there: on a disk, and on HDFS, it is written beside its name and moved;
in an object store an upload becomes an object when it is complete, which is the same without a
move. What a killed writer had begun there is never listed.
"""

from __future__ import annotations

from instructmining.folders.addresses import join_address, split_address
from instructmining.folders.base import Folder
from instructmining.folders.disk import DiskFolder
from instructmining.folders.hierarchies import HierarchyFolder
from instructmining.folders.objects import ObjectFolder
from instructmining.folders.opening import open_folder

__all__ = [
    "DiskFolder",
    "Folder",
    "HierarchyFolder",
    "ObjectFolder",
    "join_address",
    "open_folder",
    "split_address",
]
