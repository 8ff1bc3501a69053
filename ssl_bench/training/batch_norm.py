"""Batch norm whose statistics are those of all processes, on the CPU too.

torch's SyncBatchNorm refuses tensors of the CPU. Here counts, means and variances of
all processes are gathered instead, so that several processes compute what one would
with their batches put together.

Axes: N images, C channels, then anything; P processes.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

from ssl_bench.errors import BenchError


class GatheredBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Norm channels by the statistics of the batches of all processes.

    Batches may differ in size from process to process, and be empty. In evaluation, and
    where there is one process, this is torch's batch norm. Modules below it are applied
    after the norm, as timm's norms with an activation have them.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normed tensor: (N, C), (N, C, L) or (N, C, H, W).

        Raises:
            BenchError: where all processes together have one value for a channel.
        """
        if self.training and _processes() > 1:
            self._check_input_dim(input)
            normed = self._gathered(input)
        else:
            normed = super().forward(input)
        for module in self.children():
            normed = module(normed)
        return normed

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 3, 4) or input.shape[1] != self.num_features:
            message = (
                f"a batch norm of {self.num_features} channels takes (N, C), (N, C, L) "
                f"or (N, C, H, W), not {tuple(input.shape)}"
            )
            raise BenchError(message)

    def _gathered(self, input: Tensor) -> Tensor:
        normed, mean_C, var_C, count = _Gathered.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps
        )
        if self.track_running_stats:
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            share = self.momentum
            if share is None:
                share = 1 / float(self.num_batches_tracked)
            unbiased_C = var_C * (count / (count - 1))
            self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
            self.running_var.lerp_(unbiased_C.to(self.running_var.dtype), share)
        return normed  # type: ignore[no-any-return]


class _Gathered(torch.autograd.Function):
    """Norm by gathered statistics; gradients of all processes' losses together."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight_C: Tensor | None,
        bias_C: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = _wide(input)
        mean_C, var_C, count = _statistics(wide)
        if count <= 1:
            message = (
                "a batch norm in training needs more than one value for a channel, and "
                "all processes together have one; take a larger batch"
            )
            raise BenchError(message)
        scale_C = (var_C + eps).rsqrt()
        ctx.save_for_backward(input, weight_C, mean_C, scale_C, count)
        normed = _normed(wide, mean_C, scale_C)
        if weight_C is not None:
            normed = normed * _across(weight_C, wide)
        if bias_C is not None:
            normed = normed + _across(bias_C, wide)
        ctx.mark_non_differentiable(mean_C, var_C, count)
        return normed.to(input.dtype), mean_C, var_C, count

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        input, weight_C, mean_C, scale_C, count = ctx.saved_tensors
        wide, grad = _wide(input), _wide(grad)
        normed = _normed(wide, mean_C, scale_C)
        axes = _axes(wide)
        bias_grad_C = grad.sum(axes)
        weight_grad_C = (grad * normed).sum(axes)
        input_grad = None
        if ctx.needs_input_grad[0]:
            sums_2C = torch.stack([bias_grad_C, weight_grad_C]).double()
            distributed.all_reduce(sums_2C)
            shift_C, slope_C = sums_2C / count
            centred = grad - _across(shift_C, wide) - normed * _across(slope_C, wide)
            if weight_C is not None:
                scale_C = scale_C * weight_C
            input_grad = (centred * _across(scale_C, wide)).to(input.dtype)
        return (
            input_grad,
            weight_grad_C.to(weight_C.dtype) if ctx.needs_input_grad[1] else None,
            bias_grad_C.to(weight_C.dtype) if ctx.needs_input_grad[2] else None,
            None,
        )


def synchronise(module: nn.Module, device_type: str) -> nn.Module:
    """Let every batch norm see the batches of all processes.

    Parameters, buffers and names stay. Where there is one process nothing changes.

    Args:
        module: whose batch norms are replaced, in place.
        device_type: ``cuda`` for torch's SyncBatchNorm, ``cpu`` for
            `GatheredBatchNorm`.

    Returns:
        The module; another one only where it is a batch norm itself.
    """
    if _processes() == 1:
        return module
    if device_type == "cuda":
        # timm's, as torch's own drops the activation of norms that have one.
        synchronised: nn.Module = convert_sync_batchnorm(module)
        return synchronised
    return _replaced(module, {})


def _replaced(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """Return the module with its batch norms replaced, each of them once."""
    if module in known:
        return known[module]
    new = module
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        new = GatheredBatchNorm(
            module.num_features,
            module.eps,
            module.momentum,
            module.affine,
            module.track_running_stats,
        )
        for name, parameter in module._parameters.items():
            setattr(new, name, parameter)
        for name, buffer in module._buffers.items():
            setattr(new, name, buffer)
        new.training = module.training
    known[module] = new
    for name, child in list(module._modules.items()):
        if child is not None:
            new.add_module(name, _replaced(child, known))
    return new


def _statistics(wide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return means and variances of the channels, and the values that each has.

    Computed about the means of every process, which loses nothing where means are large
    beside deviations; all in float64.
    """
    channels = wide.shape[1]
    own = wide.new_zeros(2 * channels + 1, dtype=torch.float64)
    if wide.numel():
        var_C, mean_C = torch.var_mean(wide, _axes(wide), correction=0)
        own[:channels], own[channels:-1] = mean_C, var_C
        own[-1] = wide.numel() // channels
    gathered = [torch.empty_like(own) for _ in range(_processes())]
    distributed.all_gather(gathered, own)
    means_PC, vars_PC, counts_P1 = torch.split(
        torch.stack(gathered), [channels, channels, 1], dim=1
    )
    count = counts_P1.sum()
    shares_P1 = counts_P1 / count.clamp_min(1)
    mean_C = (shares_P1 * means_PC).sum(0)
    var_C = (shares_P1 * (vars_PC + (means_PC - mean_C) ** 2)).sum(0)
    return mean_C, var_C, count


def _normed(wide: Tensor, mean_C: Tensor, scale_C: Tensor) -> Tensor:
    return (wide - _across(mean_C, wide)) * _across(scale_C, wide)


def _wide(values: Tensor) -> Tensor:
    """Return values in float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _axes(values: Tensor) -> tuple[int, ...]:
    """Return the axes that statistics go over."""
    return (0, *range(2, values.ndim))


def _across(values_C: Tensor, like: Tensor) -> Tensor:
    """Return one value a channel, in shape and dtype to go with a tensor."""
    return values_C.to(like.dtype).view(1, -1, *(1,) * (like.ndim - 2))


def _processes() -> int:
    """Return how many processes train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
