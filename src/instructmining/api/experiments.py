"""Plan experiments and make them ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.api.scores import open_store
from instructmining.presets import SMALL

if TYPE_CHECKING:
    from instructmining.experiments.execute import Executor
    from instructmining.experiments.plan import Plan
    from instructmining.scoring.engine import Progress


@dataclass(frozen=True)
class ExperimentSetting:
    """What all runs of an experiment share.

    Parameters
    ----------
    base_model : str or None
        Model to tune; None for the small default.
    training : dict
        Fields of `experiments.training.TrainingSetting` that differ from their defaults.
    size : int
        Examples per mixture.
    seeds : tuple of int
        Training seeds.
    draw_seed : int
        Seed of the mixtures' draws.
    """

    base_model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    size: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    draw_seed: int = 0


def plan_experiment(
    sources: Sequence[str],
    evaluations: Sequence[str],
    *,
    mixtures: Sequence[str] = (),
    random_mixtures: int = 0,
    setting: ExperimentSetting | None = None,
) -> Plan:
    """Draw the mixtures of an experiment.

    Parameters
    ----------
    sources : sequence of str
        ``NAME=PATH`` or ``PATH`` each.
    evaluations : sequence of str
        ``NAME=PATH`` or ``NAME=PATH#PART`` each.
    mixtures : sequence of str
        ``NAME=SPEC`` each; see `experiments.specs.parse_mixture`.
    random_mixtures : int
        Mixtures of random source shares to add.
    setting : ExperimentSetting, optional
        Base model, training, size and seeds.

    Raises
    ------
    ExperimentError
        If a specification cannot be met.
    """
    from instructmining.experiments.plan import Setting, make_plan
    from instructmining.experiments.specs import (
        parse_evaluation,
        parse_mixture,
        parse_source,
        random_specs,
    )
    from instructmining.experiments.training import TrainingSetting
    from instructmining.models.sources import DEFAULT_LM, resolve

    chosen = setting or ExperimentSetting()
    files = resolve(chosen.base_model or DEFAULT_LM)
    pools = dict(parse_source(text) for text in sources)
    specs = [parse_mixture(text, sorted(pools)) for text in mixtures]
    specs += random_specs(random_mixtures, pools)
    return make_plan(
        pools,
        [parse_evaluation(text) for text in evaluations],
        specs,
        Setting(
            {"name": files.name, "weights": files.weights},
            TrainingSetting(**chosen.training).to_json(),
            chosen.size,
            chosen.seeds,
            chosen.draw_seed,
        ),
    )


def prepare_experiment(
    plan: Path | str,
    log: Path | str,
    *,
    columns: Sequence[str] = SMALL.columns,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> Executor:
    """Read a plan, score its mixtures and load the base model; ``.run()`` does the rest."""
    from instructmining.evaluation.inference_loss import inference_loss
    from instructmining.experiments.execute import Executor, base_model_files, score_mixtures
    from instructmining.experiments.finetune import Finetuner
    from instructmining.experiments.plan import Plan
    from instructmining.experiments.runs import RunLog, remaining
    from instructmining.experiments.training import TrainingSetting
    from instructmining.models.chat import ChatTokenizer
    from instructmining.scoring.engine import Engine, Silent

    drawn = Plan.load(Path(plan))
    opened = RunLog(Path(log))
    remaining(drawn, opened)  # a log of another plan is refused before anything is computed
    files = base_model_files(drawn)
    engine = Engine(open_store(store), progress=progress or Silent())
    scores = score_mixtures(drawn, engine, engine.models.indicators(columns))
    tuner = Finetuner(files, TrainingSetting(**drawn.setting.training))
    # Training may cut long examples; what is measured must not depend on that.
    chat = ChatTokenizer(files.folder)
    return Executor(
        drawn,
        opened,
        tuner,
        lambda model, examples: inference_loss(model, chat, examples, tuner.frozen).to_json(),
        scores,
    )
