"""Record shapes of other packages: tried after ours, named like ours."""

from __future__ import annotations

import warnings

import pytest

from instructmining.errors import InputError
from instructmining.formats import open_pool
from instructmining.plugins import PassedOver

SOURCE = """
from instructmining.examples import Turn
from instructmining.formats.shapes.base import Reading, Shape, response_text

class Letter(Shape):
    wanted = "salutation, body"

    def fits(self, fields):
        return "body" in fields

    def read(self, fields):
        response, flags = response_text(fields.get("body"))
        return Reading((Turn("user", fields.get("salutation", "")),), response, flags)
"""
OWN = {"instruction": "Add.", "output": "3"}
LETTER = {"salutation": "Dear", "body": "Yours"}
FAULTS = [
    ("import nowhere_to_be_found", "cannot be imported: No module named"),
    ("Letter = 3", "is not a class that derives Shape"),
    (SOURCE.replace("def read", "def reed"), "cannot be made: Can't instantiate"),
    (SOURCE.replace("wanted", "wished"), "cannot be made: .*no attribute 'wanted'"),
]


@pytest.fixture
def put(distribution):
    def put(source, name="letter", package="letter-plugin"):
        distribution(package, source, {f"formats/{name}": "Letter"})

    return put


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_shape_of_a_plugin_is_recognised(put):
    put(SOURCE)
    pool = open_pool([LETTER])
    (example,) = pool.examples()
    assert (pool.format, example.prompt, example.response) == ("letter", "Dear", "Yours")


def test_a_shape_of_a_plugin_is_named_in_any_case(put):
    put(SOURCE)
    pool = open_pool([{**OWN, **LETTER}], format="Letter")
    assert (pool.format, next(pool.examples()).response) == ("letter", "Yours")
    with pytest.raises(InputError, match=r"in the format letter \(salutation, body\)"):
        open_pool([OWN], format="letter")


def test_our_shapes_are_tried_first(put):
    put(SOURCE)
    assert open_pool([{**OWN, **LETTER}]).format == "alpaca"
    pool = open_pool([OWN, OWN, LETTER])
    assert pool.format == "alpaca"
    last = list(pool.examples())[-1]
    assert (last.response, last.flags) == ("Yours", ("mixed_format",))


@pytest.mark.parametrize(("source", "why"), FAULTS)
def test_a_broken_shape_is_passed_over_once_where_ours_do_not_fit(put, source, why):
    put(source)
    with pytest.warns(PassedOver, match=f"plugin 'letter' of letter-plugin {why}") as said:
        assert len(list(open_pool([OWN, LETTER]).examples())) == 2
        with pytest.raises(InputError, match="no column holds a response"):
            open_pool([LETTER])
    assert len(said) == 1


@pytest.mark.parametrize(("source", "why"), FAULTS)
@pytest.mark.usefixtures("quiet")
def test_a_broken_shape_is_an_error_only_where_it_is_named(put, source, why):
    put(source)
    assert open_pool([OWN]).format == "alpaca"
    with pytest.raises(InputError, match=f"plugin 'letter' of letter-plugin {why}") as told:
        open_pool([OWN], format="letter")
    assert "\n" not in str(told.value)


def test_a_shape_with_the_name_of_ours_is_passed_over(put):
    put(SOURCE, "Alpaca")
    assert open_pool([OWN], format="Alpaca").format == "alpaca"
    with (
        pytest.warns(PassedOver, match="has the name of another format"),
        pytest.raises(InputError, match="no column holds a response"),
    ):
        open_pool([LETTER])


def test_a_name_that_two_packages_add_is_refused(put):
    put(SOURCE)
    put(SOURCE, package="other-plugin")
    with pytest.raises(InputError, match="is added by letter-plugin and other-plugin; uninstall"):
        open_pool([LETTER], format="letter")


def test_a_shape_that_fails_on_strange_records_is_passed_over(put):
    put(SOURCE.replace('"body" in fields', 'fields["body"].strip()'))
    with pytest.warns(PassedOver, match=r"letter-plugin fails on a record \(KeyError: 'body'\)"):
        (_, strange) = open_pool([OWN, {"x": 1}]).examples()
    assert not strange.scorable


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ('fields["nothing"]', r"fails on a record \(KeyError: 'nothing'\)"),
        ("None", "gives what is no reading"),
        ('Reading((), "", ("odd",))', "gives what is no reading, or a flag that is not known"),
    ],
)
def test_what_reads_a_record_wrongly_is_named(put, read, why):
    put(SOURCE.replace("return Reading(", f"return {read}; Reading("))
    with pytest.raises(InputError, match=f"plugin 'letter' of letter-plugin {why}"):
        list(open_pool([LETTER]).examples())


def test_an_unknown_name_is_refused_with_those_of_plugins(put):
    put("import nowhere_to_be_found")
    with pytest.raises(InputError, match=r"'zzz' is not known; choose from .*alpaca.*, letter$"):
        open_pool([OWN], format="zzz")
    with pytest.raises(InputError, match=r"did you mean letter\? Known: messages, "):
        open_pool([OWN], format="leter")
