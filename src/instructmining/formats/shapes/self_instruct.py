"""Self-instruct: ``instruction`` and ``instances`` of ``input`` and ``output``."""

from __future__ import annotations

from collections.abc import Mapping

from instructmining.formats.shapes import alpaca
from instructmining.formats.shapes.base import Fields, Reading, Shape, as_list


class SelfInstruct(Shape):
    """A task with instances, of which the first is read.

    Reference: Wang et al. 2022, arXiv 2212.10560.
    """

    name = "self_instruct"
    order = 30
    wanted = "instruction, instances: a list of {input, output}"

    def fits(self, fields: Fields) -> bool:
        """Whether there are an instruction and a list of instances."""
        return "instruction" in fields and isinstance(as_list(fields.get("instances")), list)

    def read(self, fields: Fields) -> Reading:
        """Read the instruction with the first instance, as an Alpaca record."""
        instances = as_list(fields.get("instances"))
        if not instances or not isinstance(instances[0], Mapping):
            reading = alpaca.SHAPE.read({"instruction": fields.get("instruction")})
            return Reading(reading.turns, "", ("missing_response_field",))
        instance = {str(key).lower(): value for key, value in instances[0].items()}
        return alpaca.SHAPE.read({**instance, "instruction": fields.get("instruction")})


SHAPE = SelfInstruct()
