"""A room imports only rooms listed above it, and no modules import each other in a circle."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest

from architecture.source import MODULES, NAMES, PACKAGE, Module, room_of

#: From the bottom up, as in docs/architecture.md.
ROOMS = (
    "errors",
    "plugins",
    "presets",
    "files",
    "folders",
    "journal",
    "shard",
    "cluster",
    "tables",
    "examples",
    "formats",
    "models",
    "indicators",
    "scoring",
    "heads",
    "rules",
    "selection",
    "overlap",
    "parts",
    "evaluation",
    "experiments",
    "report",
    "api",
    "cli",
    "__main__",
)


def test_every_room_has_its_place():
    rooms = {module.room for module in MODULES} - {""}
    assert rooms == set(ROOMS)


def test_imports_point_one_way():
    wrong = []
    for module in MODULES:
        # The package itself hands out the API and knows nothing else.
        allowed = {"api"} if module.room == "" else {*ROOMS[: ROOMS.index(module.room) + 1]}
        imported = sorted(module.imports())
        wrong += [f"{module.name} -> {name}" for name in imported if room_of(name) not in allowed]
    assert wrong == []


def test_imported_modules_exist():
    assert {name for module in MODULES for name in module.imports()} <= NAMES


def test_single_files_import_only_errors():
    # What every room shares must not grow arms.
    names = ("errors", "plugins", "presets", "files", "journal", "shard", "cluster", "tables")
    for name in (*names, "examples"):
        (module,) = [module for module in MODULES if module.name == f"{PACKAGE}.{name}"]
        assert module.imports() <= {f"{PACKAGE}.errors"}


def test_no_cycle_at_import_time():
    graph = {module.name: module.imports(at_import_time=True) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_the_api_and_the_command_line_compose():
    # Selection takes predictions, never a rule; rules take matrices, never a run of models.
    apart = {
        "rules": {"models", "indicators", "formats"},
        "selection": {"rules", "models", "indicators", "formats"},
        "report": {"models", "formats"},
    }
    for module in MODULES:
        rooms = {room_of(name) for name in module.imports()}
        assert not rooms & apart.get(module.room, set()), module.name


def test_experiments_are_built_in_order():
    # What tunes knows no plan, and a plan not what it is for; "" is the room itself.
    inner = ("tuning", "", "contest", "size")
    room = f"{PACKAGE}.experiments."

    def place(name: str) -> int:
        first = name.removeprefix(room).partition(".")[0]
        return inner.index(first if first in inner else "")

    for module in MODULES:
        if module.name.startswith(room):
            imported = {name for name in module.imports() if name.startswith(room)}
            wrong = [name for name in imported if place(name) > place(module.name)]
            assert not wrong, f"{module.name} -> {wrong}"


def test_the_parser_sees_hidden_imports(tmp_path, monkeypatch):
    # The rule above is worth what this finds.
    monkeypatch.setattr("architecture.source.ROOT", tmp_path / PACKAGE)
    path = tmp_path / PACKAGE / "rules" / "sly.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from ..errors import InputError\n"
        "if TYPE_CHECKING:\n"
        "    from instructmining import api\n"
        "def late():\n"
        "    import instructmining.cli.main\n"
    )
    module = Module(path)
    assert module.room == "rules"
    everywhere = {f"{PACKAGE}.errors", f"{PACKAGE}.api", f"{PACKAGE}.cli.main"}
    assert module.imports() == everywhere
    assert module.imports(at_import_time=True) == {f"{PACKAGE}.errors"}
