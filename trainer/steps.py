"""The steps of an epoch: Keras' own on one device, ours where several share each batch.

Keras 3's `fit` neither runs in several processes nor knows that our losses are of the whole batch; so here every device
computes the loss of the whole batch (`trainer.replicas`), and the gradients of their shares are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from lesions.errors import InputError
from trainer import replicas
from trainer.scores import KINDS, counts, score
from trainer.statistics import renew_statistics, share, weighing

if TYPE_CHECKING:
    from trainer.fit import Feed

Plan = Sequence[np.ndarray]
Callbacks = Sequence[keras.callbacks.Callback]


class Steps(Protocol):
    """Goes through a plan's batches with a compiled model."""

    def train(self, feed: Feed, plan: Plan, epoch: int, callbacks: Callbacks = ()) -> dict[str, float]:
        """Trains on the batches, augmented as in an epoch; returns its mean loss and the scores of its pixels."""

    def evaluate(self, feed: Feed, plan: Plan) -> dict[str, float]:
        """The mean loss and the scores of the batches' pixels."""

    def renew(self, feed: Feed, plan: Plan) -> None:
        """Computes batch normalization's statistics anew from the batches."""


def of(model: keras.Model) -> Steps:
    """The steps for a model from `trainer.fit.build`."""
    return Together(model) if model.distribute_strategy.num_replicas_in_sync > 1 else Alone(model)


class Alone:
    """On one device."""

    def __init__(self, model: keras.Model):
        """Args: model: A compiled one."""
        self.model = model

    def train(self, feed: Feed, plan: Plan, epoch: int, callbacks: Callbacks = ()) -> dict[str, float]:
        """See `Steps`."""
        history = self.model.fit(feed.batches(plan, epoch), epochs=1, verbose=0, callbacks=list(callbacks))
        return {name: float(values[0]) for name, values in history.history.items()}

    def evaluate(self, feed: Feed, plan: Plan) -> dict[str, float]:
        """See `Steps`."""
        found = self.model.evaluate(feed.batches(plan), verbose=0, return_dict=True)
        return {name: float(value) for name, value in found.items()}

    def renew(self, feed: Feed, plan: Plan) -> None:
        """See `Steps`."""
        renew_statistics(self.model, feed.batches(plan))


class Together:
    """On several devices, of this process or of several."""

    def __init__(self, model: keras.Model):
        """Args: model: Compiled in the scope of their strategy."""
        self.model, self.strategy = model, model.distribute_strategy
        self.replicas = self.strategy.num_replicas_in_sync
        self._train, self._evaluate = self._compiled(self._training_step), self._compiled(self._testing_step)
        self._renew = tf.function(self._average)

    def train(self, feed: Feed, plan: Plan, epoch: int, callbacks: Callbacks = ()) -> dict[str, float]:
        """See `Steps`.

        Raises:
            InputError: A batch has fewer slices than there are devices.
        """
        self._check(plan)
        return self._through(self._train, feed, plan, epoch, callbacks)

    def evaluate(self, feed: Feed, plan: Plan) -> dict[str, float]:
        """See `Steps`."""
        return self._through(self._evaluate, feed, plan)

    def renew(self, feed: Feed, plan: Plan) -> None:
        """See `Steps`."""
        self._check(plan)
        batches = iter(self._batches(feed, plan))
        for number in range(len(plan)):
            self._renew(batches, tf.constant(share(number), tf.float32))

    def _check(self, plan: Plan) -> None:
        """TensorFlow 2.16 does not train on a device that gets nothing."""
        fewest = min(map(len, plan))
        if fewest < self.replicas:
            raise InputError(
                f"training.replicas: {self.replicas} devices, and a batch of {fewest} slices (the last may be short); "
                "use fewer devices or another batch_size"
            )

    def _batches(self, feed: Feed, plan: Plan, changed_in: int | None = None) -> Any:
        """Each batch as one part per device; a process reads the records of its own devices alone."""

        def own(context: tf.distribute.InputContext) -> tf.data.Dataset:
            mine = replicas.parts(plan, context.input_pipeline_id, context.num_input_pipelines, self.replicas)
            return feed.batches(mine, changed_in)

        return self.strategy.distribute_datasets_from_function(own)

    def _through(
        self, step: Any, feed: Feed, plan: Plan, epoch: int | None = None, callbacks: Callbacks = ()
    ) -> dict[str, float]:
        """Goes through a plan; the loss is the mean over its slices, as Keras computes it."""
        batches = iter(self._batches(feed, plan, epoch))
        sums, slices = np.zeros(4), 0
        for number, batch in enumerate(plan):
            slices += len(batch)
            sums += step(batches).numpy() * [len(batch), 1, 1, 1]
            for callback in callbacks:
                callback.on_train_batch_end(number, {"loss": sums[0] / slices})
        return {"loss": sums[0] / slices} | {kind: score(kind, *sums[1:]) for kind in KINDS}

    def _compiled(self, step: Callable[..., Any]) -> Any:
        """A step of the whole batch: (4,) its loss and counts, the same on every device."""

        @tf.function
        def whole(batches: Any) -> Any:
            return self.strategy.experimental_local_results(self.strategy.run(step, args=next(batches)))[0]

        return whole

    def _average(self, batches: Any, momentum: tf.Tensor) -> None:
        """The next batch's part in batch normalization's statistics."""
        image, _ = next(batches)
        with weighing(self.model, momentum):  # around all devices: they are traced side by side
            self.strategy.run(lambda part: self.model(part, training=True), args=(image,))

    def _training_step(self, image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        variables, optimizer = self.model.trainable_variables, self.model.optimizer
        with tf.GradientTape() as tape:
            probability = self.model(image, training=True)
            loss = self._loss(mask, probability)
            # Every device has the whole loss, and the gradients that follow from it are added up.
            share = optimizer.scale_loss(loss / self.replicas)
        gradients = tape.gradient(share, variables)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _all_or_none(gradients)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._said(loss, mask, probability)

    def _testing_step(self, image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        probability = self.model(image, training=False)
        return self._said(self._loss(mask, probability), mask, probability)

    def _loss(self, mask: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        """Of the whole batch; with the penalties on the weights, which are no device's own."""
        return tf.add_n([self.model.loss(mask, probability), *self.model.losses])

    def _said(self, loss: tf.Tensor, mask: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        return tf.stack([loss, *(replicas.everywhere(count) for count in counts(mask, probability))])


def _all_or_none(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Gradients that are no number everywhere if they are so on one device: all then take or leave the step alike.

    Keras' loss scaling looks at each device's own, before they are added up.
    """
    finite = ops.all([ops.all(ops.isfinite(gradient)) for gradient in gradients])
    wrong = replicas.everywhere(ops.cast(~finite, "float32"))
    return [ops.where(wrong > 0, ops.full_like(gradient, np.nan), gradient) for gradient in gradients]
