"""Files, functions and signatures stay small enough to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from architecture.source import MODULES, Function, Module

MAX_FILE = 400
MAX_FUNCTION = 60
MAX_PARAMETERS = 7
MAX_COMMAND_BODY = 25


def functions(*, of_cli: bool | None = None) -> Iterator[tuple[Module, Function]]:
    for module in MODULES:
        if of_cli is None or of_cli == (module.room == "cli"):
            yield from ((module, function) for function in module.functions())


def n_parameters(function: Function) -> int:
    named = function.args
    every = [*named.posonlyargs, *named.args, *named.kwonlyargs, named.vararg, named.kwarg]
    return len([a for a in every if a is not None and a.arg not in ("self", "cls")])


def docstring_lines(function: Function) -> int:
    if ast.get_docstring(function) is None:
        return 0
    return function.body[0].end_lineno - function.body[0].lineno + 1


def test_files():
    lengths = {module.name: len(module.text.splitlines()) for module in MODULES}
    assert {name: n for name, n in lengths.items() if n > MAX_FILE} == {}


def test_functions():
    # Documentation is not what makes a function long.
    lengths = {
        f"{module.name}.{f.name}": f.end_lineno - f.lineno + 1 - docstring_lines(f)
        for module, f in functions()
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION} == {}


def test_parameters():
    # The options of a command are its parameters.
    counts = {f"{module.name}.{f.name}": n_parameters(f) for module, f in functions(of_cli=False)}
    assert {name: n for name, n in counts.items() if n > MAX_PARAMETERS} == {}


def test_commands_only_parse_call_and_print():
    lengths = {
        f"{module.name}.{f.name}": f.end_lineno - f.body[0].lineno + 1
        for module, f in functions(of_cli=True)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_COMMAND_BODY} == {}


def test_every_module_says_what_it_is_for():
    assert [m.name for m in MODULES if not (ast.get_docstring(m.tree) or "").strip()] == []


def test_nothing_prints():
    # Standard output is for data, standard error for talk; both go through the command line.
    calls = [
        f"{module.name}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert calls == []


def test_annotations_are_never_evaluated():
    # A heavy library named in an annotation must not be needed to import the module.
    with_code = [m for m in MODULES if any(not isinstance(n, ast.Expr) for n in m.tree.body)]
    lacking = [m.name for m in with_code if "from __future__ import annotations" not in m.text]
    assert lacking == []


def test_nothing_of_a_model_or_pool_is_executed():
    pickling = {"pickle", "dill", "joblib", "marshal", "shelve"}
    for module in MODULES:
        names = {n.name.split(".")[0] for n in ast.walk(module.tree) if isinstance(n, ast.alias)}
        froms = {
            (n.module or "").split(".")[0]
            for n in ast.walk(module.tree)
            if isinstance(n, ast.ImportFrom)
        }
        assert not (names | froms) & pickling, module.name
        assert "trust_remote_code=True" not in module.text, module.name


def test_the_measures_measure():
    (function,) = [
        f for m, f in functions() if m.name.endswith("scoring.store") and f.name == "_check"
    ]
    assert n_parameters(function) == 2
    assert docstring_lines(function) == 1
    assert 10 < function.end_lineno - function.lineno < MAX_FUNCTION
