"""TFX's StatisticsGen, on the Beam runner that the run was started with."""

from tfx.components import StatisticsGen as Base
from tfx.components.statistics_gen import executor
from tfx.dsl.components.base import executor_spec

from components.beam_arguments import WithArguments


class Executor(WithArguments, executor.Executor):
    """TFX's executor."""


class StatisticsGen(Base):
    """TFX's component."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
