"""Put the answers of a comparison before a judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.errors import ExperimentError

if TYPE_CHECKING:
    from instructmining.evaluation.judges.base import Judge, JudgementLog
    from instructmining.evaluation.judges.server import Server
    from instructmining.experiments.contest.judging import Judged, Trial
    from instructmining.experiments.plan import Plan
    from instructmining.scoring.engine import Progress

#: Pairs people have judged that a judge is measured on.
N_PEOPLE = 100
#: What the reward head that comes with the package is called.
SMALL = "small"


@dataclass(frozen=True)
class JudgingSetting:
    """Who judges, and what it is held against.

    Parameters
    ----------
    server : Server, optional
        A language model behind a server.
    reward : str, optional
        Or a reward model, by name or path, or a file of heads, or ``"small"``, the head that comes
        with the package; one that the rule does not read.
    human_pairs : path, optional
        File of pairs people have judged, in a layout of `heads.preferences`; the judge's
        agreement with them is measured. Without it, or below 60 %, results are called a test of
        the plumbing.
    n_people : int
        How many of them, drawn by hash.
    reference : str, optional
        Method that is held against the others; by default that of the comparison.
    judge : str or Judge, optional
        Or a judge of a plugin, by name; or any object that keeps to
        `evaluation.judges.base.Judge`.
    settings : mapping
        Keyword arguments of the judge that is named.
    """

    server: Server | None = None
    reward: str | None = None
    human_pairs: str | Path | None = None
    n_people: int = N_PEOPLE
    reference: str | None = None
    judge: str | Judge | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse no judge, two, and settings of none.

        Raises
        ------
        ExperimentError
            Unless exactly one is named, and settings only with a name.
        """
        if [self.server, self.reward, self.judge].count(None) != 2:
            raise ExperimentError(
                "one judge is wanted: a server (--judge-url with --judge-model), a reward model "
                "(--judge-reward) or a judge of a plugin (--judge)"
            )
        if self.settings and not isinstance(self.judge, str):
            raise ExperimentError(
                f"settings {', '.join(self.settings)} came without the name of a judge that takes "
                "them (--judge NAME)"
            )


@dataclass(frozen=True)
class PreparedJudging:
    """Answers ready to be judged.

    Parameters
    ----------
    trial : Trial
        What is asked.
    judge : Judge
        Who is.
    folder : Path
        Of the comparison; will hold ``judgements.jsonl`` and ``judged.json``.
    """

    trial: Trial
    judge: Judge
    folder: Path

    @property
    def log(self) -> JudgementLog:
        """The journal of judgements."""
        from instructmining.evaluation.judges.base import JudgementLog

        return JudgementLog(self.folder / "judgements.jsonl")

    @property
    def left(self) -> int:
        """Questions that were not asked yet."""
        from instructmining.evaluation.judges.base import key_of

        known = self.log.finished()
        asked = self.trial.questions(self.judge)
        return sum(key_of(self.judge, question) not in known for question in asked)

    def run(self, progress: Progress | None = None, limit: int | None = None) -> Judged | None:
        """Ask what was not asked yet and, when nothing is left, say what came of it.

        Parameters
        ----------
        progress : Progress, optional
            Told about every judgement.
        limit : int, optional
            Ask only so many questions.

        Returns
        -------
        Judged or None
            None while questions are left.
        """
        from instructmining.experiments.contest.judging import put_before
        from instructmining.scoring.engine import Silent

        watch = progress or Silent()
        total, left = len(self.trial.questions(self.judge)), self.left
        watch.start("judging", total, total - left)
        judged = put_before(self.trial, self.judge, self.log, limit, watch.advance)
        if judged is not None:
            judged.save(self.folder / "judged.json")
        return judged


def judge(
    comparison: Path | str, setting: JudgingSetting, *, progress: Progress | None = None
) -> Judged:
    """Have the answers of a finished comparison judged in pairs.

    Parameters
    ----------
    comparison : path
        Its folder; it was run with prompts to answer.
    setting : JudgingSetting
        Who judges.
    progress : Progress, optional
        Told about every judgement.

    Raises
    ------
    ExperimentError
        If there are no answers, or the judge refuses or does not reply.
    """
    judged = prepare_judging(comparison, setting).run(progress)
    if judged is None:
        raise ExperimentError(f"{comparison}: judgements are missing; run it again")
    return judged


def prepare_judging(comparison: Path | str, setting: JudgingSetting) -> PreparedJudging:
    """Read the answers and make the judge ready; ``.run()`` does the rest.

    Parameters
    ----------
    comparison, setting
        As for `judge`; nothing is asked.
    """
    from instructmining.experiments.contest.answering import read_answers
    from instructmining.experiments.contest.judging import Trial, make_bouts, people
    from instructmining.experiments.plan import Plan
    from instructmining.files import check_target

    folder = Path(comparison)
    plan = Plan.load(folder / "plan.json")
    prompts, writing, answers = read_answers(folder / "answers.jsonl")
    reference = setting.reference or _first(plan)
    bouts = make_bouts(plan, answers, prompts, reference)
    pairs = people(setting.human_pairs, setting.n_people) if setting.human_pairs else ()
    check_target(folder / "judged.json")
    return PreparedJudging(Trial(bouts, pairs, writing), _judge(setting, folder), folder)


def _first(plan: Plan) -> str:
    """Return the method a comparison holds against the others by itself."""
    from instructmining.experiments.contest.choosing import reference_of
    from instructmining.experiments.specs import MethodSpec

    names = ["random" if m.name.startswith("random-s") else m.name for m in plan.mixtures]
    return reference_of([MethodSpec(name) for name in dict.fromkeys(names)])


def _judge(setting: JudgingSetting, folder: Path) -> Judge:
    """Make the one judge that a setting names."""
    if setting.server is not None:
        from instructmining.evaluation.judges.server import ServerJudge

        return ServerJudge(setting.server)
    if setting.reward is not None:
        return _reward_judge(setting.reward, folder)
    if isinstance(setting.judge, str):
        from instructmining.evaluation.judges.added import judge_named

        return judge_named(setting.judge, setting.settings)
    assert setting.judge is not None  # exactly one is named
    return setting.judge


def _reward_judge(name: str, folder: Path) -> Judge:
    from instructmining.evaluation.judges.reward import RewardJudge
    from instructmining.models.heads import SUFFIX, load_heads
    from instructmining.scoring.passes import Models

    if name == SMALL:
        models = Models(lm=load_heads().lm)
    elif name.endswith(SUFFIX):
        models = Models(lm=load_heads(name).lm, reward=name)
    else:
        models = Models(reward=name)
    (indicator,) = models.indicators(["rew"])
    assert indicator.needs is not None  # no reward comes without a model
    judge = RewardJudge(indicator, models.build([indicator.needs]))
    _require_unread(name, judge.reads, folder)
    return judge


def _require_unread(name: str, reads: Mapping[str, Any], folder: Path) -> None:
    """Refuse a judge that the rows were chosen by."""
    from instructmining.experiments.runs import RunLog

    # Heads share the weights of the language model that other columns read.
    same = ("weights", "head")
    for record in RunLog(folder / "runs.jsonl").records():
        for column, summary in record["indicators"].items():
            definition = summary["definition"]
            if all(definition.get(key) == reads.get(key) for key in same):
                raise ExperimentError(
                    f"{name}: fills column {column}, which the comparison chose rows by; "
                    "a judge must be another model"
                )
