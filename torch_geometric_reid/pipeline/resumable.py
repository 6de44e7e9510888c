r"""What changes in training, saved and restored."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import RandomSampler

from torch_geometric_reid.atomic import digest
from torch_geometric_reid.pipeline.checkpoint import Checkpoint, Saved
from torch_geometric_reid.pipeline.config import ECConfig, FAConfig, LinkConfig


class Resumable:
    r"""A training that goes on from the state that it left on disk, if it left one.
    Without a checkpoint it only counts its steps.

    Args:
        model (torch.nn.Module): The model.
        optimizer (Optimizer): Its optimizer.
        scheduler (LRScheduler): The schedule of its learning rate.
        generator (torch.Generator, optional): What batches are drawn with.
            (default: :obj:`None`)

    Attributes:
        step (int): The steps that are done.
        epoch (int): The epoch to go on with.
        finished (bool): Whether nothing is left to do.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        generator: torch.Generator | None = None,
    ):
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.generator = generator
        self.step = 0
        self.epoch = 0
        self.finished = False
        self._checkpoint: Checkpoint | None = None
        self._drawn_from: dict[str, Tensor] = {}

    def resume(
        self,
        checkpoint: Checkpoint | None,
        stage: str,
        config: FAConfig | ECConfig | LinkConfig,
        seed: int,
        inputs: Mapping[str, Tensor],
        sources: Mapping[str, Tensor] | None = None,
    ) -> bool:
        r"""Restores the state that was saved, if any.

        Args:
            checkpoint (Checkpoint, optional): Where states are saved.
            stage (str): The name of the stage.
            config (FAConfig or ECConfig or LinkConfig): Its options.
            seed (int): Its seed.
            inputs (dict): All that is learned from.
            sources (dict, optional): What the inputs were computed from, if they
                were. On a GPU, whose sums are in no fixed order, a state is known by
                these instead. (default: :obj:`None`)

        Returns:
            Whether the stage is finished, so that nothing is left to do.

        Raises:
            ValueError: If the state belongs to other data or options.
        """
        if checkpoint is None:
            return False
        from torch_geometric_reid import __version__  # which imports this room

        device = next(iter(inputs.values())).device.type
        if sources is not None and device != 'cpu':
            inputs = sources
        options = asdict(config)
        options.pop('num_workers', None)  # changes no result
        self._checkpoint, self._stage = checkpoint, stage
        self._key = {
            'options': options,
            'seed': seed,
            'data': digest(inputs),
            'device': device,
            'version': __version__,
        }
        saved = checkpoint.load(stage, self._key)
        if saved is not None:
            self._restore(saved)
        return self.finished

    def begin_epoch(self, epoch: int) -> None:
        r"""Is to be called before the batches of an epoch are drawn."""
        self.epoch = epoch
        if self.generator is not None:
            self._drawn_from = {'generator': self.generator.get_state()}

    def end_step(self) -> None:
        r"""Is to be called after each step; saves the state if it is time."""
        self.step += 1
        if self._checkpoint is not None and self._checkpoint.is_due():
            self._save()

    def finish(self) -> None:
        r"""Is to be called at the end; saves the trained weights."""
        self.finished = True
        if self._checkpoint is not None:
            self._save()

    def _save(self) -> None:
        assert self._checkpoint is not None
        tensors = _join({'model': self.model.state_dict()})
        progress: dict[str, Any] = {
            'step': self.step,
            'epoch': self.epoch,
            'finished': self.finished,
        }
        if not self.finished:
            state = self.optimizer.state_dict()
            tensors |= _join({'optimizer': _join(state['state'])}) | self._drawn_from
            progress['groups'] = state['param_groups']
            progress['scheduler'] = _numbers(self.scheduler.state_dict())
        self._checkpoint.save(self._stage, self._key, Saved(tensors, progress))

    def _restore(self, saved: Saved) -> None:
        tensors, progress = saved
        self.model.load_state_dict(_part(tensors, 'model'))
        self.step, self.epoch = progress['step'], progress['epoch']
        self.finished = progress['finished']
        if self.finished:
            return
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, 'optimizer').items():
            i, name = name.split('.')
            state.setdefault(int(i), {})[name] = value.clone()  # no part of the file
        self.optimizer.load_state_dict(
            {'state': state, 'param_groups': progress['groups']}
        )
        self.scheduler.load_state_dict(progress['scheduler'])
        if self.generator is not None:
            self.generator.set_state(tensors['generator'].clone())


class Shuffled(RandomSampler):
    r"""The shuffled numbers of a loader's :obj:`shuffle=True`, less the first
    :obj:`skip` of the next epoch, which are drawn but not given.

    Args:
        size (int): How many numbers there are.
        generator (torch.Generator): What they are drawn with.
    """

    def __init__(self, size: int, generator: torch.Generator):
        super().__init__(range(size), generator=generator)
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        return islice(super().__iter__(), self.skip, None)


def _join(parts: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f'{part}.{name}': value
        for part, values in parts.items()
        for name, value in values.items()
        if value is not None
    }


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f'{part}.'
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _numbers(state: Mapping[str, Any]) -> dict[str, Any]:
    # A schedule's fixed parts that are no numbers are made from the options.
    kinds = (bool, int, float)
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, kinds)
        or (isinstance(value, list) and all(isinstance(v, kinds) for v in value))
    }
